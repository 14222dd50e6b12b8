use std::collections::BTreeMap;

use bundle::integration::{BackendTarget, FunctionCall, Integration, LambdaProxy};
use bundle::route::{Action, Route};
use serde_json::{Value, json};

use super::*;
use crate::dispatch::dispatch;
use crate::fixture::{core, custom_host, default_host, request, route, set, stage, with_certificate};

fn function(method: &str) -> Route {
    let call = FunctionCall { uri: "fn".into(), method: Some("POST".into()), credentials: None, timeout_ms: 1000 };
    let proxy = LambdaProxy { call, payload: PayloadFormat::V1, stream: false };
    route(method, Action::Serve(Box::new(Integration::LambdaProxy(proxy))))
}

struct Api {
    kind: ApiKind,
    variables: bool,
    binary: &'static [&'static str],
}

const REST: Api = Api { kind: ApiKind::Rest, variables: false, binary: &[] };
const HTTP: Api = Api { kind: ApiKind::Http, ..REST };

impl Api {
    /// The event of a request to a stage with these routes, under its default host and `api.example.com/base`.
    fn event(&self, exchange: Exchange, format: PayloadFormat, body: &[u8]) -> Value {
        let mut bundle = stage("prod", &["ANY /{proxy+}", "GET /pets/{id}"].map(function));
        bundle.api.kind = self.kind;
        bundle.functions = BTreeMap::from([("fn".to_owned(), BackendTarget::Url("http://127.0.0.1:1".to_owned()))]);
        bundle.binary_media_types = self.binary.iter().map(|&text| text.to_owned()).collect();
        if !self.variables {
            bundle.variables.clear();
        }
        let hosts = vec![default_host("example.com", &["prod"]), custom_host("api.example.com", &[("/base", "prod")])];
        let (core, broken) = core(&set(vec![bundle], hosts));
        assert!(broken.is_empty(), "{broken:?}");
        let mut exchange = exchange;
        dispatch(&core, &mut exchange).unwrap();
        let trace_id = HeaderValue::from_static("Root=1-600102ab-89abcdef0123456789abcdef");
        let event = Source::of(&exchange, &trace_id, body).unwrap().write(format);
        serde_json::from_slice(&event).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&event)))
    }
}

