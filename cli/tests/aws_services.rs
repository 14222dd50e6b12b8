//! AWS services behind the examples: moto answers, botocore checks every signature. `e2e/aws/install` installs them;
//! what is not installed is skipped, with a line that says so.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use support::Files;

/// The services.
struct Services {
    child: Child,
    lines: BufReader<ChildStdout>,
    url: String,
}

impl Services {
    fn start() -> Option<Self> {
        let python = python()?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut child = Command::new(python)
            .arg(root.join("e2e/aws/server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut services = Self { child, lines, url: String::new() };
        services.url = services.line()["url"].as_str().unwrap().to_owned();
        Some(services)
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the services said `{line}`"))
    }

    /// What reached them.
    fn state(&mut self) -> Value {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
        self.line()
    }

    fn example(&self, name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/aws-services").join(name);
        std::fs::read_to_string(path).unwrap().replace("http://127.0.0.1:4566", &self.url)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn python() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))?;
    let at = cache.join("stagegate/python-aws");
    if at.join("installed").exists() {
        return Some(at.join("bin/python3"));
    }
    eprintln!("skipped: moto's server is not installed; e2e/aws/install installs it");
    None
}

#[test]
fn the_example_of_a_rest_api() {
    let Some(mut services) = Services::start() else { return };
    let dev = Files::new().with("services.yaml", &services.example("services.yaml")).dev(&[]);
    dev.wait_ready();
    let mut client = dev.client();

    let answer = client.post("localhost", "/prod/orders", r#"{"item": "it's a \"lamp\""}"#).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert!(answer.body.contains("arn:aws:states:eu-west-1:123456789012:execution:orders:"), "{}", answer.body);

    let answer = client.post("localhost", "/prod/messages", r#"{"text": "a&b=c ü"}"#).unwrap();
    assert_eq!((answer.status, &*answer.body), (200, r#"{"sent": true}"#));

    let answer = client.request("PUT", "localhost", "/prod/files/a%20b-1.txt", "what is in it").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.head.to_ascii_lowercase().contains("etag: \""), "{}", answer.head);
    let answer = client.get("localhost", "/prod/files/a%20b-1.txt").unwrap();
    assert_eq!((answer.status, &*answer.body), (200, "what is in it"));
    let answer = client.get("localhost", "/prod/files/none").unwrap();
    assert_eq!((answer.status, &*answer.body), (404, r#"{"message": "no such file"}"#));

    let answer = client.request("PUT", "localhost", "/prod/items/7", r#"{"name": "lamp"}"#).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = client.get("localhost", "/prod/items/7").unwrap();
    assert_eq!((answer.status, &*answer.body), (200, r#"{"name": "lamp"}"#));

    let answer = client.post("localhost", "/prod/notices?text=hello%20there", "").unwrap();
    assert_eq!((answer.status, &*answer.body), (200, r#"{"published": true}"#));

    let state = services.state();
    assert_eq!(state["queue"], json!([r#"{"text": "a&b=c ü"}"#]));
    let input: Value = serde_json::from_str(state["executions"][0].as_str().unwrap()).unwrap();
    assert_eq!(input, json!({"item": "it's a \"lamp\""}));
    let called: Vec<_> = state["seen"].as_array().unwrap().iter().map(|call| call[1].as_str().unwrap()).collect();
    assert_eq!(called, ["states", "sqs", "s3", "s3", "s3", "dynamodb", "dynamodb", "sns"]);
}

#[test]
fn the_example_of_an_http_api_assumes_its_roles() {
    let Some(mut services) = Services::start() else { return };
    let dev = Files::new().with("events.yaml", &services.example("http-api.yaml")).dev(&[]);
    dev.wait_ready();
    let mut client = dev.client();
    for _ in 0..2 {
        let answer = client.post("localhost", "/messages", r#"{"text": "hello"}"#).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert!(answer.head.to_ascii_lowercase().contains("x-request: "), "{}", answer.head);
    }
    let answer = client.post("localhost", "/executions", r#"{"n": 1}"#).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let state = services.state();
    assert_eq!(state["queue"], json!(["hello", "hello"]));
    assert_eq!(state["executions"], json!([r#"{"n": 1}"#]));
    // One role is assumed once however often it is used, and signs what follows.
    let seen = state["seen"].as_array().unwrap();
    let called: Vec<_> = seen.iter().map(|call| call[1].as_str().unwrap()).collect();
    assert_eq!(called, ["sts", "sqs", "sqs", "sts", "states"]);
    assert_eq!(seen[0][0], "AKIDEXAMPLE");
    assert_ne!(seen[1][0], "AKIDEXAMPLE");
}

/// Functions that the Stage does not name are Lambda's: called by their ARN, under a role that is assumed for it.
#[test]
fn functions_of_amazons_lambda() {
    let Some(mut services) = Services::start() else { return };
    let dev = Files::new().with("lambda.yaml", &LAMBDA.replace("SERVICES", &services.url)).dev(&[]);
    dev.wait_ready();
    let mut client = dev.client();
    let answer = client.get("localhost", "/prod/orders/7").unwrap();
    assert_eq!((answer.status, &*answer.body), (201, "a proxy's answer"));
    let answer = client.post("localhost", "/prod/price", r#"{"item": "lamp"}"#).unwrap();
    assert_eq!((answer.status, &*answer.body), (200, r#"{"of": "lamp"}"#));
    let id = answer.head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("x-endpoint: ").map(str::len));
    assert!(id.is_some_and(|length| length > 8), "{}", answer.head);
    let state = services.state();
    let seen = state["seen"].as_array().unwrap();
    let called: Vec<_> = seen.iter().map(|call| call[1].as_str().unwrap()).collect();
    assert_eq!(called, ["lambda", "sts", "lambda"]);
    assert_eq!((&seen[0][0], &seen[1][0]), (&json!("AKIDEXAMPLE"), &json!("AKIDEXAMPLE")));
    assert_ne!(seen[2][0], "AKIDEXAMPLE");
}

const LAMBDA: &str = r#"
apiVersion: stagegate.dev/v1alpha1
kind: ApiDefinition
metadata: {name: functions}
spec:
  openapi:
    openapi: 3.0.3
    info: {title: functions, version: "1"}
    paths:
      /orders/{id}:
        get:
          x-amazon-apigateway-integration:
            type: aws_proxy
            httpMethod: POST
            uri: arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:get-order/invocations
      /price:
        post:
          x-amazon-apigateway-integration:
            type: aws
            httpMethod: POST
            credentials: arn:aws:iam::123456789012:role/caller
            uri: arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:get-order/invocations
            requestTemplates: {application/json: '{"asked": $input.json("$.item")}'}
            responses:
              default:
                statusCode: "200"
                responseParameters: {method.response.header.X-Endpoint: context.awsEndpointRequestId}
                responseTemplates: {application/json: '{"of": $input.json("$.asked")}'}
---
apiVersion: stagegate.dev/v1alpha1
kind: Stage
metadata: {name: functions}
spec:
  apiRef: {name: functions}
  stageName: prod
  aws:
    region: eu-west-1
    endpoints: {lambda: SERVICES, sts: SERVICES}
    credentials: {secretName: aws}
---
apiVersion: v1
kind: Secret
metadata: {name: aws}
stringData: {AWS_ACCESS_KEY_ID: AKIDEXAMPLE, AWS_SECRET_ACCESS_KEY: an-example}
"#;
