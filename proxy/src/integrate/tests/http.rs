//! HTTP and HTTP_PROXY, as they are recorded.

use std::collections::BTreeMap;

use ::http::{HeaderMap, Method};
use bundle::integration::{Http, IntegrationResponse, RequestMapping};
use bundle::mapping::{RequestTarget as Target, Source};

use super::harness::*;
use crate::rejection::Rejection;

fn header(name: &str) -> Target {
    Target::Header(name.into())
}

fn literal(text: &str) -> Source {
    Source::Static(text.into())
}

fn response(pattern: Option<&str>, status: u16, headers: &[(&str, Source)]) -> IntegrationResponse {
    IntegrationResponse {
        selection_pattern: pattern.map(Into::into),
        status,
        headers: headers.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect(),
        templates: BTreeMap::new(),
        content_handling: None,
    }
}

fn custom(uri: &str, parameters: &[(Target, Source)], responses: Vec<IntegrationResponse>) -> Http {
    let mut endpoint = endpoint(uri);
    endpoint.method = Some("POST".into());
    let request = RequestMapping { parameters: mapping(parameters), ..RequestMapping::default() };
    Http { endpoint, request, responses }
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn a_proxied_request_keeps_its_headers_and_gets_amazons() {
    run(async {
        let (address, seen) = answering(OK).await;
        let served = Served::new(&core(), http_proxy(endpoint(&url(address)), BTreeMap::new()));
        let sent = [
            ("accept", "application/xml"),
            ("user-agent", "test/integration"),
            ("x-mine", "a"),
            ("x-mine", "b"),
            ("content-encoding", "gzip"),
            ("x-forwarded-for", "1.2.3.4"),
            ("authorization", "AWS4-HMAC-SHA256 Credential=x"),
            ("te", "deflate"),
            ("via", "p"),
            ("upgrade", "h2c"),
        ];
        let answer = served.ask(Method::POST, "/prod/post?k=v&k=w", &sent, "hello").await.unwrap();
        assert_eq!(seen.line(), "post /?k=v&k=w http/1.1");
        assert_eq!(seen.header("host").unwrap(), address.to_string());
        assert_eq!(seen.header("x-mine").unwrap(), "a|b");
        assert_eq!(seen.header("user-agent").unwrap(), "test/integration");
        assert_eq!(seen.header("x-amzn-apigateway-api-id").unwrap(), "abcdefghij");
        assert!(seen.header("x-amzn-trace-id").unwrap().starts_with("root=1-"));
        assert_eq!(seen.header("x-forwarded-for").unwrap(), "1.2.3.4, 10.0.0.9");
        assert_eq!(seen.header("x-forwarded-port").unwrap(), "8443");
        assert_eq!(seen.header("x-forwarded-proto").unwrap(), "https");
        assert_eq!(seen.header("content-length").unwrap(), "5");
        for absent in ["content-encoding", "authorization", "te", "via", "upgrade", "transfer-encoding"] {
            assert_eq!(seen.header(absent), None, "{absent}");
        }
        assert_eq!(value(answer.headers(), "x-amzn-remapped-content-length"), "2");
        assert!(!answer.headers().contains_key("content-length"));
        assert!(!answer.headers().contains_key("x-amzn-trace-id"));
    });
}

#[test]
fn parameters_are_mapped_over_the_clients_as_recorded() {
    run(async {
        let (address, seen) = answering(OK).await;
        let mut endpoint = endpoint(&format!("http://{address}/?testVar={{pathVar}}&testQs={{qsVar}}"));
        endpoint.method = Some("POST".into());
        let parameters = mapping(&[
            (header("headerVar"), Source::Header("foobar".into())),
            (Target::Path("qsVar".into()), Source::Query("testVar".into())),
            (Target::Path("pathVar".into()), Source::Path("pathVariable".into())),
            (Target::Query("queryString".into()), Source::Query("testQueryString".into())),
            (Target::Query("testQs".into()), Source::Query("testQueryString".into())),
            (Target::Query("testEmptyQs".into()), Source::Header("emptyheader".into())),
        ]);
        let parameters = http_proxy(endpoint, parameters);
        let served = Served::with_parameters(&core(), parameters, &[("pathVariable", 10..16)]);
        let sent = [("foobar", "mapped-value"), ("headervar", "request-value")];
        served.ask(Method::POST, "/prod/map/foobar?testQueryString=foo&testVar=bar", &sent, "{}").await.unwrap();
        assert_eq!(
            seen.line(),
            "post /?testvar=foobar&testqs=bar&testquerystring=foo&testvar=bar&querystring=foo&testqs=foo http/1.1"
        );
        assert_eq!(seen.header("headervar").unwrap(), "mapped-value");
        assert_eq!(seen.header("foobar").unwrap(), "mapped-value");
    });
}

#[test]
fn path_values_keep_their_escapes_and_others_are_escaped() {
    run(async {
        let (address, seen) = answering(OK).await;
        let parameters = mapping(&[
            (Target::Path("proxy".into()), Source::Path("proxy".into())),
            (Target::Path("q".into()), Source::Query("q".into())),
            (Target::Query("all".into()), Source::MultiQuery("m".into())),
            (Target::Query("stage".into()), Source::StageVariable("part".into())),
        ]);
        let endpoint = endpoint(&format!("http://{address}/base/{{proxy}}/{{q}}/{{open}}"));
        let http = http(Http {
            endpoint,
            request: RequestMapping { parameters, ..RequestMapping::default() },
            responses: vec![response(None, 200, &[])],
        });
        let served = Served::with_parameters(&core(), http, &[("proxy", 6..16)]);
        served.ask(Method::GET, "/prod/a%2Fb/c+d/?q=x+y%3F%2F&m=1&m=%26", &[], "").await.unwrap();
        assert_eq!(seen.line(), "get /base/a%2fb/c+d//x%20y%3f//{open}?all=1&all=%26&stage=value http/1.1");
        let refused = served.ask(Method::GET, "/prod/a%2Fb/c+d/?q=../..", &[], "").await;
        assert!(matches!(refused, Err(Rejection::BadPath(_))), "{:?}", refused.map(|_| ()));
    });
}

#[test]
fn a_custom_request_shows_nothing_of_the_clients() {
    run(async {
        let (address, seen) = answering(OK).await;
        let served = Served::new(&core(), http(custom(&url(address), &[], vec![response(None, 200, &[])])));
        let sent = [("accept", "a/b"), ("x-own", "1"), ("authorization", "x"), ("user-agent", "me")];
        let answer = served.ask(Method::GET, "/prod/plain?a=1", &sent, "").await.unwrap();
        assert_eq!(seen.line(), "post / http/1.1");
        assert_eq!(seen.header("accept").unwrap(), "application/json");
        assert_eq!(seen.header("user-agent").unwrap(), "amazonapigateway_abcdefghij");
        assert_eq!(seen.header("content-length").unwrap(), "0");
        assert_eq!(seen.header("x-own"), None);
        assert_eq!(seen.header("authorization"), None);
        assert_eq!(value(answer.headers(), "content-type"), "application/json");
        assert!(value(answer.headers(), "x-amzn-trace-id").starts_with("Root=1-"));
        assert_eq!(answer.headers().len(), 2);
        assert_eq!(text(answer).await.unwrap(), "ok");
    });
}

#[test]
fn mapped_request_headers_are_sent_dropped_or_fatal() {
    run(async {
        let (address, seen) = answering(OK).await;
        let all = |parameters: &[(Target, Source)]| {
            Served::new(&core(), http(custom(&url(address), parameters, vec![response(None, 200, &[])])))
        };
        let served = all(&[
            (header("Accept"), literal("text/html")),
            (header("Max-Forwards"), literal("2")),
            (header("User-Agent"), literal("Override-Agent")),
            (header("TE"), literal("gzip")),
            (header("Via"), literal("x")),
            (header("X-Multi"), Source::MultiHeader("x-in".into())),
            (header("X-Last"), Source::Header("x-in".into())),
            (header("X-None"), Source::StageVariable("nothing".into())),
            (header("X-Ip"), Source::Context("identity.sourceIp".into())),
            (header("X-Body"), Source::Body(None)),
        ]);
        served.ask(Method::POST, "/prod/x", &[("x-in", "1"), ("x-in", "2")], "text").await.unwrap();
        for (name, wanted) in [
            ("accept", Some("text/html")),
            ("max-forwards", Some("2")),
            ("user-agent", Some("override-agent")),
            ("te", None),
            ("via", None),
            ("x-multi", Some("1|2")),
            ("x-last", Some("2")),
            ("x-none", None),
            ("x-ip", Some("10.0.0.9")),
            ("x-body", Some("text")),
            ("content-length", Some("4")),
        ] {
            assert_eq!(seen.header(name).as_deref(), wanted, "{name}");
        }
        let count = seen.connections().len();
        for illegal in ["Content-Length", "Transfer-Encoding", "X-Amzn-Trace-Id", "X-Amzn-Apigateway-Api-Id"] {
            let answer = all(&[(header(illegal), literal("0"))]).get().await;
            assert!(matches!(answer, Err(Rejection::Configuration(_))), "{illegal}: {answer:?}");
        }
        assert_eq!(seen.connections().len(), count, "the backend was not asked");
    });
}

#[test]
fn the_backends_status_selects_the_answer() {
    run(async {
        let (address, _) = answering("HTTP/1.1 404 No\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 3\r\n\r\nbad").await;
        let answers = |responses| Served::new(&core(), http(custom(&url(address), &[], responses)));
        let mut text_response = response(Some(r"4\d{2}"), 400, &[]);
        text_response.templates.insert("text/plain".into(), "client".into());
        let served = answers(vec![text_response, response(None, 200, &[])]);
        let answer = served.ask(Method::GET, "/prod/x", &[], "").await.unwrap();
        assert_eq!(answer.status(), 400);
        assert_eq!(value(answer.headers(), "content-type"), "text/plain");
        assert_eq!(text(answer).await.unwrap(), "client");

        let mapped = response(
            None,
            200,
            &[
                ("X-Last", Source::Header("x-a".into())),
                ("X-All", Source::MultiHeader("x-a".into())),
                ("X-Body", Source::Body(None)),
                ("Server", literal("s")),
                ("Transfer-Encoding", literal("t")),
                ("x-out", Source::StageVariable("part".into())),
                ("x-stage", Source::Context("stage".into())),
                ("x-absent", Source::Header("nothing".into())),
            ],
        );
        let answer = answers(vec![mapped]).ask(Method::GET, "/prod/x", &[], "").await.unwrap();
        assert_eq!(answer.status(), 200);
        let headers = answer.headers();
        assert_eq!(value(headers, "x-last"), "2");
        assert_eq!(headers.get_all("x-all").iter().count(), 2);
        assert_eq!(value(headers, "x-body"), "bad");
        assert_eq!(value(headers, "x-amzn-remapped-server"), "s");
        assert_eq!(value(headers, "x-out"), "value");
        assert_eq!(value(headers, "x-stage"), "prod");
        assert!(!headers.contains_key("transfer-encoding") && !headers.contains_key("x-absent"));
        assert_eq!(text(answer).await.unwrap(), "bad");

        let none = answers(vec![response(Some("2.."), 200, &[])]).get().await;
        assert!(none.unwrap_err().to_text().contains("Endpoint Response Status Code: 404"));
    });
}

#[test]
fn a_host_may_come_from_the_request() {
    run(async {
        let (address, seen) = answering(OK).await;
        let parameters = mapping(&[(Target::Path("host".into()), Source::Header("x-to".into()))]);
        let served = Served::new(&core(), http_proxy(endpoint("http://{host}/x"), parameters));
        served.ask(Method::GET, "/prod/x", &[("x-to", &address.to_string())], "").await.unwrap();
        assert_eq!(seen.line(), "get /x http/1.1");
        let refused = served.ask(Method::GET, "/prod/x", &[("x-to", "user@host")], "").await;
        assert!(refused.unwrap_err().to_text().contains("Invalid endpoint address"));
    });
}

#[test]
fn a_body_over_the_limit_does_not_reach_the_backend() {
    run(async {
        let (address, seen) = answering(OK).await;
        let served = Served::new(&core(), http_proxy(endpoint(&url(address)), BTreeMap::new()));
        let body = "x".repeat((10 << 20) + 1);
        let answer = served.ask(Method::POST, "/prod/x", &[], &body).await;
        assert_eq!(answer.map(|_| ()), Err(Rejection::RequestTooLarge));
        assert!(seen.connections().is_empty());
    });
}
