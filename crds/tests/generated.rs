//! The YAML beside this crate is what its types say.

#[path = "../examples/generate.rs"]
mod generate;

use serde_json::Value;

#[test]
fn the_yaml_is_fresh() {
    for (path, text) in generate::files().into_iter().chain(generate::templates()) {
        // Helm would take these for its own.
        assert!(!text.contains("{{"), "{} is no plain YAML for Helm", path.display());
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{} is stale: cargo run -p stagegate-crds --example generate", path.display());
    }
}

/// `kubectl apply -f crds/` reads every `.yaml`, `.yml` and `.json` at the top of the folder.
#[test]
fn nothing_else_is_there_for_kubectl_to_read() {
    let expected: Vec<_> = generate::files().into_iter().map(|(path, _)| path).collect();
    for entry in std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let path = entry.unwrap().path();
        let read =
            path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        assert!(!read || expected.contains(&path), "{} would be applied", path.display());
    }
}

/// What an API server asks of a structural schema, as far as these types could get it wrong.
#[test]
fn schemas_are_structural() {
    for (path, text) in generate::files() {
        let crd: Value = serde_saphyr::from_str(&text).unwrap();
        let version = &crd["spec"]["versions"][0];
        assert_eq!((&version["served"], &version["storage"]), (&true.into(), &true.into()));
        assert!(version["subresources"]["status"].is_object(), "{}", path.display());
        check(&version["schema"]["openAPIV3Schema"], &path.display().to_string());
    }
}

fn check(schema: &Value, place: &str) {
    let fields = schema.as_object().unwrap_or_else(|| panic!("{place} is no schema"));
    for forbidden in ["$ref", "$defs", "definitions", "const", "unevaluatedProperties", "patternProperties"] {
        assert!(!fields.contains_key(forbidden), "{place} has {forbidden}");
    }
    let any = fields.contains_key("x-kubernetes-preserve-unknown-fields")
        || fields.contains_key("x-kubernetes-int-or-string");
    assert!(any || schema["type"].is_string(), "{place} has no type: {schema}");
    // An API server refuses both at once.
    assert!(
        schema["properties"].is_null() || schema["additionalProperties"].is_null(),
        "{place} has two kinds of fields"
    );
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        check(schema, &format!("{place}/{name}"));
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            check(&schema[key], &format!("{place}/{key}"));
        }
    }
}

#[test]
fn a_document_is_kept_as_it_is() {
    let (_, text) = generate::files().remove(0);
    let crd: Value = serde_saphyr::from_str(&text).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let openapi = &spec["properties"]["openapi"];
    assert_eq!(openapi["x-kubernetes-preserve-unknown-fields"], true);
    assert_eq!(openapi["x-kubernetes-map-type"], "atomic");
    assert!(openapi["properties"].is_null());
    assert_eq!(spec["x-kubernetes-validations"][0]["rule"], "has(self.openapi) != has(self.openapiFrom)");
}
