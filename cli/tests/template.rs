//! `stagegate template` as its user sees it.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

mod support;

use std::path::Path;

use support::stagegate;

/// Exit status, standard output and standard error of a rendering.
fn render(files: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    run(folder.path(), arguments)
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = stagegate().current_dir(folder).arg("template").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_rendering_and_the_overrides_it_set() {
    let template = "#set($context.responseOverride.status = 201)#set($context.responseOverride.header.X-A = \"b\")\
                    {\"z\": $input.json('$.z'), \"id\": \"$input.params('id')\", \"a\": \"$input.params('x-a')\", \
                    \"ip\": \"$context.identity.sourceIp\", \"v\": \"$stageVariables.v\"}";
    let request = r#"{"body": {"z": {"b": 1, "a": [2]}}, "path": {"id": 7}, "header": {"X-A": "h"},
                      "stageVariables": {"v": "w"}}"#;
    let context = r#"{"identity": {"sourceIp": "192.0.2.7"}}"#;
    let files = [("t.vtl", template), ("r.json", request), ("c.json", context)];
    let (code, out, err) = render(&files, &["t.vtl", "--request", "r.json", "--context", "c.json"]);
    assert_eq!(out, r#"{"z": {"b":1,"a":[2]}, "id": "7", "a": "h", "ip": "192.0.2.7", "v": "w"}"#);
    assert_eq!(err, "responseOverride.header.X-A = b\nresponseOverride.status = 201\n");
    assert_eq!(code, Some(0));
}

#[test]
fn without_a_request_the_body_is_empty() {
    let (code, out, err) = render(&[("t.vtl", "$input.body$!context.stage")], &["t.vtl"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "{}", ""));
}

#[test]
fn an_error_shows_the_place_and_what_to_do() {
    let (code, out, err) = render(&[("t.vtl", "{\n  #if($input.body)\n}\n")], &["t.vtl"]);
    let want = "\
error[TemplateSyntax]: #if has no #end
 --> t.vtl:2:3
  |
2 |   #if($input.body)
  |   ^
  = help: add #end

";
    assert_eq!(err, want);
    assert_eq!((code, out.as_str()), (Some(1), ""));

    let request = ("r.json", r#"{"body": "{"}"#);
    let (code, _, err) = render(&[("t.vtl", "a\n $input.json('$.a')"), request], &["t.vtl", "--request", "r.json"]);
    assert!(err.starts_with("error[TemplatePayload]: the payload is not JSON"), "{err}");
    assert!(err.contains("t.vtl:2:2"), "{err}");
    assert_eq!(code, Some(1));
}

#[test]
fn files_that_are_none() {
    let template = ("t.vtl", "x");
    for (name, text, want) in [
        ("r.json", "{", "r.json: EOF while parsing"),
        ("r.json", "[]", "r.json: not a JSON object"),
        ("r.json", r#"{"headers": {}}"#, "a request file has no member `headers`: body, path, querystring, header"),
    ] {
        let (code, _, err) = render(&[template, (name, text)], &["t.vtl", "--request", name]);
        assert!(err.contains(want), "{err}");
        assert_eq!(code, Some(1));
    }
    let (code, _, err) = render(&[], &["none.vtl"]);
    assert!(err.contains("none.vtl") && code == Some(1), "{err}");
}
