//! Answers to pages of other origins, where the gateway answers for them: preflights by itself, and its own headers
//! instead of the backend's on everything else.

use bundle::ApiKind;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;
use crate::exchange::{Exchange, Routed};
use crate::live::Action;
use crate::live::cors::{Allowed, Cors, Words};

/// Headers that the gateway sets in place of the backend's.
const OWN: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// The verb that a preflight asks about.
pub fn preflight_for(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

/// The answer to a preflight. An origin that is not allowed gets one as well: that it has no headers says it.
pub fn preflight(exchange: &Exchange) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let Some(cors) = exchange.routed.as_ref().and_then(|routed| routed.stage.live.cors.as_ref()) else {
        return response;
    };
    if origin(exchange).is_none_or(|origin| cors.allows(origin.as_bytes()).is_none()) {
        return response;
    }
    let asked = |name: &HeaderName| exchange.headers.get(name).cloned();
    let headers = response.headers_mut();
    let lists = [
        (ACCESS_CONTROL_ALLOW_METHODS, &cors.methods, ACCESS_CONTROL_REQUEST_METHOD),
        (ACCESS_CONTROL_ALLOW_HEADERS, &cors.headers, ACCESS_CONTROL_REQUEST_HEADERS),
    ];
    for (name, words, request) in lists {
        let value = match words {
            Some(Words::Some(value)) => Some(value.clone()),
            // With credentials `*` would be taken literally.
            Some(Words::All) if cors.credentials => asked(&request),
            Some(Words::All) => Some(HeaderValue::from_static("*")),
            None => None,
        };
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    if let Some(age) = &cors.max_age {
        headers.insert(ACCESS_CONTROL_MAX_AGE, age.clone());
    }
    response
}

/// The headers of every answer, whoever made it.
pub fn complete(exchange: &Exchange, cors: &Cors, response: &mut Response<Body>) {
    let Some(routed) = &exchange.routed else { return };
    let of_backend = || routed.route().is_some_and(|route| matches!(route.action, Action::Backend(_)));
    if routed.stage.live.kind == ApiKind::Rest && !of_backend() {
        return;
    }
    let headers = response.headers_mut();
    if !routed.preflight {
        for name in &OWN {
            headers.remove(name);
        }
    }
    let Some(origin) = origin(exchange) else { return };
    match cors.allows(origin.as_bytes()) {
        Some(Allowed::All) => drop(headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))),
        Some(Allowed::Named) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        None => return,
    }
    if cors.credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Some(expose) = cors.expose.as_ref().filter(|_| !routed.preflight) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
    }
}

fn origin(exchange: &Exchange) -> Option<&HeaderValue> {
    exchange.headers.get(ORIGIN)
}

/// Whether a request is a preflight that the gateway answers by itself.
pub fn is_preflight(exchange: &Exchange) -> bool {
    exchange.routed.as_ref().is_some_and(|routed: &Routed| routed.preflight)
}
