//! What the client gets: the one table from `Rejection` to status, error type and body.

pub mod cors;
mod table;
mod value;

use std::rc::Rc;

use bundle::ApiKind;
use bundle::reply::GatewayResponseType;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;
use crate::compression::compress;
use crate::exchange::{Exchange, Routed};
use crate::live::Action;
use crate::live::gateway_response::{GatewayResponse, Value};
use crate::live::template::choose;
use crate::rejection::Rejection;
use value::{ErrorContext, escaped, quoted, value};

pub use table::{Answer, Row, row};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_ID: HeaderName = HeaderName::from_static("x-amz-apigw-id");
const HTTP_API_ID: HeaderName = HeaderName::from_static("apigw-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An integration's answer with the headers every answer has.
pub fn finish(exchange: &Exchange, mut response: Response<Body>) -> Response<Body> {
    // Amazon's gateway gives every answer a type; a `backend`'s is its own affair, and a 304 must not change what a
    // cache has.
    if is_amazon(exchange)
        && response.status() != StatusCode::NOT_MODIFIED
        && !cors::is_preflight(exchange)
        && !response.headers().contains_key(CONTENT_TYPE)
    {
        response.headers_mut().insert(CONTENT_TYPE, JSON);
    }
    complete(exchange, response)
}

/// A rejection's answer.
pub fn reject(exchange: &mut Exchange, rejection: Rejection) -> Response<Body> {
    let answer = rejection.answer();
    exchange.record.reason = Some(answer.reason);
    exchange.record.error = rejection.detail().map(str::to_owned);
    let stage = exchange.routed.as_ref().map(|routed| Rc::clone(&routed.stage));
    let stage = stage.as_ref().map(|stage| &*stage.live);
    let customised = answer.kind.and_then(|kind| {
        let row = row(kind);
        let status = status(row.status);
        let response = stage?.gateway_responses.of(kind, status).filter(|_| row.customisable)?;
        Some((kind, status, response))
    });
    let response = match customised {
        Some((kind, status, response)) => customise(exchange, &answer, &rejection, kind, status, response),
        None => {
            let http_api = stage.is_some_and(|stage| stage.kind == ApiKind::Http);
            let (number, message) = match (&rejection, rejection.message().or(answer.message)) {
                (Rejection::IntegrationTimeout, _) if http_api => (503, Some("Service Unavailable")),
                (_, Some(table::INTERNAL_ERROR)) if http_api => (answer.status, Some("Internal Server Error")),
                (_, message) => (answer.status, message),
            };
            let draft = Draft::new(&answer, status(number), default_body(answer.kind, message));
            // An HTTP API's errors have no type.
            Draft { error_type: draft.error_type.filter(|_| !http_api), ..draft }.into_response()
        }
    };
    complete(exchange, response)
}

/// A gateway response with the document's status, headers and body.
fn customise(
    exchange: &Exchange,
    answer: &Answer,
    rejection: &Rejection,
    kind: GatewayResponseType,
    status: StatusCode,
    response: &GatewayResponse,
) -> Response<Body> {
    let message = rejection.message().or(answer.message);
    let error = ErrorContext { message, response_type: kind.name(), validation: rejection.validation() };
    let accept = exchange.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let mut draft = Draft::new(answer, response.status.unwrap_or(status), String::new());
    match choose(&response.templates, accept, |template| &template.media_type) {
        Some(template) => {
            // It quotes names and values, which would end the text of a JSON template.
            let json = template.media_type.ends_with("json");
            let escaped = error.validation.filter(|_| json).map(escaped);
            let error = ErrorContext { validation: escaped.as_deref().or(error.validation), ..error };
            draft.body = template.text.render(|reference| value(exchange, &error, reference));
            draft.content_type = template.content_type.clone();
        }
        None => draft.body = default_body(Some(kind), message),
    }
    let mut customised = draft.into_response();
    for (name, source) in &response.headers {
        let value = match source {
            Value::Ready(value) => Some(value.clone()),
            // What cannot be a header's value is as good as absent.
            Value::From(reference) => value(exchange, &error, reference)
                .and_then(|value| HeaderValue::from_bytes(value.trim().as_bytes()).ok()),
        };
        if let Some(value) = value {
            customised.headers_mut().insert(name, value);
        }
    }
    customised
}

/// A rejection's answer in the making.
struct Draft {
    status: StatusCode,
    content_type: HeaderValue,
    error_type: Option<&'static str>,
    body: String,
}

impl Draft {
    fn new(answer: &Answer, status: StatusCode, body: String) -> Self {
        Self { status, content_type: JSON, error_type: answer.error_type, body }
    }

    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, self.content_type);
        if let Some(error_type) = self.error_type {
            response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(error_type));
        }
        response
    }
}

/// `{"message":…}`; Amazon writes the key of one type with a capital.
fn default_body(kind: Option<GatewayResponseType>, message: Option<&str>) -> String {
    let key = if kind == Some(GatewayResponseType::AccessDenied) { "Message" } else { "message" };
    format!("{{\"{key}\":{}}}", quoted(message))
}

/// The request's names on every answer, and no body for `HEAD`.
fn complete(exchange: &Exchange, mut response: Response<Body>) -> Response<Body> {
    if let Some(stage) = exchange.routed.as_ref().map(|routed| &routed.stage.live) {
        if let Some(minimum) = stage.minimum_compression_size {
            compress(exchange, minimum, &mut response);
        }
        if let Some(cors) = &stage.cors {
            cors::complete(exchange, cors, &mut response);
        }
    }
    if exchange.method == Method::HEAD
        && let Some(length) = response.body().length().filter(|&length| length > 0)
    {
        // A body that a codec reads from a backend is none already; this is one of our own.
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    if kind(exchange) == ApiKind::Http {
        headers.insert(HTTP_API_ID, exchange.ids.extended.clone());
    } else {
        headers.insert(REQUEST_ID, exchange.ids.request.clone());
        headers.insert(EXTENDED_ID, exchange.ids.extended.clone());
    }
    response
}

/// A REST API's rules are those of what leads nowhere, too.
fn kind(exchange: &Exchange) -> ApiKind {
    exchange.routed.as_ref().map_or(ApiKind::Rest, |routed| routed.stage.live.kind)
}

fn is_amazon(exchange: &Exchange) -> bool {
    match exchange.routed.as_ref().and_then(Routed::route).map(|route| &route.action) {
        Some(
            Action::Mock(_)
            | Action::Http(_)
            | Action::HttpProxy(_)
            | Action::AwsService(_)
            | Action::AwsAction(_)
            | Action::LambdaProxy(_)
            | Action::Lambda(_),
        ) => true,
        Some(Action::Backend(_) | Action::Refuse(_)) | None => false,
    }
}

/// Statuses of the table are all valid ones.
fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests;
