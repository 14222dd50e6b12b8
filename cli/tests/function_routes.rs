//! Routes of `stagegate dev` answered by real Lambda handlers under `stagegate function`: the examples, run as their first
//! lines say. What is not installed (`e2e/functions/install` does it) is skipped, with a line that says so.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "function/harness.rs"]
#[allow(dead_code, reason = "several files of tests share it, and none uses all of it")]
mod harness;
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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
    client.send("localhost", "/prod/ticker?lines=20").unwrap();
    let first = client.first_byte().unwrap();
    let (first, whole) = (first.duration_since(began), client.receive().unwrap());
    assert!(whole.body.ends_with("line 20\n"), "{}", whole.body);
    assert!(first < Duration::from_secs(5) && began.elapsed() > Duration::from_millis(5500), "{first:?}");
}

#[test]
fn a_rust_handler_answers_a_custom_integration() {
    let Some(handler) = installed("lambda_runtime (Rust)", "functions/rust/debug/rust-handler") else { return };
    let echo = function(&[]).command(&[handler.to_str().unwrap()]).start();
    let dev = dev("orders.yaml", &[("9002", &echo)]);
    let answer = dev.client().post("localhost", "/prod/price", r#"{"item": "lamp", "pieces": 3}"#).unwrap();
    assert_eq!((answer.status, &parse(&answer.body)["echo"]), (200, &json!({"item": "lamp", "pieces": 3})));
}

/// A function that never answers keeps its callers waiting until their time is over, and nobody else.
#[test]
fn a_function_that_hangs_hurts_only_its_own_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || invocations(connection));
        }
    });
    let dev = Files::new().with("api.yaml", &HANGING.replace("FUNCTIONS", &url)).dev(&[]);
    dev.wait_ready();
    std::thread::scope(|scope| {
        let hanging: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let began = Instant::now();
                    let answer = dev.get("localhost", "/prod/hangs");
                    (answer.status, answer.body, began.elapsed())
                })
            })
            .collect();
        let mut fine = 0;
        while !hanging.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let (began, answer) = (Instant::now(), dev.get("localhost", "/prod/fine"));
            assert_eq!((answer.status, &*answer.body), (200, "fine"));
            assert!(began.elapsed() < HANGS, "{:?}", began.elapsed());
            fine += 1;
        }
        assert!(fine >= 5, "only {fine} answers while others waited");
        for hung in hanging {
            let (status, body, elapsed) = hung.join().unwrap();
            assert_eq!((status, &*body), (504, r#"{"message":"Endpoint request timed out"}"#));
            assert!(elapsed >= HANGS, "{elapsed:?}");
        }
    });
    assert_eq!(dev.get("localhost", "/prod/fine").status, 200);
}

/// `timeoutInMillis` of what hangs.
const HANGS: Duration = Duration::from_secs(4);

const HANGING: &str = r#"
apiVersion: stagegate.dev/v1alpha1
kind: ApiDefinition
metadata: {name: api}
spec:
  openapi:
    openapi: 3.0.3
    info: {title: api, version: "1"}
    paths:
      /hangs:
        get:
          x-amazon-apigateway-integration: {type: aws_proxy, httpMethod: POST, uri: "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/hangs/invocations", timeoutInMillis: 4000}
      /fine:
        get:
          x-amazon-apigateway-integration: {type: aws_proxy, httpMethod: POST, uri: "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/fine/invocations"}
---
apiVersion: stagegate.dev/v1alpha1
kind: Stage
metadata: {name: api}
spec:
  apiRef: {name: api}
  stageName: prod
  functions:
    hangs: {url: "FUNCTIONS"}
    fine: {url: "FUNCTIONS"}
"#;

/// Answers calls of `fine` on one connection; one of `hangs` is its last.
fn invocations(connection: TcpStream) {
    let (mut lines, mut connection) = (BufReader::new(connection.try_clone().unwrap()), connection);
    let (mut line, mut first, mut length) = (String::new(), String::new(), 0);
    while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
        let header = line.trim_end().to_ascii_lowercase();
        if first.is_empty() {
            first = header;
        } else if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        } else if header.is_empty() {
            lines.read_exact(&mut vec![0; length]).unwrap();
            if first.contains("/functions/hangs/") {
                // Until the gateway gives up.
                drop(lines.read(&mut [0]));
                return;
            }
            let body = r#"{"statusCode": 200, "body": "fine"}"#;
            write!(connection, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            first.clear();
        }
        line.clear();
    }
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
