//! Runs `cases/*.yaml`: routes in short form, requests through real sockets, answers compared.
//!
//! A case file has `routes` (each `resource`, `verb` and one of `mock`: the body of a 200, `backend`: `echo`,
//! `http_proxy`: a URI with `ECHO` for the backend, `action`: as the bundle has it), or `stages` and `hosts` in the bundle's own
//! form, `plans` and `keys`, and `steps`: `send` (request line), `headers`, `body`, `host`, then `status`, `json`, `body`, `answer` (headers; `null` is
//! absent), `saw` (part of what the backend got).

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use bundle::{ApiKey, BundleSet, KeyDigest, KeyShard, KeysBundle, PlanBundle, PlanKey, Stamped};
use serde_json::{Value, json};
use support::backend::Echo;
use support::{Gateway, everywhere, stage};

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let only = std::env::var("CASE").unwrap_or_default();
    let mut wrong = Vec::new();
    let mut steps = 0;
    for file in files.iter().filter(|file| file.to_string_lossy().contains(&only)) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).expect("a readable case");
        let case: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        steps += check(&name, &case, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} of {steps} steps:\n{}", wrong.len(), wrong.join("\n"));
    assert!(steps > 0, "no steps");
}

fn check(name: &str, case: &Value, wrong: &mut Vec<String>) -> usize {
    let echo = Echo::start();
    let gateway = Gateway::start();
    let report = gateway.load(&bundles(case, &echo));
    assert_eq!(report.broken.len() as u64, case["broken"].as_u64().unwrap_or(0), "{name}: {:?}", report.broken);
    let steps = case["steps"].as_array().unwrap_or_else(|| panic!("{name}: no steps"));
    for step in steps {
        for difference in differences(&gateway, step) {
            wrong.push(format!("{name}: {}: {difference}", step["send"]));
        }
    }
    steps.len()
}

/// The case's bundles.
fn bundles(case: &Value, echo: &Echo) -> BundleSet {
    let filled: Value = serde_json::from_str(&case.to_string().replace("ECHO", &echo.url())).expect("still JSON");
    if let Some(hosts) = filled.get("hosts") {
        return BundleSet {
            stages: filled["stages"]
                .as_array()
                .expect("stages")
                .iter()
                .map(|stage| Stamped::new(whole(stage)))
                .collect(),
            hosts: serde_json::from_value::<Vec<_>>(hosts.clone())
                .expect("hosts")
                .into_iter()
                .map(Stamped::new)
                .collect(),
            ..BundleSet::default()
        };
    }
    let (plans, keys) = callers(&filled);
    BundleSet { plans, keys, ..everywhere(vec![whole(&filled)]) }
}

/// `plans` (the names of their Stages) and `keys` (`key`, `id`, `plans`).
fn callers(case: &Value) -> (Vec<Stamped<PlanBundle>>, Vec<Stamped<KeysBundle>>) {
    let namespace = || "default".to_owned();
    let plan = |(name, stages): (&String, &Value)| {
        let key = PlanKey { namespace: namespace(), name: name.clone() };
        let stages = serde_json::from_value(stages.clone()).expect("names of stages");
        Stamped::new(PlanBundle { key, stages, requires: BTreeSet::new() })
    };
    let key = |key: &Value| {
        let digest = KeyDigest::of(key["key"].as_str().expect("a key").as_bytes());
        let plans = serde_json::from_value(key["plans"].clone()).expect("names of plans");
        (digest, ApiKey { id: key["id"].as_str().expect("an id").to_owned(), plans, requires: BTreeSet::new() })
    };
    let shard = KeyShard { namespace: namespace(), prefix: String::new() };
    let keys = KeysBundle { shard, keys: case["keys"].as_array().into_iter().flatten().map(key).collect() };
    (case["plans"].as_object().into_iter().flatten().map(plan).collect(), vec![Stamped::new(keys)])
}

