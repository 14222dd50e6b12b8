use bundle::route::Refusal;
use bundle::{ApiKind, BundleSet};

use super::*;
use crate::fixture::{backend, core, custom_host, default_host, method, mock, request, set, stage, with_sni};

/// What dispatch found: stage, resource and verb of the route, the path below the stage, the whole path.
fn found(exchange: &Exchange) -> Option<(String, String, String, String)> {
    let routed = exchange.routed.as_ref()?;
    let route = routed.route()?;
    Some((
        routed.stage.live.name.to_string(),
        format!("{} {}", route.verb, route.resource),
        exchange.resource_path().to_owned(),
        exchange.path.as_str().to_owned(),
    ))
}

fn try_dispatch(set: &BundleSet, mut exchange: Exchange) -> (Result<(), Rejection>, Exchange) {
    let result = dispatch(&core(set).0, &mut exchange);
    (result, exchange)
}

#[track_caller]
fn check(set: &BundleSet, exchange: Exchange, expected: (&str, &str, &str)) {
    let shown = format!("{:?} {}", exchange.headers, exchange.uri);
    let (result, exchange) = try_dispatch(set, exchange);
    assert_eq!(result, Ok(()), "{shown}");
    let (stage, route, path, _) = found(&exchange).unwrap();
    assert_eq!((stage.as_str(), route.as_str(), path.as_str()), expected, "{shown}");
}

#[track_caller]
fn refused(set: &BundleSet, exchange: Exchange, expected: Rejection) {
    let shown = format!("{:?} {}", exchange.headers, exchange.uri);
    assert_eq!(try_dispatch(set, exchange).0, Err(expected), "{shown}");
}

fn kit() -> BundleSet {
    set(
        vec![stage("stage", &[mock("ANY /{proxy+}"), mock("GET /hardcoded"), mock("GET /"), mock("GET /pets/{id}")])],
        vec![default_host("example.com", &["stage"])],
    )
}

/// The table of recorded paths: what a proxy event shows.
#[test]
fn recorded_paths() {
    for (target, path, proxy, whole) in [
        ("/stage/proxy-value", "/proxy-value", "proxy-value", "/stage/proxy-value"),
        ("/stage/proxy-value/", "/proxy-value/", "proxy-value", "/stage/proxy-value/"),
        (
            "/stage/proxy-value//double-slash",
            "/proxy-value//double-slash",
            "proxy-value//double-slash",
            "/stage/proxy-value//double-slash",
        ),
        ("//stage/proxy-value", "/proxy-value", "proxy-value", "/stage/proxy-value"),
        ("/stage//proxy-value", "/proxy-value", "proxy-value", "/stage//proxy-value"),
        (
            "/stage/user/test%2Balias@gmail.com/plus/test+alias@gmail.com",
            "/user/test%2Balias@gmail.com/plus/test+alias@gmail.com",
            "user/test%2Balias@gmail.com/plus/test+alias@gmail.com",
            "/stage/user/test%2Balias@gmail.com/plus/test+alias@gmail.com",
        ),
    ] {
        let (result, exchange) = try_dispatch(&kit(), request("GET", target, &[]));
        assert_eq!(result, Ok(()));
        assert_eq!(exchange.resource_path(), path, "{target}");
        assert_eq!(exchange.path_parameter("proxy"), Some(proxy), "{target}");
        assert_eq!(exchange.path.as_str(), whole, "{target}");
    }
}

