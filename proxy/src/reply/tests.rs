use std::collections::BTreeMap;

use bundle::BundleSet;
use bundle::mapping::Source;
use bundle::reply::GatewayResponse as Bundle;

use super::*;
use crate::fixture::{backend, core, default_host, mock, read, request, serve, set, stage};
use crate::rejection::Fault;

use GatewayResponseType as Type;

/// Every row of Amazon's table.
#[test]
fn the_table_of_gateway_responses() {
    let rows = [
        (Type::AccessDenied, 403, Some("User is not authorized to access this resource"), "AccessDeniedException"),
        (Type::ApiConfigurationError, 500, Some("Internal server error"), "InternalServerErrorException"),
        (Type::AuthorizerConfigurationError, 500, None, "AuthorizerConfigurationException"),
        (Type::AuthorizerFailure, 500, None, "AuthorizerFailureException"),
        (Type::BadRequestParameters, 400, Some("Missing required request parameters"), "BadRequestException"),
        (Type::BadRequestBody, 400, Some("Invalid request body"), "BadRequestException"),
        (Type::Default4xx, 400, None, "BadRequestException"),
        (Type::Default5xx, 500, None, "InternalServerErrorException"),
        (
            Type::ExpiredToken,
            403,
            Some("The security token included in the request is expired"),
            "ExpiredTokenException",
        ),
        (Type::IntegrationFailure, 504, Some("Internal server error"), "InternalServerErrorException"),
        (Type::IntegrationTimeout, 504, Some("Endpoint request timed out"), "InternalServerErrorException"),
        (Type::InvalidApiKey, 403, Some("Forbidden"), "ForbiddenException"),
        (Type::InvalidSignature, 403, None, "InvalidSignatureException"),
        (
            Type::MissingAuthenticationToken,
            403,
            Some("Missing Authentication Token"),
            "MissingAuthenticationTokenException",
        ),
        (Type::QuotaExceeded, 429, Some("Limit Exceeded"), "LimitExceededException"),
        (Type::RequestTooLarge, 413, Some("Request Too Long"), "RequestTooLargeException"),
        (Type::ResourceNotFound, 404, None, "ResourceNotFoundException"),
        (Type::Throttled, 429, Some("Too Many Requests"), "TooManyRequestsException"),
        (Type::Unauthorized, 401, Some("Unauthorized"), "UnauthorizedException"),
        (Type::UnsupportedMediaType, 415, Some("Unsupported Media Type"), "BadRequestException"),
        (Type::WafFiltered, 403, Some("Forbidden"), "ForbiddenException"),
    ];
    assert_eq!(rows.map(|(kind, ..)| kind), *Type::ALL);
    for (kind, status, message, error_type) in rows {
        let found = row(kind);
        assert_eq!((found.status, found.message, found.error_type), (status, message, error_type), "{kind:?}");
        assert_eq!(found.uncustomised, if kind == Type::IntegrationFailure { 500 } else { status });
        assert_eq!(found.customisable, kind != Type::RequestTooLarge);
        StatusCode::from_u16(found.status).unwrap();
    }
}

fn every_rejection() -> Vec<Rejection> {
    let text = String::new;
    vec![
        Rejection::BadPath("why"),
        Rejection::BadHost,
        Rejection::HeadersTooLarge,
        Rejection::UriTooLong,
        Rejection::NoSuchStage,
        Rejection::NoSuchMethod,
        Rejection::NoSuchRoute,
        Rejection::MisdirectedRequest,
        Rejection::RequestTooLarge,
        Rejection::RequestAborted,
        Rejection::InvalidJsonBody,
        Rejection::InvalidPayload(text()),
        Rejection::UnsupportedMediaType,
        Rejection::RouteRefused { reason: text(), message: text() },
        Rejection::Configuration(text()),
        Rejection::IntegrationFailure(text()),
        Rejection::IntegrationTimeout,
        Rejection::Overloaded,
        Rejection::Panicked,
    ]
}

