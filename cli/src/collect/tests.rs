use super::*;

const API: &str = "apiVersion: stagegate.dev/v1alpha1\nkind: ApiDefinition\nmetadata: {name: orders}\nspec:\n  openapi: {openapi: 3.0.3, paths: {}}\n";

fn collect(collector: &mut Collector, content: &[(&str, &str)]) -> Collected {
    let content = content.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    collector.collect(&Files { content, ..Files::default() }, &[])
}

fn said(collected: &Collected) -> Vec<String> {
    let line = |diagnostic: &Diagnostic| {
        let place = diagnostic.place.as_ref().unwrap();
        format!("{}:{}:{} {}", place.file.display(), place.line, place.column, diagnostic.reason)
    };
    collected.diagnostics.iter().map(line).collect()
}

#[test]
fn a_bare_document_is_an_api_and_a_stage() {
    let collected = collect(&mut Collector::default(), &[("Pet Store.json", r#"{"swagger": "2.0", "paths": {}}"#)]);
    let stage = collected.world.stages.values().next().unwrap();
    assert_eq!(stage.spec.stage_name.as_deref(), Some("dev"));
    assert_eq!(stage.spec.api_ref.name, "pet-store");
    assert!(collected.world.api_definitions.keys().any(|key| key.to_string() == "default/pet-store"));
    assert_eq!(said(&collected), [""; 0]);
}

#[test]
fn lists_and_streams_are_taken_apart() {
    let list = format!(
        "kind: List\napiVersion: v1\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {{name: a}}\n  data: {{k: v}}\n- apiVersion: v1\n  kind: Secret\n  metadata: {{name: b}}\n  dota: {{}}\n---\n{API}"
    );
    let collected = collect(&mut Collector::default(), &[("all.yaml", &list)]);
    assert_eq!((collected.world.config_maps.len(), collected.world.api_definitions.len()), (1, 1));
    assert_eq!(said(&collected), ["all.yaml:11:3 UnknownField"]);
}

#[test]
fn what_is_not_served_is_noted_by_how_strange_it_is() {
    let text = "apiVersion: apps/v1\nkind: Deployment\n---\napiVersion: x.io/v1\nkind: Widget\n---\nhello: 1\n---\napiVersion: stagegate.dev/v1alpha1\nkind: Stgae\n---\napiVersion: stagegate.dev/v1\nkind: Stage\n";
    let collected = collect(&mut Collector::default(), &[("a.yaml", text)]);
    let levels: Vec<Level> = collected.diagnostics.iter().map(|diagnostic| diagnostic.level).collect();
    assert_eq!(levels, [Level::Note, Level::Warning, Level::Note, Level::Error, Level::Error]);
    assert_eq!(collected.diagnostics[3].help.as_deref(), Some("did you mean `Stage`?"));
}

#[test]
fn an_object_given_twice_names_both_places_and_stays_where_it_was() {
    let mut collector = Collector::default();
    collect(&mut collector, &[("b.yaml", API)]);
    let collected = collect(&mut collector, &[("a.yaml", &API.replace("3.0.3", "3.1.0")), ("b.yaml", API)]);
    assert_eq!(said(&collected), ["a.yaml:1:1 DuplicateObject"]);
    assert!(collected.diagnostics[0].message.contains("b.yaml:1:1"), "{:?}", collected.diagnostics[0]);
    let api = collected.world.api_definitions.values().next().unwrap();
    assert_eq!(api.spec.openapi.as_ref().unwrap()["openapi"], "3.0.3");
}

#[test]
fn while_a_file_is_broken_its_last_good_objects_stand_in() {
    let mut collector = Collector::default();
    collect(&mut collector, &[("a.yaml", API)]);
    for broken in ["", "  \n", "spec: [", &API.replace("openapi:", "opnapi:"), &API.replace("{name: orders}", "[")] {
        let collected = collect(&mut collector, &[("a.yaml", broken)]);
        assert_eq!(collected.world.api_definitions.len(), 1, "{broken:?}");
        assert_eq!(collected.diagnostics[0].level, Level::Error, "{broken:?}");
    }
    // A comment says that nothing is meant to be here; a file that is gone says it too.
    assert_eq!(collect(&mut collector, &[("a.yaml", "# later\n")]).world.api_definitions.len(), 0);
    collect(&mut collector, &[("a.yaml", API)]);
    assert_eq!(collect(&mut collector, &[]).world.api_definitions.len(), 0);
}

#[test]
fn while_a_folder_cannot_be_listed_what_was_in_it_stands_in() {
    let mut collector = Collector::default();
    let files = |names: &[(&str, &str)], problems: &[&str]| Files {
        content: names.iter().map(|(path, name)| (PathBuf::from(path), API.replace("orders", name))).collect(),
        problems: problems
            .iter()
            .map(|path| files::Problem { path: PathBuf::from(path), message: "Permission denied".to_owned() })
            .collect(),
        ..Files::default()
    };
    let mut names = |files: &Files| -> Vec<String> {
        let collected = collector.collect(files, &[]);
        collected.world.api_definitions.keys().map(|key| key.name.clone()).collect()
    };
    let all = files(&[("all/a/one.yaml", "one"), ("all/ab/two.yaml", "two")], &[]);
    assert_eq!(names(&all), ["one", "two"]);
    assert_eq!(names(&files(&[("all/ab/two.yaml", "two")], &["all/a"])), ["one", "two"]);
    assert_eq!(names(&files(&[("all/a/one.yaml", "one")], &["all"])), ["one", "two"]);
    // What can be read says itself that an object is gone, and another folder's fault says nothing about this one.
    assert_eq!(names(&files(&[("all/a/one.yaml", "uno")], &["all"])), ["two", "uno"]);
    assert_eq!(names(&files(&[("all/ab/two.yaml", "two")], &["all/b"])), ["two"]);
    assert_eq!(names(&files(&[], &[])), [""; 0]);
}

#[test]
fn an_object_whose_name_cannot_be_read_keeps_what_is_missing() {
    let mut collector = Collector::default();
    let other = API.replace("orders", "carts");
    collect(&mut collector, &[("a.yaml", &format!("{API}---\n{other}"))]);
    for broken in ["{name: Orders}", "{name: 7}", "{}"] {
        let api = API.replace("{name: orders}", broken);
        let collected = collect(&mut collector, &[("a.yaml", &format!("{api}---\n{other}"))]);
        let names: Vec<String> = collected.world.api_definitions.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["default/carts", "default/orders"], "{broken}");
        assert!(collected.diagnostics.iter().all(|diagnostic| diagnostic.reason != "DuplicateObject"), "{broken}");
    }
    let collected = collect(&mut collector, &[("a.yaml", &other)]);
    assert_eq!(collected.world.api_definitions.len(), 1, "taken away on purpose");
}

#[test]
fn an_unchanged_file_is_not_parsed_again() {
    let mut collector = Collector::default();
    collect(&mut collector, &[("a.yaml", API)]);
    let before = Arc::clone(&collector.parsed[Path::new("a.yaml")]);
    collect(&mut collector, &[("a.yaml", API), ("b.yaml", "# x")]);
    assert!(Arc::ptr_eq(&before, &collector.parsed[Path::new("a.yaml")]));
}

#[test]
fn a_reference_grant_of_the_gateway_api_is_read() {
    let grant = |version: &str, field: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/{version}\nkind: ReferenceGrant\nmetadata: {{name: items, namespace: stock}}\nspec:\n  from: [{{group: stagegate.dev, kind: ApiDefinition, namespace: default}}]\n  to: [{{{field}: Service}}]\n"
        )
    };
    let text =
        format!("{}---\n{}", grant("v1beta1", "kind"), grant("v1", "kind").replace("name: items", "name: other"));
    let collected = collect(&mut Collector::default(), &[("a.yaml", &text)]);
    assert_eq!((said(&collected), collected.world.reference_grants.len()), (Vec::new(), 2));
    // Another version may say it in another way.
    let text = format!("{}---\n{}", grant("v1", "kin"), grant("v2", "kind"));
    let collected = collect(&mut Collector::default(), &[("a.yaml", &text)]);
    assert_eq!(said(&collected), ["a.yaml:6:9 UnknownField", "a.yaml:6:8 MissingField", "a.yaml:9:1 UnknownKind"]);
}