#[test]
fn other_paths_below_a_stage() {
    for (target, route, path) in [
        ("/stage//hardcoded", "GET /hardcoded", "/hardcoded"),
        ("///stage///hardcoded", "GET /hardcoded", "/hardcoded"),
        ("/stage", "GET /", "/"),
        ("/stage/", "GET /", "/"),
        ("/stage//", "GET /", "/"),
        ("/%73tage/%68ardcoded", "GET /hardcoded", "/hardcoded"),
        ("/stage/hardcoded?a=/b", "GET /hardcoded", "/hardcoded"),
        ("/stage/pets%2F7", "ANY /{proxy+}", "/pets%2F7"),
        ("/stage/pets//7", "ANY /{proxy+}", "/pets//7"),
    ] {
        check(&kit(), request("GET", target, &[]), ("stage", route, path));
    }
    let (_, exchange) = try_dispatch(&kit(), request("GET", "/stage//pets/a%2fb/", &[]));
    assert_eq!(exchange.path_parameter("id"), Some("a%2fb"));
}

#[test]
fn what_leads_nowhere() {
    let kit = set(vec![stage("stage", &[mock("GET /a")])], vec![default_host("example.com", &["stage", "gone"])]);
    for target in ["/", "/nostage/a", "/Stage/a", "/gone/a", "/stagea"] {
        refused(&kit, request("GET", target, &[]), Rejection::NoSuchStage);
    }
    refused(&kit, request("GET", "/stage/a", &[("host", "other.com")]), Rejection::NoSuchStage);
    for (verb, target) in [("GET", "/stage/b"), ("POST", "/stage/a"), ("HEAD", "/stage/a"), ("GET", "/stage")] {
        refused(&kit, request(verb, target, &[]), Rejection::NoSuchMethod);
    }
    let (_, exchange) = try_dispatch(&kit, request("GET", "/stage/b", &[]));
    assert!(exchange.routed.is_some_and(|routed| routed.route.is_none()), "its gateway responses are the stage's");
    let (_, broken) = core(&kit);
    assert_eq!(broken.len(), 1, "a host that names a stage that is not here: {broken:?}");
}

#[test]
fn hosts_and_base_paths() {
    let kit = set(
        vec![
            stage("v1", &[mock("GET /list"), mock("GET /v2x")]),
            stage("v2", &[mock("GET /list")]),
            stage("wild", &[mock("GET /{all+}")]),
            stage("any", &[mock("GET /{all+}")]),
        ],
        vec![
            custom_host(
                "api.kit.test",
                &[("/orders", "v1"), ("/orders/v2", "v2"), ("/gone", "missing"), ("/gone/a/b", "v1")],
            ),
            custom_host("v2.kit.test", &[("/", "v2")]),
            custom_host("mixed.kit.test", &[("/", "wild"), ("/missing", "missing")]),
            custom_host("*.kit.test", &[("/", "wild")]),
            custom_host("*", &[("/", "any")]),
        ],
    );
    let at = |host: &'static str, target| request("GET", target, &[("host", host)]);
    for (host, target, stage, route, path) in [
        ("api.kit.test", "/orders/list", "v1", "GET /list", "/list"),
        ("API.Kit.Test:8443", "/orders/list", "v1", "GET /list", "/list"),
        ("api.kit.test.", "//orders//list", "v1", "GET /list", "/list"),
        ("api.kit.test", "/orders/v2/list", "v2", "GET /list", "/list"),
        ("api.kit.test", "/orders/v2x", "v1", "GET /v2x", "/v2x"),
        ("v2.kit.test", "/list", "v2", "GET /list", "/list"),
        ("v2.kit.test", "//list", "v2", "GET /list", "/list"),
        ("other.kit.test", "/x/y", "wild", "GET /{all+}", "/x/y"),
        ("mixed.kit.test", "/missingx", "wild", "GET /{all+}", "/missingx"),
        ("a.b.kit.test", "/x", "any", "GET /{all+}", "/x"),
        ("kit.test", "/x", "any", "GET /{all+}", "/x"),
        (".kit.test", "/x", "any", "GET /{all+}", "/x"),
        ("127.0.0.1:8443", "/x", "any", "GET /{all+}", "/x"),
        ("[::1]", "/x", "any", "GET /{all+}", "/x"),
    ] {
        check(&kit, at(host, target), (stage, route, path));
    }
    for (host, target) in [
        ("api.kit.test", "/invoices/list"),
        ("api.kit.test", "/ordersx/list"),
        ("api.kit.test", "/"),
        ("api.kit.test", "/Orders/list"),
        ("api.kit.test", "/gone/list"),
        ("mixed.kit.test", "/missing/x"),
    ] {
        refused(&kit, at(host, target), Rejection::NoSuchStage);
    }
    refused(&kit, at("api.kit.test", "/orders/none"), Rejection::NoSuchMethod);
    refused(&kit, at("api.kit.test", "/orders"), Rejection::NoSuchMethod);
}

