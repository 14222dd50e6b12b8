//! The route of a path and verb, within the stage that was found.

use bundle::ApiKind;
use http::{HeaderName, Method};

use crate::exchange::Exchange;
use crate::live::{Action, Stage};
use crate::rejection::Rejection;
use crate::reply::cors::preflight_for;

const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// Sets the route and its parameters, and the verb if the request overrides it.
///
/// # Errors
/// When the stage has no such method.
pub(super) fn route(exchange: &mut Exchange) -> Result<(), Rejection> {
    let wanted = if exchange.steering.method_override { overriding_method(exchange) } else { None };
    let Some(routed) = &mut exchange.routed else { return Err(Rejection::NoSuchStage) };
    let stage = &routed.stage.live;
    let resource = match exchange.path.as_str().get(routed.resource_start..) {
        Some("") | None => "/",
        Some(resource) => resource,
    };
    // A preflight is about the route of the verb that it names.
    let asked = stage.cors.as_ref().and_then(|_| preflight_for(&exchange.method, &exchange.headers));
    let mut find = |method: &Method| stage.router.find(method, resource, routed.resource_start, &mut routed.parameters);
    // The override is Amazon's, so it leads to Amazon's integrations only: a `backend` gets the verb as it was sent,
    // and may well know the header itself.
    if let Some(method) = asked {
        let index = find(&method);
        if stage.kind == ApiKind::Http || index.is_some_and(|index| is_backend(stage, index)) {
            routed.route = index;
            routed.preflight = true;
            return Ok(());
        }
    }
    if let Some(method) = wanted.filter(|_| stage.kind == ApiKind::Rest) {
        let index = find(&method).filter(|&index| !is_backend(stage, index));
        routed.route = index.or_else(|| find(&exchange.method).filter(|&index| is_backend(stage, index)));
        if index.is_some() {
            exchange.method = method;
        }
    } else {
        routed.route = find(&exchange.method);
    }
    match (routed.route, stage.kind) {
        (Some(index), ApiKind::Rest) if has_bar(exchange.uri.query()) && !is_backend(stage, index) => {
            Err(Rejection::BadQuery)
        }
        (Some(_), _) => Ok(()),
        (None, ApiKind::Rest) => Err(Rejection::NoSuchMethod),
        (None, ApiKind::Http) => Err(Rejection::NoSuchRoute),
    }
}

/// The verb that the request asks to be taken for. Neither from nor to `HEAD` and `CONNECT`, which change how the
/// answer is framed.
fn overriding_method(exchange: &Exchange) -> Option<Method> {
    let method = Method::from_bytes(exchange.headers.get(METHOD_OVERRIDE)?.as_bytes()).ok()?;
    let framed = |method: &Method| *method == Method::HEAD || *method == Method::CONNECT;
    (!framed(&method) && !framed(&exchange.method)).then_some(method)
}

/// Amazon's REST APIs want it escaped.
fn has_bar(query: Option<&str>) -> bool {
    query.is_some_and(|query| memchr::memchr(b'|', query.as_bytes()).is_some())
}

fn is_backend(stage: &Stage, route: usize) -> bool {
    stage.routes.get(route).is_some_and(|route| matches!(route.action, Action::Backend(_)))
}
