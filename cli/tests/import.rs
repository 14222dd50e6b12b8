//! `stagegate import` on templates and exports as they are found.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use support::stagegate;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(name)
}

fn import(file: &Path, more: &[&str]) -> Output {
    stagegate().arg("import").arg(file).args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Imports into a folder, lints it, and gives the report and the folder.
fn imported(file: &Path, more: &[&str]) -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let output = stagegate().arg("import").arg(file).args(more).arg("-o").arg(folder.path()).output().unwrap();
    let report = text(&output.stderr);
    assert!(output.status.success(), "{report}");
    let lint = stagegate().arg("lint").arg(folder.path()).output().unwrap();
    assert!(lint.status.success(), "{}{}", text(&lint.stdout), text(&lint.stderr));
    (report, folder)
}

fn read(folder: &tempfile::TempDir, name: &str) -> String {
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|_| panic!("no {name} among {names:?}"))
}

#[test]
fn a_template_of_a_rest_api() {
    let (report, folder) = imported(&file("rest.yaml"), &["--parameter", "AWS::Region=eu-west-1"]);
    let api = read(&folder, "apidefinition-orders-prod.yaml");
    for part in [
        "arn:aws:apigateway:eu-west-1:states:action/StartExecution",
        "arn:aws:states:eu-west-1:123456789012:stateMachine:orders",
        "arn:aws:iam::123456789012:role/gateway",
        "functions/arn:aws:lambda:eu-west-1:123456789012:function:get-order/invocations",
        "https://${stageVariables.host}/static",
        "image/png",
    ] {
        assert!(api.contains(part), "{part} in {api}");
    }
    let stage = read(&folder, "stage-orders-prod-prod.yaml");
    for part in ["host: files.example.com", "name: api.example.com", "basePath: /orders", "clientCA", "size: 512Mi"] {
        assert!(stage.contains(part), "{part} in {stage}");
    }
    assert!(stage.contains("path: /orders/{id}") || stage.contains("path: \"/orders/{id}\""), "{stage}");
    let plan = read(&folder, "usageplan-gold.yaml");
    assert!(plan.contains("period: Month") && plan.contains("stagegate.dev/plan: gold"), "{plan}");
    let key = read(&folder, "secret-acme.yaml");
    assert!(key.contains("stagegate.dev/plan: gold"), "{key}");
    for line in [
        "note: AWS::AccountId: taken to be `123456789012`",
        "warning: functions/get-order: the Stage's `functions`",
        "note: Resources/OrdersApi/Properties/EndpointConfiguration: ",
        "note: Resources/OrdersApi/Properties/Tags: ",
        "note: Resources/ProdStage/Properties/TracingEnabled: ",
        "warning: Resources/Domain/Properties/RegionalCertificateArn: ",
        "warning: Resources/Domain/Properties/MutualTlsAuthentication: ",
        "warning: Resources/Firewall: AWS::WAFv2::WebACLAssociation has no counterpart",
        "note: Outputs: ",
    ] {
        assert!(report.contains(line), "{line} in {report}");
    }
    assert!(!report.contains("9f1c2e0b"), "a key is told: {report}");
}

#[test]
fn a_template_of_a_serverless_http_api() {
    let parameters = ["--parameter", "CertificateArn=arn:aws:acm:x", "--parameter", "Origin=https://example.com"];
    let (report, folder) = imported(&file("sam.yaml"), &parameters);
    let api = read(&folder, "apidefinition-http-api.yaml");
    for part in ["https://sqs.us-east-1.amazonaws.com/123456789012/Queue", "allowOrigins", "https://example.com"] {
        assert!(api.contains(part), "{part} in {api}");
    }
    let stage = read(&folder, "stage-http-api-default.yaml");
    assert!(stage.contains("events.example.com") && stage.contains("basePath: /v1"), "{stage}");
    assert!(report.contains("warning: Resources/HttpApi/Properties/Domain/CertificateArn: "), "{report}");
}

#[test]
fn what_cannot_be_resolved_is_said_with_its_path_and_nothing_is_written() {
    let output = import(&file("bad.yaml"), &[]);
    let report = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(output.stdout.is_empty());
    const AT: &str = "error: Resources/Api/Properties/Body/paths//a/get/";
    for line in [
        format!("{AT}x-amazon-apigateway-integration/uri: the parameter `Host` has no default"),
        format!("{AT}x-amazon-apigateway-integration/uri: `Other` is nothing in this template"),
        format!(
            "{AT}x-other: `Pool.ProviderName` is known to Amazon only: give it by --parameter Pool.ProviderName=VALUE"
        ),
        format!("{AT}x-more: `network-Id` is another stack's"),
        "error: Resources/Old/Properties: this AWS::ApiGateway::RestApi has no `Body`".to_owned(),
        "error: Resources/Root: a AWS::ApiGateway::Method is not imported".to_owned(),
    ] {
        assert!(report.contains(&line), "{line} in {report}");
    }
    let missing = import(&file("nowhere.yaml"), &[]);
    assert!(!missing.status.success() && text(&missing.stderr).contains("nowhere.yaml"));
}

#[test]
fn an_export() {
    let export = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/aws-export.json");
    let (report, folder) = imported(&export, &["--name", "Exported API"]);
    read(&folder, "apidefinition-exported-api.yaml");
    assert!(report.contains("the ApiDefinition is called `exported-api`"), "{report}");
    let output = import(&export, &[]);
    assert_eq!(text(&output.stdout).matches("kind: ").count(), 2, "{}", text(&output.stdout));
}
