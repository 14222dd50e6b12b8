//! How long it takes to read and compile a large document, and how much memory that needs:
//! `cargo run --release -p stagegate-compile --example measure [-- FILE]`.

use std::time::Instant;

use compile::{Contract, Document, Gateway, ObjectKey, StageInputs, compile_stage, link};
use crds::StageSpec;

#[allow(dead_code, reason = "a test shares the rest of this file")]
fn main() {
    if let Some(file) = std::env::args().nth(1) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        return measure(&file, &text);
    }
    let routes = document(10_000, 0);
    measure("10,000 routes", &routes);
    let large = document(10_000, 160);
    measure("6 MB of JSON", &large);
    if let Ok(value) = Document::parse("large", large) {
        measure("the same as YAML", &serde_saphyr::to_string(&value).unwrap_or_default());
    }
}

#[allow(dead_code, reason = "a test shares the rest of this file")]
fn measure(name: &str, text: &str) {
    let start = Instant::now();
    let document = Document::new(name, text);
    let value = match document.value() {
        Ok(value) => value,
        Err(error) => return println!("{name}: {error}"),
    };
    let ambiguities = document.ambiguities().len();
    let parsed = start.elapsed();
    let contract = Contract::of(ObjectKey::new("default", "api"), None, value);
    let digested = start.elapsed();
    let gateway = Gateway::dev();
    let spec = serde_json::from_value::<StageSpec>(serde_json::json!({"apiRef": {"name": "api"}}));
    let Ok(spec) = spec else { return };
    let inputs = StageInputs {
        key: bundle::StageKey { namespace: "default".to_owned(), name: "prod".to_owned() },
        spec: spec.into(),
        created: None,
        deployment: 1,
        canary: compile::CanaryInputs::None,
        contract: contract.into(),
        certificates: Default::default(),
        client_cas: Default::default(),
        access_key: None,
        account_id: gateway.account_id.clone(),
        region: gateway.region.clone(),
        grants: Default::default(),
        findings: Vec::new(),
    };
    let unit = compile_stage(&inputs);
    let compiled = start.elapsed();
    let linked = link([&unit], Default::default(), &gateway, &Default::default());
    let total = start.elapsed();
    println!(
        "{name}: {} bytes, {} routes, {} findings, {ambiguities} ambiguities, {} hosts; parse {parsed:.0?}, digest {:.0?}, \
         compile {:.0?}, in all {total:.0?}; peak memory {} MB so far",
        text.len(),
        unit.routes,
        unit.findings.len(),
        linked.set.hosts.len(),
        digested - parsed,
        compiled - digested,
        peak_memory_mb(),
    );
}

/// A document with so many routes, each with a mapping, two responses and so many bytes of description.
pub(crate) fn document(routes: usize, padding: usize) -> String {
    let mut paths = String::new();
    for index in 0..routes / 2 {
        let (group, comma) = (index / 50, if index == 0 { "" } else { "," });
        let integration = |verb: &str| {
            format!(
                r#""{verb}":{{"operationId":"{verb}{index}","description":"{}","parameters":[{{"in":"path","name":"id","required":true}}],"responses":{{"200":{{"description":"ok"}}}},"x-amazon-apigateway-integration":{{"type":"http","httpMethod":"{verb}","uri":"http://b{group}.example/r{index}/{{id}}","requestParameters":{{"integration.request.path.id":"method.request.path.id"}},"responses":{{"default":{{"statusCode":"200"}},"5\\d{{2}}":{{"statusCode":"502"}}}}}}}}"#,
                "d".repeat(padding)
            )
        };
        paths += &format!(r#"{comma}"/g{group}/r{index}/{{id}}":{{{},{}}}"#, integration("get"), integration("put"));
    }
    format!(r#"{{"openapi":"3.0.3","info":{{"title":"large","version":"1"}},"paths":{{{paths}}}}}"#)
}

#[allow(dead_code, reason = "a test shares the rest of this file")]
fn peak_memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kilobytes.unwrap_or(0) / 1024
}
