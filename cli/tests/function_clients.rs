//! `stagegate function` with Amazon's own clients, on either side. `e2e/functions/install` installs them; what is not
//! installed is skipped, with a line that says so.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "function/harness.rs"]
#[allow(dead_code, reason = "two files of tests share it, and neither uses all of it")]
mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Builder, function, installed};
use serde_json::{Value, json};

#[test]
fn the_example_runs_on_amazons_python_client() {
    let Some(python) = installed("awslambdaric (Python)", "python-lambda/bin/python3") else { return };
    let function = on_python(&python, "app.handler").directory(example()).start();
    let reply = function.invoke(r#"{"pathParameters": {"id": "7"}}"#).success();
    assert_eq!(reply["statusCode"], 200);
    assert_eq!(reply["body"], r#"{"id": "7", "item": "lamp"}"#);
    assert_eq!(function.invoke("{}").success()["statusCode"], 404);
    function.wait_for_log("serving order 7\n");
}

#[test]
fn python_handlers_fail_as_they_do_on_lambda() {
    let Some(python) = installed("awslambdaric (Python)", "python-lambda/bin/python3") else { return };
    let function = on_python(&python, "for_boto.handler").directory(here()).start();
    let reply = function.invoke(r#"{"raise": "boom"}"#);
    let error = reply.failure();
    assert_eq!((&error["errorType"], &error["errorMessage"]), (&json!("ValueError"), &json!("boom")));
    assert_eq!(error["requestId"].as_str(), reply.header("x-amzn-requestid"));
    assert!(error["stackTrace"][0].as_str().unwrap().contains("for_boto.py"), "{error}");

    let missing = on_python(&python, "nowhere.handler").directory(here()).start();
    let error = missing.invoke("{}").failure();
    assert_eq!(error["errorType"], "Runtime.ImportModuleError");
    assert_eq!(error["errorMessage"], "Unable to import module 'nowhere': No module named 'nowhere'");

    let slow = on_python(&python, "for_boto.slow").directory(here()).start();
    let left = slow.invoke("{}").success().as_i64().unwrap();
    assert!((1000..=3000).contains(&left), "{left} ms");
    assert_eq!(slow.invoke(r#"{"seconds": 9}"#).failure()["errorType"], "Sandbox.Timedout");
    slow.invoke("{}").success();
}

#[test]
fn amazons_sdk_calls_it() {
    let Some(python) = installed("boto3 and awslambdaric (Python)", "python-lambda/bin/python3") else { return };
    let function = on_python(&python, "for_boto.handler").directory(here()).start();
    let output =
        Command::new(&python).arg(here().join("boto.py")).arg(format!("http://{}", function.address)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [good, failed, arn, event, dry, bad, large, stream, failed_stream] = lines.as_slice() else {
        panic!("{lines:#?}");
    };
    assert_eq!((&good["status"], &good["error"], &good["version"]), (&json!(200), &Value::Null, &json!("$LATEST")));
    assert_eq!(good["payload"]["statusCode"], 200);
    assert!(good["log"].as_str().unwrap().contains("serving order 7\n"), "{good}");
    assert_eq!((&failed["status"], &failed["error"]), (&json!(200), &json!("Unhandled")));
    assert_eq!(failed["payload"]["errorMessage"], "boom");
    assert_eq!(arn["payload"], "arn:aws:lambda:us-east-1:123456789012:function:get-order:live");
    assert_eq!((&event["status"], &dry["status"]), (&json!(202), &json!(204)));
    assert_eq!(*bad, json!({"status": 400, "code": "InvalidRequestContentException"}));
    assert_eq!(*large, json!({"status": 413, "code": "RequestEntityTooLargeException"}));
    // botocore checks both checksums of every message.
    let [payload, end] = stream.as_array().unwrap().as_slice() else { panic!("{stream}") };
    assert!(payload.as_str().unwrap().contains("lamp"), "{stream}");
    assert_eq!(*end, json!(["LogResult"]));
    assert_eq!(*failed_stream, json!(["ValueError"]));
}

#[test]
fn node_handlers_run_on_amazons_client() {
    let Some(client) = installed("aws-lambda-ric (Node.js)", "functions/node/node_modules/.bin/aws-lambda-ric") else {
        return;
    };
    let on_node = |handler: &str| {
        let function = function(&[]).command(&["node", client.to_str().unwrap()]);
        function.env("_HANDLER", handler).directory(root().join("e2e/functions/node"))
    };
    let echo = on_node("handler.handler").start();
    let reply = echo.invoke(r#"{"a": "é"}"#);
    let answer = reply.success();
    assert_eq!(answer["echo"], json!({"a": "é"}));
    assert_eq!(answer["requestId"].as_str(), reply.header("x-amzn-requestid"));
    let error = echo.invoke(r#"{"fail": "boom"}"#).failure();
    assert_eq!((&error["errorType"], &error["errorMessage"]), (&json!("TypeError"), &json!("boom")));
    echo.wait_for_log("handling");
    assert_eq!(echo.invoke("{}").success()["echo"], json!({}));

    let streaming = on_node("handler.stream").start();
    let reply = streaming.stream(r#"{"chunks": ["one ", "two"]}"#);
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    let text = reply.text();
    assert!(text.contains("one ") && text.contains("two") && text.contains("InvokeComplete"), "{text}");
    assert!(!text.contains("ErrorCode"), "{text}");
    let text = streaming.stream(r#"{"chunks": ["one "], "fail": "midway"}"#).text();
    assert!(text.contains("one ") && text.contains("ErrorCode") && text.contains("midway"), "{text}");
    let whole = streaming.invoke(r#"{"chunks": ["[1,", "2]"]}"#).success();
    assert_eq!(whole, json!([1, 2]));
}

#[test]
fn rust_handlers_run_on_amazons_client() {
    let Some(handler) = installed("lambda_runtime (Rust)", "functions/rust/debug/rust-handler") else { return };
    let echo = function(&["--concurrency", "2"]).command(&[handler.to_str().unwrap()]).start();
    let reply = echo.invoke(r#"{"a": 1}"#);
    assert_eq!(reply.success(), json!({"echo": {"a": 1}, "requestId": reply.header("x-amzn-requestid")}));
    assert_eq!(echo.invoke(r#"{"fail": "boom"}"#).failure()["errorMessage"], "boom");

    let streaming = function(&[]).command(&[handler.to_str().unwrap()]).env("RUST_HANDLER", "stream").start();
    let text = streaming.stream(r#"{"chunks": 2}"#).text();
    assert!(text.contains("chunk 0\n") && text.contains("chunk 1\n") && !text.contains("ErrorCode"), "{text}");
    // This client writes what should be trailers into the last chunk, where it stays, here as on Lambda.
    assert!(streaming.stream(r#"{"chunks": 1, "fail": 1}"#).text().contains("Runtime.StreamError"));
}

fn on_python(python: &Path, handler: &str) -> Builder {
    function(&[])
        .command(&[python.to_str().unwrap(), "-m", "awslambdaric", handler])
        .env("EXAMPLE", example().to_str().unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

fn example() -> PathBuf {
    root().join("deploy/examples/functions")
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/function")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
