//! A bundle that does not fit into one Secret.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bundle::StageBundle;
use serde_json::json;

use crate::proxies::Pod;
use crate::support::{Rig, stage};

/// A document whose packed bundle is larger than one Secret's part: noise in templates, the same for the same seed.
fn document(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(1);
    let mut paths = String::new();
    for number in 0..40 {
        if number == 39 {
            random = fastrand::Rng::with_seed(seed);
        }
        let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(24 << 10).collect();
        write!(
            paths,
            "/p{number}: {{get: {{x-amazon-apigateway-integration: {{type: mock, requestTemplates: {{application/json: '{{\"statusCode\": 200}}'}}, responses: {{default: {{statusCode: '200', responseTemplates: {{text/plain: {noise}}}}}}}}}}}}}, "
        )
        .unwrap();
    }
    format!("{{openapi: 3.0.3, info: {{title: t, version: '1'}}, paths: {{{}}}}}", paths.trim_end_matches(", "))
}

fn documents(rig: &Rig, seed: u64) {
    // As people do it with a document of this size: packed, in a ConfigMap, not applied but replaced.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.yaml");
    std::fs::write(&file, document(seed)).unwrap();
    assert!(std::process::Command::new("gzip").arg(&file).status().unwrap().success());
    let from = format!("--from-file=openapi={}.gz", file.display());
    let map = rig.kubectl(&["create", "configmap", "document", &from, "--dry-run=client", "-o", "yaml"]);
    rig.apply(&map);
}

#[test]
fn a_large_bundle_is_in_parts_and_old_parts_go_when_proxies_have_moved_on() {
    let Some(mut rig) = Rig::new("parts", 19500) else { return };
    rig.configure(&rig.gateway("default", "  adminPort: 19550\n"));
    let pod = Pod::start(&rig, "proxy-a", 19550, &[bundle::FORMAT]);
    rig.operator("a");
    documents(&rig, 7);
    let definition = json!({"apiVersion": "stagegate.dev/v1alpha1", "kind": "ApiDefinition", "metadata": {"name": "large"},
                            "spec": {"openapiFrom": {"configMapKeyRef": {"name": "document", "key": "openapi"}}}});
    rig.apply(&format!("{definition}\n---\n{}", stage("prod", "large", "")));
    rig.wait_live("prod", 1);
    let parts = |rig: &Rig| -> BTreeSet<String> {
        let all = rig.list("secret", "stagegate.dev/bundle=part");
        all.iter().map(|part| part["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = parts(&rig);
    assert!(first.len() > 1, "{first:?}");
    assert_eq!(rig.get("secret", first.first().unwrap())["immutable"], true);
    let whole = |rig: &Rig| rig.bundle::<StageBundle>(&format!("Stage {}/prod", rig.namespace.name)).unwrap();
    assert_eq!(whole(&rig).routes.len(), 40);
    pod.load(&rig);
    rig.wait_condition("prod", "Programmed=True Programmed");

    documents(&rig, 8);
    rig.wait_live("prod", 2);
    let both = parts(&rig);
    let second: BTreeSet<String> = both.difference(&first).cloned().collect();
    assert!(!second.is_empty());
    assert_eq!(whole(&rig).deployment, 2);
    // While a proxy has the old one its parts stay, and go when it has not; what did not change was not written again.
    std::thread::sleep(Duration::from_secs(65));
    assert_eq!(parts(&rig), both);
    pod.load(&rig);
    let began = Instant::now();
    while parts(&rig) == both {
        assert!(began.elapsed() < Duration::from_secs(90), "old parts stay");
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(second.is_subset(&parts(&rig)));
    assert_eq!(whole(&rig).deployment, 2);
}