#[test]
fn http_apis_have_a_default_stage_and_a_default_route() {
    let mut bundle = stage("$default", &[mock("GET /pets"), mock("ANY $default")]);
    bundle.api.kind = ApiKind::Http;
    let mut plain = stage("plain", &[mock("GET /pets")]);
    plain.api.kind = ApiKind::Http;
    let kit = set(vec![bundle, plain], vec![default_host("example.com", &["$default", "plain"])]);
    check(&kit, request("GET", "/pets", &[]), ("$default", "GET /pets", "/pets"));
    check(&kit, request("PURGE", "/cats/1", &[]), ("$default", "ANY $default", "/cats/1"));
    check(&kit, request("GET", "/", &[]), ("$default", "ANY $default", "/"));
    check(&kit, request("GET", "/plain/pets", &[]), ("plain", "GET /pets", "/pets"));
    refused(&kit, request("GET", "/plain/cats", &[]), Rejection::NoSuchRoute);
}

#[test]
fn limits_come_first() {
    let kit = kit();
    let long = format!("/stage/{}", "a".repeat(URL_LENGTH - 7));
    check(&kit, request("GET", &long, &[]), ("stage", "ANY /{proxy+}", &long[6..]));
    refused(&kit, request("GET", &format!("{long}b"), &[]), Rejection::UriTooLong);
    let big = "h".repeat(9000);
    check(&kit, request("GET", "/stage/a", &[("x-big", &big)]), ("stage", "ANY /{proxy+}", "/a"));
    let bigger = "h".repeat(11_000);
    refused(&kit, request("GET", "/stage/..", &[("x-big", &bigger)]), Rejection::HeadersTooLarge);
    let just = "h".repeat(HEADER_BYTES - "x-big".len() - "host".len() - "example.com".len());
    check(&kit, request("GET", "/stage/a", &[("x-big", &just)]), ("stage", "ANY /{proxy+}", "/a"));
    refused(&kit, request("GET", "/stage/a", &[("x-big", &just), ("x", "")]), Rejection::HeadersTooLarge);
}

#[test]
fn bad_hosts_and_paths() {
    let kit = kit();
    refused(&kit, request("GET", "/stage/a", &[("host", "")]), Rejection::BadHost);
    refused(&kit, request("GET", "/stage/a", &[("host", "example.com"), ("host", "example.com")]), Rejection::BadHost);
    let mut none = request("GET", "/stage/a", &[]);
    none.headers.clear();
    refused(&kit, none, Rejection::BadHost);
    refused(&kit, request("GET", "/stage/%2e%2e/a", &[]), Rejection::BadPath("the path holds a dot segment"));
    refused(&kit, request("OPTIONS", "*", &[]), Rejection::BadPath("the path does not begin with a slash"));
}

#[test]
fn the_authority_of_a_request_line() {
    let kit = kit();
    let absolute = "https://EXAMPLE.com:8443/stage/a";
    check(&kit, request("GET", absolute, &[("host", "other.com")]), ("stage", "ANY /{proxy+}", "/a"));
    refused(&kit, request("GET", "https://user@example.com/stage/a", &[]), Rejection::BadHost);
    let http2 = |host| {
        let mut exchange = request("GET", absolute, &[("host", host)]);
        exchange.version = http::Version::HTTP_2;
        exchange
    };
    refused(&kit, http2("other.com"), Rejection::BadHost);
    check(&kit, http2("example.com:8443"), ("stage", "ANY /{proxy+}", "/a"));
}

