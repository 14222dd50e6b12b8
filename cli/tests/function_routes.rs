//! Routes of `stagegate dev` answered by real Lambda handlers under `stagegate function`: the examples, run as their first
//! lines say. What is not installed (`e2e/functions/install` does it) is skipped, with a line that says so.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "function/harness.rs"]
#[allow(dead_code, reason = "several files of tests share it, and none uses all of it")]
mod harness;
mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::{Function, function, installed};
use serde_json::{Value, json};
use support::{Dev, Files};

#[test]
fn python_handlers_answer_proxies_and_custom_integrations() {
    let Some(python) = installed("awslambdaric (Python)", "python-lambda/bin/python3") else { return };
    let (orders, price) = (on_python(&python, "handlers.get_order"), on_python(&python, "handlers.price"));
    let dev = dev("orders.yaml", &[("9001", &orders), ("9002", &price)]);
    let order = dev.get("localhost", "/prod/orders/7");
    assert_eq!((order.status, order.body.as_str()), (200, r#"{"id": "7", "item": "lamp"}"#));
    assert!(order.head.contains("x-amzn-trace-id: root=1-"), "{}", order.head);
    assert_eq!(dev.get("localhost", "/prod/orders/8").status, 404);

    let mut client = dev.client();
    let mut post = |path: &str, body: &str| client.post("localhost", path, body).unwrap();
    let answer = post("/prod/price", r#"{"item": "lamp", "pieces": 3}"#);
    assert_eq!((answer.status, parse(&answer.body)), (200, json!({"total": 36})));
    let answer = post("/prod/price", r#"{"item": "sofa", "pieces": 1}"#);
    assert_eq!((answer.status, parse(&answer.body)), (404, json!({"message": "no such item: sofa"})));
    // An error that no pattern knows takes the default.
    let answer = post("/prod/price", r#"{"item": "lamp", "pieces": {}}"#);
    assert_eq!((answer.status, &parse(&answer.body)["errorType"]), (200, &json!("TypeError")));

    assert_eq!(post("/prod/audit", r#"{"item": "lamp", "pieces": 1}"#).status, 202);
    price.wait_for_log("priced lamp");
    // A function that is not there hurts nobody else.
    assert_eq!(dev.get("localhost", "/prod/ticker").status, 500);
    assert_eq!(dev.get("localhost", "/prod/orders/7").status, 200);
}

#[test]
fn a_python_handler_answers_an_http_api() {
    let Some(python) = installed("awslambdaric (Python)", "python-lambda/bin/python3") else { return };
    let greet = on_python(&python, "handlers.greet");
    let dev = dev("http-api.yaml", &[("9004", &greet)]);
    let answer = dev.get("localhost", "/prod/greet/ada");
    assert_eq!((answer.status, parse(&answer.body)), (200, json!({"hello": "ada", "route": "GET /greet/{name}"})));
    assert!(answer.head.contains("content-type: application/json\r\n"), "{}", answer.head);
    assert_eq!((dev.get("localhost", "/prod/none").status), 404);
}

#[test]
fn a_node_handler_streams() {
    let Some(client) = installed("aws-lambda-ric (Node.js)", "functions/node/node_modules/.bin/aws-lambda-ric") else {
        return;
    };
    let ticker = function(&["--timeout", "20"]).command(&["node", client.to_str().unwrap()]);
    let ticker = ticker.env("_HANDLER", "stream.handler").directory(examples()).start();
    let dev = dev("orders.yaml", &[("9003", &ticker)]);
    // The first one starts the process.
    let answer = dev.get("localhost", "/prod/ticker?lines=2");
    assert_eq!((answer.status, answer.body.as_str()), (200, "line 1\nline 2\n"));
    assert!(answer.head.contains("content-type: text/plain\r\n"), "{}", answer.head);

    let mut client = dev.client();
    let began = Instant::now();
    client.send("localhost", "/prod/ticker?lines=10").unwrap();
    let first = client.first_byte().unwrap();
    let (first, whole) = (first.duration_since(began), client.receive().unwrap());
    assert!(whole.body.ends_with("line 10\n"), "{}", whole.body);
    assert!(first < Duration::from_millis(2500) && began.elapsed() > Duration::from_millis(2700), "{first:?}");
}

#[test]
fn a_rust_handler_answers_a_custom_integration() {
    let Some(handler) = installed("lambda_runtime (Rust)", "functions/rust/debug/rust-handler") else { return };
    let echo = function(&[]).command(&[handler.to_str().unwrap()]).start();
    let dev = dev("orders.yaml", &[("9002", &echo)]);
    let answer = dev.client().post("localhost", "/prod/price", r#"{"item": "lamp", "pieces": 3}"#).unwrap();
    assert_eq!((answer.status, &parse(&answer.body)["echo"]), (200, &json!({"item": "lamp", "pieces": 3})));
}

/// The gateway with an example whose functions listen elsewhere.
fn dev(example: &str, functions: &[(&str, &Function)]) -> Dev {
    let mut text = std::fs::read_to_string(examples().join(example)).unwrap();
    for (port, function) in functions {
        text = text.replace(&format!("127.0.0.1:{port}"), &function.address.to_string());
    }
    let dev = Files::new().with(example, &text).dev(&[]);
    dev.wait_ready();
    dev
}

fn on_python(python: &Path, handler: &str) -> Function {
    let command = [python.to_str().unwrap(), "-m", "awslambdaric", handler];
    function(&["--timeout", "20"]).command(&command).env("PYTHONDONTWRITEBYTECODE", "1").directory(examples()).start()
}

fn parse(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{body}"))
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/examples/lambda")
}