#[test]
fn functions_see_the_certificate_that_a_client_has_shown() {
    let exchange = || with_certificate(request("GET", "/prod/x", &[]));
    let rest = REST.event(exchange(), PayloadFormat::V1, b"");
    let mut seen = rest["requestContext"]["identity"]["clientCert"].clone();
    let pem = seen["clientCertPem"].take();
    assert!(pem.as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\nMII"), "{pem}");
    let wanted = json!({
        "clientCertPem": null, "subjectDN": "O=Partners,CN=client", "issuerDN": "O=Partners,CN=client",
        "serialNumber": "7",
        "validity": {"notBefore": "May 28 00:00:00 2019 GMT", "notAfter": "Aug  5 00:00:00 2121 GMT"},
    });
    assert_eq!(seen, wanted);
    let http = HTTP.event(exchange(), PayloadFormat::V2, b"");
    assert_eq!(http["requestContext"]["authentication"]["clientCert"]["subjectDN"], "O=Partners,CN=client");
    let http = HTTP.event(request("GET", "/prod/x", &[]), PayloadFormat::V2, b"");
    assert_eq!(http["requestContext"].get("authentication"), None);
}

#[test]
fn a_rest_event_has_every_member_and_no_other() {
    let headers =
        [("accept", "*/*"), ("authorization", "random"), ("user-agent", "kit"), ("x-two", "1"), ("x-two", "2")];
    let event = REST.event(request("GET", "/prod/proxy-value", &headers), PayloadFormat::V1, b"");
    let mut event = event;
    for member in ["requestTime", "requestTimeEpoch", "deploymentId"] {
        let value = event["requestContext"].as_object_mut().unwrap().remove(member).unwrap();
        assert!(value.is_string() || value.is_u64(), "{member}: {value}");
    }
    let wanted = json!({
        "resource": "/{proxy+}", "path": "/proxy-value", "httpMethod": "GET",
        "headers": {
            "Accept": "*/*", "Authorization": "random", "User-Agent": "kit", "x-two": "2", "Host": "example.com",
            "X-Amzn-Trace-Id": "Root=1-600102ab-89abcdef0123456789abcdef",
            "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https",
        },
        "multiValueHeaders": {
            "Accept": ["*/*"], "Authorization": ["random"], "User-Agent": ["kit"], "x-two": ["1", "2"],
            "Host": ["example.com"], "X-Amzn-Trace-Id": ["Root=1-600102ab-89abcdef0123456789abcdef"],
            "X-Forwarded-For": ["192.0.2.7"], "X-Forwarded-Port": ["443"], "X-Forwarded-Proto": ["https"],
        },
        "queryStringParameters": null, "multiValueQueryStringParameters": null,
        "pathParameters": {"proxy": "proxy-value"}, "stageVariables": null,
        "requestContext": {
            "accountId": "123456789012", "apiId": "abcdefghij", "domainName": "example.com", "domainPrefix": "example",
            "extendedRequestId": "AAAAAAAAAAAAAAA=", "httpMethod": "GET",
            "identity": {
                "accessKey": null, "accountId": null, "caller": null, "cognitoAuthenticationProvider": null,
                "cognitoAuthenticationType": null, "cognitoIdentityId": null, "cognitoIdentityPoolId": null,
                "principalOrgId": null, "sourceIp": "192.0.2.7", "user": null, "userAgent": "kit", "userArn": null,
            },
            "path": "/prod/proxy-value", "protocol": "HTTP/1.1",
            "requestId": "01234567-89ab-4def-8123-456789abcdef", "resourceId": "abc123",
            "resourcePath": "/{proxy+}", "stage": "prod",
        },
        "body": null, "isBase64Encoded": false,
    });
    assert_eq!(event, wanted);
}

#[test]
fn an_event_names_the_key_that_was_asked_for() {
    let mut bundle = stage("prod", &["GET /keyed", "GET /open"].map(function));
    bundle.routes[0].requires = [bundle::api_key::GUARD.to_owned()].into();
    bundle.functions = BTreeMap::from([("fn".to_owned(), BackendTarget::Url("http://127.0.0.1:1".to_owned()))]);
    let mut set = set(vec![bundle], vec![default_host("example.com", &["prod"])]);
    let (plans, keys) = crate::fixture::callers("prod", "a-key-of-acme-0123456789", "acme");
    (set.plans, set.keys) = (vec![plans], vec![keys]);
    let (core, broken) = core(&set);
    assert!(broken.is_empty(), "{broken:?}");
    let identity = |path: &str| {
        let mut exchange = request("GET", path, &[("x-api-key", "a-key-of-acme-0123456789")]);
        dispatch(&core, &mut exchange).unwrap();
        crate::fixture::run(crate::guard::guard(&core, &mut exchange)).unwrap();
        let trace_id = HeaderValue::from_static("Root=1-600102ab-89abcdef0123456789abcdef");
        let event = Source::of(&exchange, &trace_id, b"").unwrap().write(PayloadFormat::V1);
        serde_json::from_slice::<Value>(&event).unwrap()["requestContext"]["identity"].clone()
    };
    let keyed = identity("/prod/keyed");
    assert_eq!((&keyed["apiKey"], &keyed["apiKeyId"]), (&json!("a-key-of-acme-0123456789"), &json!("acme")));
    assert_eq!(identity("/prod/open").get("apiKeyId"), None);
}

#[test]
fn paths_of_every_kind() {
    for (host, target, path, whole) in [
        ("example.com", "/prod/a/", "/a/", "/prod/a/"),
        ("example.com", "//prod/a", "/a", "/prod/a"),
        ("example.com", "/prod//a", "/a", "/prod//a"),
        ("example.com", "/prod/a//b", "/a//b", "/prod/a//b"),
        ("example.com", "/prod/test%2Balias@x", "/test%2Balias@x", "/prod/test%2Balias@x"),
        ("api.example.com", "/base/a", "/base/a", "/base/a"),
    ] {
        let event = REST.event(request("GET", target, &[("host", host)]), PayloadFormat::V1, b"");
        assert_eq!((&event["path"], &event["requestContext"]["path"]), (&json!(path), &json!(whole)), "{target}");
        assert_eq!(event["requestContext"]["domainName"], host);
        let event = HTTP.event(request("GET", target, &[("host", host)]), PayloadFormat::V2, b"");
        assert_eq!((&event["rawPath"], &event["requestContext"]["http"]["path"]), (&json!(whole), &json!(whole)));
    }
    let event = REST.event(request("GET", "/prod/pets/a%20b", &[]), PayloadFormat::V1, b"");
    assert_eq!((&event["resource"], &event["pathParameters"]), (&json!("/pets/{id}"), &json!({"id": "a%20b"})));
}

#[test]
fn what_belongs_to_the_connection_stays_here() {
    let gone = [
        "connection",
        "content-length",
        "content-md5",
        "expect",
        "max-forwards",
        "proxy-authenticate",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
    ];
    let mut headers: Vec<_> = gone.iter().map(|&name| (name, "x")).collect();
    headers.extend([("via", "p"), ("authorization", "AWS4-HMAC-SHA256 Credential=a")]);
    let event = REST.event(request("GET", "/prod/a", &headers), PayloadFormat::V1, b"");
    let mut names: Vec<&String> = event["headers"].as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["Host", "Via", "X-Amzn-Trace-Id", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"]);
}

#[test]
fn bodies_are_text_or_base64() {
    let api = Api { binary: &["image/*"], variables: true, ..REST };
    let event = |content_type, body| {
        let event = api.event(request("POST", "/prod/a", &[("content-type", content_type)]), PayloadFormat::V1, body);
        (event["body"].clone(), event["isBase64Encoded"].clone(), event["stageVariables"].clone())
    };
    let variables = json!({"v": "one"});
    assert_eq!(event("image/png", b"\0\x01\x02\xff"), (json!("AAEC/w=="), json!(true), variables.clone()));
    assert_eq!(event("text/plain", b"a\"\xff"), (json!("a\"\u{fffd}"), json!(false), variables.clone()));
    assert_eq!(event("image/png", b""), (Value::Null, json!(false), variables));
}

#[test]
fn an_http_event_leaves_out_what_is_empty() {
    let headers =
        [("x-many", "one"), ("x-many", "two"), ("cookie", "c=1; d=2"), ("user-agent", "kit"), ("content-length", "1")];
    let api = Api { variables: true, ..HTTP };
    let event = api.event(request("GET", "/prod/pets/7?a=1&a=2&b=x+y", &headers), PayloadFormat::V2, b"{");
    assert_eq!((&event["version"], &event["routeKey"]), (&json!("2.0"), &json!("GET /pets/{id}")));
    assert_eq!(
        (&event["rawQueryString"], &event["queryStringParameters"]),
        (&json!("a=1&a=2&b=x+y"), &json!({"a": "1,2", "b": "x y"}))
    );
    assert_eq!((&event["cookies"], &event["headers"]["cookie"]), (&json!(["c=1", "d=2"]), &Value::Null));
    assert_eq!((&event["headers"]["x-many"], &event["headers"]["content-length"]), (&json!("one,two"), &json!("1")));
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{"), &json!(false)));
    assert_eq!((&event["pathParameters"], &event["stageVariables"]), (&json!({"id": "7"}), &json!({"v": "one"})));
    let context = &event["requestContext"];
    assert_eq!(
        context["http"],
        json!({"method": "GET", "path": "/prod/pets/7", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7", "userAgent": "kit"})
    );
    assert!(context["timeEpoch"].is_u64() && context["time"].is_string() && context["routeKey"] == "GET /pets/{id}");

    let event = HTTP.event(request("POST", "/prod/a", &[]), PayloadFormat::V2, b"");
    for absent in ["cookies", "queryStringParameters", "body", "stageVariables"] {
        assert!(event.get(absent).is_none(), "{absent}");
    }
    assert_eq!(event["rawQueryString"], "");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let event = HTTP.event(request("POST", "/prod/a", &form), PayloadFormat::V2, b"a=1");
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("YT0x"), &json!(true)));
}

#[test]
fn an_http_api_has_its_own_version_of_format_1() {
    let event = HTTP.event(request("GET", "/prod/a", &[("x-a", "1")]), PayloadFormat::V1, b"");
    assert_eq!((&event["version"], &event["path"]), (&json!("1.0"), &json!("/prod/a")));
    assert_eq!((&event["headers"]["x-a"], &event["requestContext"]["resourceId"]), (&json!("1"), &Value::Null));
}