fn answer(mut exchange: Exchange, rejection: Rejection) -> (u16, http::HeaderMap, String) {
    read(reject(&mut exchange, rejection))
}

#[test]
fn every_rejection_is_a_whole_answer() {
    let mut reasons = std::collections::BTreeSet::new();
    for rejection in every_rejection() {
        let expected = rejection.answer();
        assert!(reasons.insert(expected.reason), "{rejection:?}");
        assert_eq!(expected.fault == Fault::Client, expected.status < 500, "{rejection:?}");
        let (status, headers, body) = answer(request("GET", "/", &[]), rejection.clone());
        assert_eq!(status, expected.status);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, serde_json::json!({"message": expected.message}), "{rejection:?}");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["x-amzn-requestid"], "01234567-89ab-4def-8123-456789abcdef");
        assert_eq!(headers["x-amz-apigw-id"], "AAAAAAAAAAAAAAA=");
        assert_eq!(headers.get(ERROR_TYPE).map(|value| value.to_str().unwrap()), expected.error_type);
        assert!(!headers.contains_key("x-amzn-trace-id"));
    }
}

#[test]
fn statuses_and_bodies_of_rejections() {
    for (rejection, status, body) in [
        (Rejection::NoSuchStage, 403, r#"{"message":"Forbidden"}"#),
        (Rejection::NoSuchMethod, 403, r#"{"message":"Missing Authentication Token"}"#),
        (Rejection::NoSuchRoute, 404, r#"{"message":"Not Found"}"#),
        (Rejection::InvalidJsonBody, 400, r#"{"message":"Invalid JSON in request body"}"#),
        (Rejection::IntegrationFailure(String::new()), 500, r#"{"message":"Internal server error"}"#),
        (Rejection::IntegrationTimeout, 504, r#"{"message":"Endpoint request timed out"}"#),
        (Rejection::RequestTooLarge, 413, r#"{"message":"Request Too Long"}"#),
        (Rejection::UriTooLong, 414, r#"{"message":"Request-URI Too Long"}"#),
        (Rejection::MisdirectedRequest, 421, r#"{"message":"Misdirected Request"}"#),
    ] {
        let (found, _, text) = answer(request("GET", "/", &[]), rejection);
        assert_eq!((found, text.as_str()), (status, body));
    }
    assert_eq!(default_body(Some(Type::AccessDenied), Some("no")), r#"{"Message":"no"}"#);
    assert_eq!(default_body(Some(Type::AuthorizerFailure), None), r#"{"message":null}"#);
}

#[test]
fn the_record_tells_why() {
    let mut exchange = request("GET", "/", &[]);
    let rejection = Rejection::RouteRefused { reason: "X".to_owned(), message: "its authorizer is gone".to_owned() };
    reject(&mut exchange, rejection);
    assert_eq!(exchange.record.reason, Some("RouteRefused"));
    assert_eq!(exchange.record.error.as_deref(), Some("its authorizer is gone"));
}

fn kit() -> BundleSet {
    let templates = |entries: &[(&str, &str)]| {
        entries.iter().map(|&(media_type, text)| (media_type.to_owned(), text.to_owned())).collect()
    };
    let headers = |entries: &[(&str, Source)]| {
        entries.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect()
    };
    let not_found = Bundle {
        status: Some(404),
        headers: headers(&[
            ("X-Lit", Source::Static("lit".into())),
            ("X-From", Source::Header("X-Mine".into())),
            ("X-Ctx", Source::Context("stage".into())),
            ("X-Q", Source::Query("q".into())),
            ("X-Var", Source::StageVariable("v".into())),
            ("X-Type", Source::Context("error.responseType".into())),
        ]),
        templates: templates(&[
            (
                "application/json",
                r#"{"message": $context.error.messageString, "type": "$context.error.responseType", "plain": "$context.error.message", "path": "$context.path", "none": "$context.nothing", "var": "$stageVariables.v"}"#,
            ),
            ("application/xml", "<e>$context.error.message</e>"),
            ("text/plain", "no $context.httpMethod here"),
        ]),
    };
    let mut bundle = stage("prod", &[mock("GET /fine"), mock("HEAD /fine"), backend("GET /back")]);
    bundle.gateway_responses = BTreeMap::from([
        (Type::MissingAuthenticationToken, not_found),
        (Type::BadRequestParameters, Bundle { status: Some(422), ..Default::default() }),
        (
            Type::UnsupportedMediaType,
            Bundle {
                templates: templates(&[("application/json", "#set($x = 1)#if(true)$context.error.message#end")]),
                ..Default::default()
            },
        ),
        (Type::IntegrationFailure, Bundle::default()),
        (
            Type::Default5xx,
            Bundle {
                status: Some(503),
                headers: headers(&[("X-Class", Source::Static("5xx".into()))]),
                templates: templates(&[("application/json", r#"{"oops": "$context.error.responseType"}"#)]),
            },
        ),
        (
            Type::Default4xx,
            Bundle { headers: headers(&[("X-Class", Source::Static("4xx".into()))]), ..Default::default() },
        ),
    ]);
    set(vec![bundle], vec![default_host("example.com", &["prod"])])
}

#[test]
fn a_customised_response() {
    let core = core(&kit()).0;
    let (status, headers, body) = serve(&core, request("GET", "/prod/zz?q=7", &[("X-Mine", "me")]));
    assert_eq!(status, 404);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let message = "Missing Authentication Token";
    assert_eq!(
        body,
        serde_json::json!({"message": message, "type": "MISSING_AUTHENTICATION_TOKEN", "plain": message, "path": "/prod/zz", "none": "", "var": "one"})
    );
    for (name, value) in [
        ("x-lit", "lit"),
        ("x-from", "me"),
        ("x-ctx", "prod"),
        ("x-q", "7"),
        ("x-var", "one"),
        ("x-type", "MISSING_AUTHENTICATION_TOKEN"),
        ("x-amzn-errortype", "MissingAuthenticationTokenException"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(!headers.contains_key("x-class"), "an entry of its own ignores the class's");
}

#[test]
fn absent_sources_and_injected_lines_leave_their_header_out() {
    let core = core(&kit()).0;
    let (_, headers, _) = serve(&core, request("GET", "/prod/zz?q=a%0d%0aX-Evil:1", &[]));
    assert!(!headers.contains_key("x-from") && !headers.contains_key("x-q"));
    assert_eq!(headers["x-lit"], "lit");
}

#[test]
fn the_body_by_accept() {
    let core = core(&kit()).0;
    for (accept, content_type, body) in [
        ("application/xml", "application/xml", "<e>Missing Authentication Token</e>"),
        ("text/html, text/plain;q=0.5", "text/plain", "no GET here"),
    ] {
        let (_, headers, text) = serve(&core, request("GET", "/prod/zz", &[("accept", accept)]));
        assert_eq!((headers["content-type"].to_str().unwrap(), text.as_str()), (content_type, body));
    }
    let (_, headers, _) = serve(&core, request("GET", "/prod/zz", &[("accept", "image/png")]));
    assert_eq!(headers["content-type"], "application/json");
}

#[test]
fn parts_that_are_not_customised_stay() {
    let core = core(&kit()).0;
    let routed = || {
        let mut exchange = request("GET", "/prod/fine", &[]);
        crate::dispatch::dispatch(&core, &mut exchange).unwrap();
        exchange
    };
    let check = |rejection, status, body: &str, class: Option<&str>| {
        let (found, headers, text) = answer(routed(), rejection);
        assert_eq!((found, text.as_str()), (status, body));
        assert_eq!(headers.get("x-class").map(|value| value.to_str().unwrap()), class);
    };
    check(Rejection::UnsupportedMediaType, 415, "#set($x = 1)#if(true)Unsupported Media Type#end", None);
    check(Rejection::IntegrationTimeout, 503, r#"{"oops": "INTEGRATION_TIMEOUT"}"#, Some("5xx"));
    let refused = Rejection::Configuration("why".to_owned());
    check(refused, 503, r#"{"oops": "API_CONFIGURATION_ERROR"}"#, Some("5xx"));
    check(Rejection::InvalidJsonBody, 400, r#"{"message":"Invalid JSON in request body"}"#, Some("4xx"));
    // Customised, and be it with nothing, its status is the table's.
    check(Rejection::IntegrationFailure("why".to_owned()), 504, r#"{"message":"Internal server error"}"#, None);
    // Not customisable at all.
    check(Rejection::RequestTooLarge, 413, r#"{"message":"Request Too Long"}"#, None);
    check(Rejection::Panicked, 500, r#"{"message":"Internal server error"}"#, None);
}

#[test]
fn http_apis_spell_their_500_otherwise() {
    let mut bundle = stage("prod", &[mock("GET /fine")]);
    bundle.api.kind = ApiKind::Http;
    let core = core(&set(vec![bundle], vec![default_host("example.com", &["prod"])])).0;
    let id = ("x-amzn-requestid", "01234567-89ab-4def-8123-456789abcdef");
    let (status, headers, body) = serve(&core, request("GET", "/prod/none", &[id]));
    assert_eq!((status, body.as_str()), (404, r#"{"message":"Not Found"}"#));
    // And name requests and errors otherwise.
    assert!(headers.contains_key("apigw-requestid"), "{headers:?}");
    for of_rest_apis in ["x-amzn-requestid", "x-amz-apigw-id", "x-amzn-errortype"] {
        assert!(!headers.contains_key(of_rest_apis), "{headers:?}");
    }
    let mut exchange = request("GET", "/prod/fine", &[]);
    crate::dispatch::dispatch(&core, &mut exchange).unwrap();
    let (_, _, body) = answer(exchange, Rejection::Configuration(String::new()));
    assert_eq!(body, r#"{"message":"Internal Server Error"}"#);
}

#[test]
fn head_has_no_body_and_the_length_it_would_have() {
    let core = core(&kit()).0;
    let (status, headers, body) = serve(&core, request("HEAD", "/prod/none", &[("accept", "application/xml")]));
    assert_eq!((status, body.as_str()), (404, ""));
    assert_eq!(headers["content-length"], "<e>Missing Authentication Token</e>".len().to_string().as_str());
    let (status, headers, body) = serve(&core, request("HEAD", "/prod/fine", &[]));
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(headers["content-length"], "10");
}

#[test]
fn answers_of_integrations_get_the_standard_headers() {
    let core = core(&kit()).0;
    let finished = |target, status: u16, content_type: Option<&'static str>| {
        let mut exchange = request("GET", target, &[]);
        crate::dispatch::dispatch(&core, &mut exchange).unwrap();
        let mut response = Response::builder().status(status).header("x-amzn-requestid", "theirs");
        if let Some(content_type) = content_type {
            response = response.header(CONTENT_TYPE, content_type);
        }
        let (parts, _) = finish(&exchange, response.body(Body::empty()).unwrap()).into_parts();
        assert_eq!(parts.headers["x-amzn-requestid"], exchange.ids.request);
        assert_eq!(parts.headers["x-amz-apigw-id"], exchange.ids.extended);
        assert!(!parts.headers.contains_key(ERROR_TYPE));
        parts.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(finished("/prod/fine", 200, None).as_deref(), Some("application/json"));
    assert_eq!(finished("/prod/fine", 200, Some("text/html")).as_deref(), Some("text/html"));
    assert_eq!(finished("/prod/fine", 304, None), None);
    assert_eq!(finished("/prod/back", 200, None), None);
}
