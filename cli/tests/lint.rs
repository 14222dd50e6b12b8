//! `stagegate lint` as a developer and as a workflow see it.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

mod support;

use std::path::Path;
use std::process::Output;

use support::{api, stage, stagegate};

fn lint(folder: &Path, arguments: &[&str]) -> Output {
    stagegate().current_dir(folder).arg("lint").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// A file with a misspelt field, an integration that does not exist, and a Stage of an API that is not there.
fn broken() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let api = api("orders", "hello").replace("type: mock", "type: carrier-pigeon");
    let stage = stage("order").replace("stageName", "stageNmae");
    std::fs::write(folder.path().join("api.yaml"), format!("{api}---\n{stage}")).unwrap();
    folder
}

#[test]
fn text_shows_the_place_and_what_to_do() {
    let folder = broken();
    let output = lint(folder.path(), &["api.yaml"]);
    let want = "\
error[InvalidIntegrationType]: `carrier-pigeon` is no integration type: HTTP, MOCK, AWS_PROXY, HTTP_PROXY and AWS are
  --> api.yaml:13:13
   |
13 |             type: carrier-pigeon
   |             ^

error[UnknownField]: unknown field `stageNmae`
  --> api.yaml:25:3
   |
25 |   stageNmae: prod
   |   ^
  = help: did you mean `stageName`?

";
    assert_eq!(stdout(&output), want);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "1 file: 2 errors\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn json_is_a_list_of_findings() {
    let folder = broken();
    let output = lint(folder.path(), &["--format", "json", "."]);
    let found: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(found[1]["file"], "./api.yaml");
    assert_eq!((&found[1]["line"], &found[1]["column"]), (&25.into(), &3.into()));
    assert_eq!((&found[1]["level"], &found[1]["reason"]), (&"error".into(), &"UnknownField".into()));
    assert_eq!(found[1]["object"], "Stage default/order");
    assert_eq!(found[1]["pointer"], "/spec/stageNmae");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn github_gets_workflow_commands() {
    let folder = broken();
    let output = lint(folder.path(), &["--format=github", "api.yaml"]);
    let last = stdout(&output).lines().last().unwrap();
    let want =
        "::error file=api.yaml,line=25,col=3,title=UnknownField::unknown field `stageNmae`%0Adid you mean `stageName`?";
    assert_eq!(last, want);
}

#[test]
fn what_is_fine_exits_with_0_and_what_is_not_there_with_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), format!("{}---\n{}", api("orders", "hello"), stage("orders")))
        .unwrap();
    let output = lint(folder.path(), &["a.yaml"]);
    assert_eq!((stdout(&output), output.status.code()), ("", Some(0)));
    assert_eq!(lint(folder.path(), &["b.yaml"]).status.code(), Some(2));
    assert_eq!(lint(folder.path(), &[]).status.code(), Some(2));
    assert_eq!(lint(folder.path(), &["a.yaml", "--format", "xml"]).status.code(), Some(2));
}

#[test]
fn a_document_in_a_config_map_is_located_there() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: orders-openapi}
data:
  openapi.yaml: |
    openapi: 3.0.3
    paths:
      /a:
        get:
          x-amazon-apigateway-integration: {type: carrier-pigeon}
---
apiVersion: stagegate.dev/v1alpha1
kind: ApiDefinition
metadata: {name: orders}
spec:
  openapiFrom: {configMapKeyRef: {name: orders-openapi, key: openapi.yaml}}
";
    std::fs::write(folder.path().join("a.yaml"), text).unwrap();
    let output = lint(folder.path(), &["a.yaml"]);
    assert!(stdout(&output).contains("--> a.yaml:10:45\n"), "{}", stdout(&output));
}

#[test]
fn a_syntax_error_has_its_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), "openapi: 3.0.3\npaths: {\n").unwrap();
    let output = lint(folder.path(), &["a.yaml"]);
    assert!(stdout(&output).starts_with("error[SyntaxError]: "), "{}", stdout(&output));
    assert!(stdout(&output).contains("--> a.yaml:2:8"), "{}", stdout(&output));
}

/// What we show others must work.
#[test]
fn every_example_is_fine() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let mut count = 0;
    for example in std::fs::read_dir(&examples).unwrap() {
        let example = example.unwrap().path();
        // Handlers of functions are no manifests; their own tests run them.
        if example.ends_with("functions") {
            continue;
        }
        let output = lint(&examples, &[&example.to_string_lossy()]);
        let text = stdout(&output);
        let findings = text.lines().filter(|line| line.starts_with("warning") || line.starts_with("error"));
        let findings: Vec<&str> = findings.collect();
        assert_eq!((findings, output.status.code()), (Vec::new(), Some(0)), "{}", example.display());
        count += 1;
    }
    assert!(count >= 3, "where are the examples?");
}
