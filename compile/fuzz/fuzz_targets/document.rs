//! Any text as document: no panic, whatever comes out can travel, and a guarded API serves nothing.
#![no_main]

use compile::{Contract, Document, Gateway, ObjectKey, StageInputs, compile_stage, link};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let document = Document::new("fuzz", text);
    for found in document.ambiguities() {
        assert!(document.line(found.location.line).is_some());
    }
    let Ok(mut value) = document.value() else { return };
    let unit = compile(value.clone());
    for finding in &unit.findings {
        document.locate(0, &finding.pointer);
    }
    if let Some(bundle) = &unit.bundle {
        let encoded = bundle::encode(&**bundle, bundle::FORMAT).expect("a bundle can be written");
        let decoded: bundle::StageBundle = bundle::decode(&encoded).expect("and read");
        assert!(decoded == **bundle);
    }
    link([&unit], Default::default(), &Gateway::dev(), &Default::default());
    if let Some(root) = value.as_object_mut() {
        root.insert("x-amazon-apigateway-policy".to_owned(), serde_json::json!({"Statement": []}));
        let refused = |route: &bundle::route::Route| matches!(route.action, bundle::route::Action::Refuse(_));
        assert!(compile(value).bundle.is_none_or(|bundle| bundle.routes.iter().all(refused)));
    }
});

fn compile(document: serde_json::Value) -> compile::Unit {
    let spec = serde_json::from_value(serde_json::json!({"apiRef": {"name": "api"}})).expect("a Stage");
    compile_stage(&StageInputs {
        key: bundle::StageKey { namespace: "default".to_owned(), name: "prod".to_owned() },
        spec: std::sync::Arc::new(spec),
        created: None,
        deployment: 1,
        contract: std::sync::Arc::new(Contract::of(ObjectKey::new("default", "api"), None, document)),
        canary: Default::default(),
        certificates: Default::default(),
        client_cas: Default::default(),
        grants: Default::default(),
        access_key: None,
        account_id: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        findings: Vec::new(),
    })
}
