use bundle::integration::{FunctionCall, Integration, LambdaProxy};
use bundle::route::Action;

use super::*;
use crate::dispatch::dispatch;
use crate::fixture::{core, default_host, read as whole, request, route, set, stage};

/// Status, headers as `name: value`, and body; or `None` for what is no answer.
fn check(format: PayloadFormat, accept: &str, result: &str) -> Option<(u16, Vec<String>, String)> {
    let call = FunctionCall { uri: "fn".into(), method: None, credentials: None, timeout_ms: 1000 };
    let proxy = LambdaProxy { call, payload: format, stream: false };
    let mut bundle = stage("prod", &[route("GET /a", Action::Serve(Box::new(Integration::LambdaProxy(proxy))))]);
    bundle.binary_media_types = ["image/*".to_owned()].into();
    let (core, _) = core(&set(vec![bundle], vec![default_host("example.com", &["prod"])]));
    let mut exchange = request("GET", "/prod/a", &[("accept", accept)]);
    dispatch(&core, &mut exchange).unwrap();
    let response = read(&exchange, format, Bytes::from(result.to_owned())).ok()?;
    let (status, headers, body) = whole(response);
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    Some((status, lines, body))
}

fn v1(result: &str) -> Option<(u16, Vec<String>, String)> {
    check(PayloadFormat::V1, "*/*", result)
}

fn fine(status: u16, headers: &[&str], body: &str) -> Option<(u16, Vec<String>, String)> {
    Some((status, headers.iter().map(|&line| line.to_owned()).collect(), body.to_owned()))
}

#[test]
fn rows_of_format_1() {
    for (result, wanted) in [
        (r#"{"statusCode": 200}"#, fine(200, &[], "")),
        ("{}", fine(200, &[], "")),
        (r#"{"headers": {"a": "b"}}"#, fine(200, &["a: b"], "")),
        (r#"{"statusCode": "201", "body": "x"}"#, fine(201, &[], "x")),
        (r#"{"statusCode": 201.0, "body": null, "headers": null}"#, fine(201, &[], "")),
        (r#"{"statusCode": 200, "headers": {"a": true, "b": 5, "c": null}}"#, fine(200, &["a: true", "b: 5"], "")),
        (r#"{"multiValueHeaders": {"a": ["1", "2"]}}"#, fine(200, &["a: 1", "a: 2"], "")),
        (r#"{"multiValueHeaders": {"A": ["m"]}, "headers": {"a": "s"}}"#, fine(200, &["a: m", "a: s"], "")),
        (r#"{"multiValueHeaders": {"A": ["m"]}, "headers": {"a": "m"}}"#, fine(200, &["a: m"], "")),
        (r#"{"body": "a\"\u00e9"}"#, fine(200, &[], "a\"é")),
        (r#"{"body": "aGk=", "isBase64Encoded": true}"#, fine(200, &[], "aGk=")),
        (
            r#"{"headers": {"Date": "x", "Server": "y", "Transfer-Encoding": "chunked"}}"#,
            fine(200, &["x-amzn-remapped-date: x", "x-amzn-remapped-server: y"], ""),
        ),
    ] {
        assert_eq!(v1(result), wanted, "{result}");
    }
    for malformed in [
        "",
        "null",
        "\"text\"",
        "5",
        "[]",
        "[200]",
        "{",
        r#"{"statusCode": 200, "other": 1}"#,
        r#"{"statusCode": "test"}"#,
        r#"{"statusCode": 99}"#,
        r#"{"statusCode": 101}"#,
        r#"{"statusCode": 700}"#,
        r#"{"statusCode": 200.5}"#,
        r#"{"statusCode": true}"#,
        r#"{"body": {"a": 1}}"#,
        r#"{"body": 5}"#,
        r#"{"multiValueHeaders": {"a": "1"}}"#,
        r#"{"headers": {"a": ["1"]}}"#,
        r#"{"headers": []}"#,
        r#"{"headers": {"a b": "1"}}"#,
        r#"{"headers": {"a": "1\n2"}}"#,
        r#"{"cookies": ["a=1"]}"#,
    ] {
        assert_eq!(v1(malformed), None, "{malformed}");
    }
}

#[test]
fn bytes_go_to_who_asks_for_them() {
    let result = r#"{"body": "aGk=", "isBase64Encoded": true}"#;
    assert_eq!(check(PayloadFormat::V1, "image/png,*/*", result), fine(200, &[], "hi"));
    assert_eq!(check(PayloadFormat::V1, "text/html,image/png", result), fine(200, &[], "aGk="));
    assert_eq!(check(PayloadFormat::V1, "image/png", &result.replace("aGk=", "a*k=")), None);
}

#[test]
fn rows_of_format_2() {
    let json = "content-type: application/json";
    let text = "content-type: text/plain;charset=utf-8";
    for (result, wanted) in [
        (
            r#"{"statusCode": 201, "headers": {"x": "v", "content-type": "a/b"}, "cookies": ["a=1", "b=2"], "body": "m"}"#,
            fine(201, &["content-type: a/b", "set-cookie: a=1", "set-cookie: b=2", "x: v"], "m"),
        ),
        (r#"{"statusCode": 200, "body": "aGk=", "isBase64Encoded": true, "other": 1}"#, fine(200, &[text], "hi")),
        (r#"{"hello": "world"}"#, fine(200, &[json], r#"{"hello": "world"}"#)),
        ("\"plain words\"", fine(200, &[json], "plain words")),
        ("[1, 2]", fine(200, &[json], "[1, 2]")),
        ("null", fine(200, &[json], "null")),
        ("", fine(200, &[json], "")),
    ] {
        assert_eq!(check(PayloadFormat::V2, "*/*", result), wanted, "{result}");
    }
    for malformed in
        ["{", "nothing", r#"{"statusCode": "x"}"#, r#"{"statusCode": 200, "body": "*", "isBase64Encoded": true}"#]
    {
        assert_eq!(check(PayloadFormat::V2, "*/*", malformed), None, "{malformed}");
    }
}

#[test]
fn a_prelude_is_status_headers_and_cookies() {
    let prelude = br#"{"statusCode": 202, "headers": {"a": "b"}, "cookies": ["c=1"]}"#;
    let (status, headers, _) = whole(super::prelude(prelude).unwrap());
    assert_eq!((status, headers["a"].to_str().unwrap(), headers["set-cookie"].to_str().unwrap()), (202, "b", "c=1"));
    assert!(super::prelude(b"text").is_err());
}