fn whole(case: &Value) -> bundle::StageBundle {
    let mut stage = stage(case["api"].as_str().unwrap_or("kit"), case["stage"].as_str().unwrap_or("prod"));
    if case["kind"] == "Http" {
        stage.api.kind = bundle::ApiKind::Http;
    }
    let routes = case["routes"].as_array().expect("routes").iter().map(route).collect();
    stage.routes = serde_json::from_value(Value::Array(routes)).expect("routes in the bundle's form");
    if let Some(responses) = case.get("gatewayResponses") {
        stage.gateway_responses = serde_json::from_value(responses.clone()).expect("gateway responses");
    }
    if let Some(models) = case.get("models") {
        stage.models = serde_json::from_value(models.clone()).expect("models");
    }
    if let Some(cors) = case.get("cors") {
        stage.cors = Some(serde_json::from_value(cors.clone()).expect("CORS"));
    }
    for media_type in case["binaryMediaTypes"].as_array().into_iter().flatten() {
        stage.binary_media_types.insert(media_type.as_str().unwrap_or_default().to_owned());
    }
    stage.minimum_compression_size = case["minimumCompressionSize"].as_u64();
    if let Some(variables) = case.get("variables") {
        stage.variables = serde_json::from_value(variables.clone()).expect("variables");
    }
    stage
}

/// A route in the bundle's form.
fn route(short: &Value) -> Value {
    let verb = match short["verb"].as_str().unwrap_or("GET") {
        "ANY" => json!("Any"),
        verb => json!({"One": verb}),
    };
    let integration = if let Some(body) = short["mock"].as_str() {
        json!({"Mock": {
            "request": {"templates": {"application/json": "{\"statusCode\": 200}"}},
            "responses": [{"status": 200, "templates": {"application/json": body}}],
        }})
    } else if let Some(url) = short["backend"].as_str() {
        json!({"Backend": {
            "target": {"Url": url}, "response_header_timeout_ms": 2000, "idle_timeout_ms": 2000,
            "max_body_bytes": short["max"].as_u64().unwrap_or(10 << 20),
        }})
    } else if let Some(uri) = short["http_proxy"].as_str() {
        json!({"HttpProxy": {
            "endpoint": {"uri": uri, "timeout_ms": 2000},
            "parameters": short.get("parameters").cloned().unwrap_or(json!({})),
        }})
    } else {
        Value::Null
    };
    let action = match short.get("action") {
        Some(action) => action.clone(),
        None => json!({"Serve": integration}),
    };
    json!({
        "resource": short["resource"], "resource_id": "abc123", "verb": verb,
        "requires": short.get("requires").cloned().unwrap_or(json!([])), "action": action,
        "validation": short.get("validation").cloned(),
    })
}

fn differences(gateway: &Gateway, step: &Value) -> Vec<String> {
    let host = step["host"].as_str().unwrap_or("localhost");
    let mut client = gateway.connect(step["sni"].as_str().unwrap_or(host));
    let line = step["send"].as_str().expect("send");
    let body = match (&step["body"], step["bodyLength"].as_u64()) {
        (_, Some(length)) => "x".repeat(length as usize),
        (Value::String(body), None) => body.clone(),
        _ => String::new(),
    };
    let mut head = format!("{line} HTTP/1.1\r\n");
    if step.get("host") != Some(&Value::Null) {
        head += &format!("Host: {host}\r\n");
    }
    for (name, value) in pairs(&step["headers"]) {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() && step["headers"].get("transfer-encoding").is_none() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let sent = client.send(format!("{head}\r\n{body}").as_bytes());
    let answer = match client.answer(line.starts_with("HEAD ")) {
        Ok(answer) => answer,
        Err(error) => return vec![format!("no answer: {error} (sent: {sent:?})")],
    };
    let mut differences = Vec::new();
    let mut compare = |what: &str, wanted: &Value, found: Value| {
        if *wanted != found {
            differences.push(format!("{what}: want {wanted}, got {found}"));
        }
    };
    compare("status", &step["status"], json!(answer.status));
    if let Some(wanted) = step.get("json") {
        compare("json", wanted, serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!(answer.text())));
    }
    if let Some(wanted) = step.get("text") {
        compare("text", wanted, json!(answer.text()));
    }
    for (name, wanted) in step["answer"].as_object().into_iter().flatten() {
        compare(name, wanted, json!(answer.header(name)));
    }
    let saw: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    for (name, wanted) in step["saw"].as_object().into_iter().flatten() {
        let found = name.split('.').fold(&saw, |value, key| &value[key]);
        compare(name, wanted, found.clone());
    }
    differences
}

fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match headers {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        Value::Array(list) => list.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        _ => Vec::new(),
    }
}
