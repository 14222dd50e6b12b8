//! Lambda's Runtime API, version 2018-06-01, as one process sees it: it asks for its next call and hands in what
//! came of it. Here requests become `Report`s; what they mean at this moment is for `environment` to say.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::body::{self, BodyError};
use super::failure::{Failure, MAX_RESPONSE, MAX_STREAMED_RESPONSE};
use super::invocation::Invocation;

const PREFIX: &str = "/2018-06-01";

/// Amazon's clients send a stack trace of up to 1 MB in a header.
const MAX_BUFFER: usize = 2 * 1024 * 1024;

const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");
const RESPONSE_MODE: HeaderName = HeaderName::from_static("lambda-runtime-function-response-mode");

/// What the process says.
pub(super) enum Report {
    Next(oneshot::Sender<Delivery>),
    Finished { request_id: String, result: Result<Bytes, Failure>, taken: Taken<()> },
    StreamBegins { request_id: String, content_type: Option<String>, taken: Taken<mpsc::Sender<Bytes>> },
    StreamEnds { request_id: String, failure: Option<Failure> },
    InitFailed { failure: Failure, taken: Taken<()> },
}

/// How the process hears whether its report was expected; dropped if it was not.
pub(super) type Taken<T> = oneshot::Sender<T>;

pub(super) struct Delivery {
    pub(super) invocation: Rc<Invocation>,
    pub(super) deadline_epoch_ms: u128,
}

type Reports = Rc<mpsc::Sender<Report>>;
type Reply = Response<Full<Bytes>>;

/// Serves until it is aborted, or until nobody listens to the reports.
pub(super) async fn serve(listener: TcpListener, reports: Reports) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a process's connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            () = reports.closed() => return,
        };
        let reports = Rc::clone(&reports);
        connections.spawn_local(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(handle(&reports, request).await) });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_BUFFER);
            if let Err(error) = http.serve_connection(TokioIo::new(socket), service).await {
                tracing::debug!(%error, "a process's connection broke");
            }
        });
    }
}

async fn handle(reports: &Reports, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    match (&parts.method, path.strip_prefix("/runtime/").unwrap_or(path)) {
        (&Method::GET, "invocation/next") => next(reports).await,
        (&Method::GET, "/ping") => text("pong"),
        (&Method::POST, "init/error") => init_failed(reports, &parts.headers, body).await,
        (&Method::POST, step) => match step.strip_prefix("invocation/").and_then(|rest| rest.split_once('/')) {
            Some((id, "response")) => response(reports, id.to_owned(), &parts.headers, body).await,
            Some((id, "error")) => failed(reports, id.to_owned(), &parts.headers, body).await,
            Some(_) | None => not_found(),
        },
        _ => not_found(),
    }
}

async fn next(reports: &Reports) -> Reply {
    let (sender, delivery) = oneshot::channel();
    if reports.send(Report::Next(sender)).await.is_err() {
        return gone();
    }
    match delivery.await {
        Ok(delivery) => deliver(&delivery),
        Err(_) => not_now(),
    }
}

fn deliver(Delivery { invocation, deadline_epoch_ms }: &Delivery) -> Reply {
    let Invocation { request_id, payload, function_arn, trace_id, client_context, cognito_identity, tenant_id } =
        &**invocation;
    let mut reply = Response::new(Full::new(payload.clone()));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    let deadline = deadline_epoch_ms.to_string();
    let named = [
        ("lambda-runtime-aws-request-id", Some(request_id)),
        ("lambda-runtime-deadline-ms", Some(&deadline)),
        ("lambda-runtime-invoked-function-arn", Some(function_arn)),
        ("lambda-runtime-trace-id", Some(trace_id)),
        ("lambda-runtime-client-context", client_context.as_ref()),
        ("lambda-runtime-cognito-identity", cognito_identity.as_ref()),
        ("lambda-runtime-aws-tenant-id", tenant_id.as_ref()),
    ];
    for (name, value) in named {
        // They came out of headers or out of JSON that was written anew, so they fit into one.
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    reply
}

async fn response(reports: &Reports, request_id: String, headers: &HeaderMap, body: Incoming) -> Reply {
    match headers.get(RESPONSE_MODE).map(HeaderValue::as_bytes) {
        None => buffered(reports, request_id, headers, body).await,
        Some(mode) if mode.eq_ignore_ascii_case(b"streaming") => streamed(reports, request_id, headers, body).await,
        Some(_) => {
            let failure =
                Failure::Reported { error_type: "Runtime.InvalidResponseModeHeader".into(), body: Bytes::new() };
            report(reports, |taken| Report::Finished { request_id, result: Err(failure), taken }).await;
            problem(StatusCode::BAD_REQUEST, "InvalidFunctionResponseMode", "Invalid function response mode")
        }
    }
}

async fn buffered(reports: &Reports, request_id: String, headers: &HeaderMap, body: Incoming) -> Reply {
    let (result, reply) = match body::read(headers, body, MAX_RESPONSE).await {
        Ok(payload) => (Ok(payload), accepted()),
        Err(BodyError::TooLarge { limit, .. }) => (
            Err(Failure::ResponseTooLarge),
            problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                &format!("Exceeded maximum allowed payload size ({limit} bytes)."),
            ),
        ),
        Err(BodyError::Broken(_)) => (Err(Failure::Truncated), truncated()),
    };
    match report(reports, |taken| Report::Finished { request_id, result, taken }).await {
        Some(()) => reply,
        None => invalid_request_id(),
    }
}