#[test]
fn a_refused_host_refuses_every_path() {
    let mut host = default_host("example.com", &["stage"]);
    host.refuse = Some(Refusal { reason: "ClientCA".to_owned(), message: "no".to_owned() });
    let kit = set(vec![stage("stage", &[mock("GET /a")])], vec![host]);
    let expected = Rejection::RouteRefused { reason: "ClientCA".to_owned(), message: "no".to_owned() };
    refused(&kit, request("GET", "/stage/a", &[]), expected.clone());
    refused(&kit, request("GET", "/nothing", &[]), expected);
}

#[test]
fn names_that_share_their_tls_settings() {
    let kit = set(
        vec![stage("stage", &[mock("GET /a")])],
        vec![default_host("example.com", &["stage"]), default_host("other.com", &["stage"])],
    );
    check(&kit, with_sni(request("GET", "/stage/a", &[]), "other.com"), ("stage", "GET /a", "/a"));
    check(&kit, with_sni(request("GET", "/stage/a", &[]), "unknown.com"), ("stage", "GET /a", "/a"));
}

#[test]
fn a_client_may_name_its_request() {
    let kit = kit();
    let id = |headers: &[(&str, &str)]| {
        let (_, exchange) = try_dispatch(&kit, request("GET", "/stage/a", headers));
        exchange.ids.request.to_str().unwrap().to_owned()
    };
    let name = "x-amzn-RequestId";
    assert_eq!(id(&[]), "01234567-89ab-4def-8123-456789abcdef");
    let own = "11111111-2222-3333-4444-555555555555";
    assert_eq!(id(&[(name, own)]), own);
    assert_eq!(id(&[(name, "mine")]), "UUID_REPLACED_INVALID_REQUEST_ID");
    assert_eq!(id(&[(name, own), (name, own)]), "UUID_REPLACED_INVALID_REQUEST_ID");
}

#[test]
fn a_verb_is_overridden_for_amazons_integrations() {
    let routes = [
        mock("POST /x"),
        mock("DELETE /x"),
        mock("HEAD /x"),
        backend("POST /back"),
        backend("DELETE /back"),
        mock("PUT /mixed"),
        backend("POST /mixed"),
    ];
    let kit = set(vec![stage("prod", &routes)], vec![default_host("example.com", &["prod"])]);
    let overridden = |verb, target, by| request(verb, target, &[("X-HTTP-Method-Override", by)]);
    check(&kit, overridden("POST", "/prod/x", "DELETE"), ("prod", "DELETE /x", "/x"));
    let (_, exchange) = try_dispatch(&kit, overridden("POST", "/prod/x", "DELETE"));
    assert_eq!(exchange.method, method("DELETE"));
    refused(&kit, overridden("POST", "/prod/x", "PATCH"), Rejection::NoSuchMethod);
    check(&kit, overridden("POST", "/prod/x", "no verb"), ("prod", "POST /x", "/x"));
    check(&kit, overridden("POST", "/prod/x", "HEAD"), ("prod", "POST /x", "/x"));
    check(&kit, overridden("HEAD", "/prod/x", "DELETE"), ("prod", "HEAD /x", "/x"));
    check(&kit, overridden("POST", "/prod/back", "DELETE"), ("prod", "POST /back", "/back"));
    check(&kit, overridden("POST", "/prod/back", "PATCH"), ("prod", "POST /back", "/back"));
    check(&kit, overridden("POST", "/prod/mixed", "PUT"), ("prod", "PUT /mixed", "/mixed"));
    refused(&kit, overridden("PATCH", "/prod/back", "DELETE"), Rejection::NoSuchMethod);
}
