use std::collections::BTreeMap;

use bundle::integration::{ContentHandling, Integration, IntegrationResponse, Passthrough};
use bundle::mapping::Source;
use bundle::route::Action;

use super::*;
use crate::fixture::{core, default_host, mock_of, request, route, serve, set, stage};

type Wire = bundle::integration::Mock;

/// Serves one request with a MOCK at `/m`.
fn ask(mock: Wire, headers: &[(&str, &str)], body: &str) -> (u16, http::HeaderMap, String) {
    let routes = [route("POST /m", Action::Serve(Box::new(Integration::Mock(mock))))];
    let (core, broken) = core(&set(vec![stage("prod", &routes)], vec![default_host("example.com", &["prod"])]));
    assert_eq!(broken, []);
    let mut exchange = request("POST", "/prod/m", headers);
    exchange.body = Body::full(body.to_owned());
    serve(&core, exchange)
}

#[track_caller]
fn check(mock: Wire, headers: &[(&str, &str)], body: &str, expected: (u16, &str)) {
    let (status, _, text) = ask(mock, headers, body);
    assert_eq!((status, text.as_str()), expected);
}

const FAILED: (u16, &str) = (500, r#"{"message":"Internal server error"}"#);

#[test]
fn the_status_selects_the_response() {
    let pick = |request| mock_of(request, &[(None, "default"), (Some(r"4\d{2}"), "client"), (Some("503"), "busy")]);
    check(pick("{statusCode: 418}"), &[], "", (404, "client"));
    check(pick("{'statusCode': 503}"), &[], "", (200, "busy"));
    check(pick(r#"{"statusCode": 201}"#), &[], "", (200, "default"));
    check(pick("{statusCode: -1000}"), &[], "", (200, "default"));
    check(pick(r#"{"statusCode": "200"}"#), &[], "", FAILED);
    check(pick(r#"{"statusCode": 200"#), &[], "", FAILED);
    check(mock_of("{statusCode: 200}", &[(Some("404"), "none")]), &[], "", FAILED);
}

#[test]
fn a_body_without_a_template_is_the_request() {
    let xml = &[("content-type", "application/xml")];
    let mock = || mock_of("{statusCode: 200}", &[(None, "default"), (Some("404"), "client")]);
    check(mock(), xml, "{statusCode: 404}", (404, "client"));
    check(mock(), xml, "<status/>", FAILED);
    check(mock(), &[], "{statusCode: 404}", (200, "default"));
    let mut never = mock();
    never.request.passthrough = Passthrough::Never;
    check(never, xml, "", (415, r#"{"message":"Unsupported Media Type"}"#));
    let long = "x".repeat((10 << 20) + 1);
    check(mock(), &[], &long, (413, r#"{"message":"Request Too Long"}"#));
}

#[test]
fn headers_and_bodies_of_responses() {
    let headers = [
        ("X-Lit", Source::Static("lit".into())),
        ("X-Var", Source::StageVariable("v".into())),
        ("X-Unset", Source::StageVariable("w".into())),
        ("X-Stage", Source::Context("stage".into())),
        ("X-Back", Source::Header("Date".into())),
        ("X-Body", Source::Body(None)),
        ("Content-Length", Source::Static("12".into())),
        ("Transfer-Encoding", Source::Static("chunked".into())),
    ];
    let templates = [("application/json", "{}"), ("text/html", "<p>$context.stage</p>")];
    let response = IntegrationResponse {
        selection_pattern: None,
        status: 201,
        headers: headers.into_iter().map(|(name, source)| (name.to_owned(), source)).collect(),
        templates: templates.map(|(media_type, text)| (media_type.to_owned(), text.to_owned())).into(),
        content_handling: None,
    };
    let mut mock = mock_of("{statusCode: 200}", &[]);
    mock.responses = vec![response];
    let sent = &[("accept", "text/html"), ("x-amzn-trace-id", "Root=1-3152b799-8954dae64eda91bc9a23a7e8")];
    let (status, headers, body) = ask(mock, sent, "");
    assert_eq!((status, body.as_str()), (201, "<p>prod</p>"));
    for (name, value) in [
        ("content-type", "text/html"),
        ("x-lit", "lit"),
        ("x-var", "one"),
        ("x-stage", "prod"),
        ("x-amzn-remapped-content-length", "12"),
    ] {
        assert_eq!(headers[name], value);
    }
    for name in
        ["x-unset", "x-back", "x-body", "content-length", "transfer-encoding", "x-amzn-trace-id", "x-amzn-errortype"]
    {
        assert!(!headers.contains_key(name), "{name}");
    }
}

#[test]
fn no_template_gives_no_body_and_json_by_default() {
    let mut mock = mock_of("{statusCode: 200}", &[(None, "")]);
    let (status, headers, body) = ask(mock.clone(), &[], "");
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(headers["content-type"], "application/json");
    mock.responses[0].templates = BTreeMap::new();
    check(mock, &[], "", (200, ""));
}

#[test]
fn base64_becomes_bytes_where_it_is_wanted() {
    let mut mock = mock_of("{statusCode: 200}", &[(None, "aGk=\n")]);
    mock.responses[0].content_handling = Some(ContentHandling::ConvertToBinary);
    check(mock.clone(), &[], "", (200, "hi"));
    mock.responses[0].templates.insert("application/json".into(), "?".into());
    check(mock, &[], "", FAILED);
}