/// Passes the body on while it comes. A caller who reads slowly makes the handler wait; one who left makes it no
/// trouble: what is left is read and dropped.
async fn streamed(reports: &Reports, request_id: String, headers: &HeaderMap, mut body: Incoming) -> Reply {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| Some(value.to_str().ok()?.to_owned()));
    let id = request_id.clone();
    let begun = report(reports, |taken| Report::StreamBegins { request_id, content_type, taken }).await;
    let Some(chunks) = begun else { return invalid_request_id() };
    let mut left = MAX_STREAMED_RESPONSE;
    let mut failure = None;
    let mut reply = accepted();
    loop {
        match body.frame().await {
            None => break,
            Some(Err(_)) => {
                failure = Some(Failure::Truncated);
                reply = truncated();
                break;
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => match left.checked_sub(data.len() as u64) {
                    Some(rest) => {
                        left = rest;
                        chunks.send(data).await.unwrap_or_default();
                    }
                    None => {
                        failure = Some(Failure::ResponseTooLarge);
                        reply = problem(
                            StatusCode::PAYLOAD_TOO_LARGE,
                            "RequestEntityTooLarge",
                            &format!("Exceeded maximum allowed payload size ({MAX_STREAMED_RESPONSE} bytes)."),
                        );
                        break;
                    }
                },
                Err(frame) => failure = frame.into_trailers().ok().and_then(|trailers| in_trailers(&trailers)),
            },
        }
    }
    drop(chunks);
    if reports.send(Report::StreamEnds { request_id: id, failure }).await.is_err() {
        return gone();
    }
    reply
}

/// An error that the handler met after it had begun to answer.
fn in_trailers(trailers: &HeaderMap) -> Option<Failure> {
    let error_type = trailers.get(ERROR_TYPE)?.to_str().ok()?.to_owned();
    let body = trailers.get(ERROR_BODY).map_or(b"".as_slice(), HeaderValue::as_bytes);
    // It is base64 by the book; what is not is passed on as it is.
    let body = STANDARD.decode(body).unwrap_or_else(|_| body.to_vec()).into();
    Some(Failure::Reported { error_type, body })
}

async fn failed(reports: &Reports, request_id: String, headers: &HeaderMap, body: Incoming) -> Reply {
    let failure = match reported(headers, body).await {
        Ok(failure) => failure,
        Err(reply) => return *reply,
    };
    match report(reports, |taken| Report::Finished { request_id, result: Err(failure), taken }).await {
        Some(()) => accepted(),
        None => invalid_request_id(),
    }
}

async fn init_failed(reports: &Reports, headers: &HeaderMap, body: Incoming) -> Reply {
    let failure = match reported(headers, body).await {
        Ok(failure) => failure,
        Err(reply) => return *reply,
    };
    match report(reports, |taken| Report::InitFailed { failure, taken }).await {
        Some(()) => accepted(),
        None => not_now(),
    }
}

/// The error as the runtime words it. Its type is in the header, or else in the body.
async fn reported(headers: &HeaderMap, body: Incoming) -> Result<Failure, Box<Reply>> {
    let body = match body::read(headers, body, MAX_RESPONSE).await {
        Ok(body) => body,
        Err(BodyError::TooLarge { .. }) => Bytes::new(),
        Err(BodyError::Broken(_)) => return Err(Box::new(truncated())),
    };
    let error_type = headers
        .get(ERROR_TYPE)
        .and_then(|value| Some(value.to_str().ok()?.to_owned()))
        .or_else(|| Some(serde_json::from_slice::<Value>(&body).ok()?.get("errorType")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "Runtime.Unknown".to_owned());
    Ok(Failure::Reported { error_type, body })
}

/// `None` if the report was not expected.
async fn report<T>(reports: &Reports, make: impl FnOnce(Taken<T>) -> Report) -> Option<T> {
    let (taken, answer) = oneshot::channel();
    reports.send(make(taken)).await.ok()?;
    answer.await.ok()
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn accepted() -> Reply {
    json_reply(StatusCode::ACCEPTED, &json!({"status": "OK"}))
}

fn invalid_request_id() -> Reply {
    problem(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
}

fn truncated() -> Reply {
    problem(StatusCode::BAD_REQUEST, "TruncatedHTTPRequest", "HTTP request detected as truncated")
}

fn not_now() -> Reply {
    problem(StatusCode::FORBIDDEN, "InvalidStateTransition", "State transition is not allowed")
}

fn gone() -> Reply {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "Internal Server Error")
}

fn not_found() -> Reply {
    problem(StatusCode::NOT_FOUND, "NotFound", "There is no such operation in this Runtime API")
}

fn problem(status: StatusCode, error_type: &str, message: &str) -> Reply {
    json_reply(status, &json!({"errorMessage": message, "errorType": error_type}))
}

fn json_reply(status: StatusCode, body: &Value) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body.to_string())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}

fn text(body: &'static str) -> Reply {
    Response::new(Full::new(Bytes::from_static(body.as_bytes())))
}
