//! Every rendering that is recorded, documented or taken from Velocity 1.7, as rows of `tests/rows/`.
//!
//! A row has a template, a body, perhaps parameters, and what comes out: `expect` (exact), `json` (equal as
//! JSON), `squashed` (blanks do not count), `regex` (whole), `error`.

#![allow(clippy::unwrap_used, reason = "helpers of tests, not only tests, unwrap here")]

use serde_json::Value as Json;
use vtl::{Input, Limits, Overrides, Scope, Template, Text, Value};

fn names(pairs: &[(&'static str, &str)]) -> Value {
    Value::map(pairs.iter().map(|(name, value)| (Text::from_static(name), Value::from(*value))))
}

/// `$context` with the keys in the order recorded.
fn context(overrides: &Overrides) -> Value {
    let null = |name: &'static str| (Text::from_static(name), Value::Null);
    let text = |name: &'static str, value: &str| (Text::from_static(name), Value::from(value));
    let identity = Value::sealed([
        null("cognitoIdentityPoolId"),
        null("accountId"),
        null("cognitoIdentityId"),
        null("caller"),
        text("sourceIp", "127.0.0.1"),
        null("principalOrgId"),
        null("accessKey"),
        null("cognitoAuthenticationType"),
        null("cognitoAuthenticationProvider"),
        null("userArn"),
        text("userAgent", "kit/1.0"),
        null("user"),
    ]);
    Value::sealed([
        text("resourceId", "abc123"),
        text("resourcePath", "/v/{id}/{name}"),
        text("httpMethod", "POST"),
        text("extendedRequestId", "ZXh0ZW5kZWQ="),
        text("requestTime", "24/Nov/2026:03:48:32 +0000"),
        text("path", "/prod/v/1/x"),
        text("accountId", "123456789012"),
        text("protocol", "HTTP/1.1"),
        (Text::from_static("requestOverride"), overrides.request.clone()),
        text("stage", "prod"),
        text("domainPrefix", "kit"),
        (Text::from_static("requestTimeEpoch"), Value::from(1_795_492_112_000)),
        text("requestId", "5d0f6a3c-0000-4000-8000-000000000000"),
        (Text::from_static("identity"), identity),
        text("domainName", "kit.example"),
        text("deploymentId", "d1"),
        (Text::from_static("responseOverride"), overrides.response.clone()),
        text("apiId", "kit"),
    ])
}

fn parameters(row: &Json) -> (Value, Value, Value) {
    let path = row["path"].as_str().unwrap_or("/1/x");
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let query = row["query"].as_str().unwrap_or("").split('&').filter_map(|pair| pair.split_once('='));
    let headers = row["headers"].as_array().into_iter().flatten();
    let headers = headers.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    let map = |pairs: Vec<(&str, &str)>| {
        Value::map(pairs.into_iter().map(|(name, value)| (Text::from(name), Value::from(value))))
    };
    (names(&[("id", parts[0]), ("name", parts[1])]), map(query.collect()), map(headers.collect()))
}

fn render(row: &Json) -> (Result<String, String>, Overrides) {
    let template = row["template"].as_str().unwrap();
    let body = if row["phase"] == "mock" { "" } else { row["body"].as_str().unwrap_or("{}") };
    let overrides = Overrides::new();
    let (path, query, header) = parameters(row);
    let mut scope = Scope {
        input: Input::new(body, path, query, header),
        context: context(&overrides),
        stage_variables: names(&[("host", "orders-v1"), ("path", "a/b?c=d&e=f,g"), ("num", "42")]),
    };
    let rendered = Template::parse("row", template).and_then(|t| t.render(&mut scope, &Limits::default()));
    (rendered.map_err(|error| error.to_string()), overrides)
}

/// What is wrong with a row's rendering.
fn judge(row: &Json) -> Option<String> {
    let (rendered, overrides) = render(row);
    if row["error"] == true {
        return rendered.ok().map(|text| format!("rendered {text:?} instead of failing"));
    }
    let mut text = match rendered {
        Ok(text) => text,
        Err(error) => return Some(error),
    };
    if row["phase"] == "lambda" {
        // A function is called with an object where there is no text, and hands its event back compact.
        let event = if text.is_empty() { "{}" } else { &text };
        text = serde_json::from_str::<Json>(event).map_or(text.clone(), |event| event.to_string());
    }
    if let Some(status) = row["status"].as_u64()
        && overrides.response_status().map(u64::from) != Some(status)
    {
        return Some(format!("status {:?} instead of {status}", overrides.response_status()));
    }
    let squash = |text: &str| text.split_whitespace().collect::<String>();
    let as_expected = match row.as_object().unwrap() {
        row if row.contains_key("json") => serde_json::from_str::<Json>(&text).is_ok_and(|json| json == row["json"]),
        row if row.contains_key("squashed") => squash(&text) == row["squashed"].as_str().unwrap(),
        row if row.contains_key("regex") => {
            let whole = format!("^(?:{})$", row["regex"].as_str().unwrap());
            regex::Regex::new(&whole).unwrap().is_match(&text)
        }
        row => text == row["expect"].as_str().unwrap(),
    };
    (!as_expected).then(|| format!("rendered {text:?}"))
}

fn check(rows: &str) {
    let rows: Vec<Json> = serde_json::from_str(rows).unwrap();
    assert!(!rows.is_empty());
    let wrong = rows.iter().filter_map(|row| Some(format!("{row}\n    {}", judge(row)?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

macro_rules! rows {
    ($($test:ident: $file:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check(include_str!(concat!("rows/", $file, ".json")));
            }
        )*
    };
}

rows! {
    context_and_stage_variables: "context",
    directives: "directives",
    input_body: "input-body",
    jsonpath: "jsonpath",
    mock_response: "mock-response",
    params: "params",
    payload_kinds: "payload-kinds",
    printing: "printing",
    strings: "strings",
    util: "util",
    values: "values",
    worked_examples: "worked-examples",
    methods: "methods",
    velocity: "velocity",
    departures_from_velocity: "departures",
}
