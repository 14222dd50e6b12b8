//! Lambda's Invoke API: `Invoke` and `InvokeWithResponseStream`, for any function name.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::sync::oneshot;

use super::body;
use super::event_queue::EventQueue;
use super::event_stream;
use super::failure::{Failure, MAX_RESPONSE};
use super::invocation::{Answer, Call, Finished, Invocation, new_request_id, new_trace_id};
use super::pool::{Admission, Lane, Phase, Pool};
use super::refusal::{MAX_EVENT_PAYLOAD, MAX_PAYLOAD, Refusal};
use super::settings::VERSION;

pub(super) struct InvokeApi {
    pub(super) pool: Rc<Pool>,
    pub(super) events: Rc<EventQueue>,
}

pub(super) type Reply = Response<Either<Full<Bytes>, Channel<Bytes>>>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const REMAPPED_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-amzn-remapped-content-type");
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");
const INVOCATION_TYPE: &str = "x-amz-invocation-type";

const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl InvokeApi {
    pub(super) async fn handle(self: Rc<Self>, request: Request<Incoming>) -> Reply {
        if request.method() == Method::GET && request.uri().path() == "/healthz" {
            return match self.pool.phase() {
                Phase::Serving => plain(StatusCode::OK, "ok\n"),
                Phase::Draining | Phase::Stopped => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            };
        }
        let request_id = new_request_id();
        let mut reply = self.invoke(&request_id, request).await.unwrap_or_else(|refusal| refused(&refusal));
        let id = HeaderValue::try_from(request_id).expect("a request id is hexadecimal digits and dashes");
        reply.headers_mut().insert(REQUEST_ID, id);
        reply
    }

    async fn invoke(&self, request_id: &str, request: Request<Incoming>) -> Result<Reply, Refusal> {
        let (parts, body) = request.into_parts();
        let target = Target::of(parts.uri.path(), parts.uri.query());
        let target = target.filter(|_| parts.method == Method::POST).ok_or(Refusal::UnknownOperation)?;
        match (InvocationType::of(&parts.headers)?, target.operation) {
            (InvocationType::DryRun, _) => {
                let mut reply = whole(Bytes::new());
                *reply.status_mut() = StatusCode::NO_CONTENT;
                reply.headers_mut().remove(CONTENT_TYPE);
                Ok(reply)
            }
            (InvocationType::Event, Operation::Invoke) => {
                let payload = body::read(&parts.headers, body, MAX_EVENT_PAYLOAD).await;
                let payload = payload.map_err(|error| Refusal::of_body(&error, true))?;
                let mut invocation = self.invocation(request_id, &target, &parts.headers, payload)?;
                // Lambda passes it on to synchronous calls only.
                invocation.client_context = None;
                if !self.events.push(invocation) {
                    return Err(Refusal::EventQueueFull);
                }
                let mut reply = whole(Bytes::new());
                *reply.status_mut() = StatusCode::ACCEPTED;
                Ok(reply)
            }
            (InvocationType::Event, Operation::Stream) => Err(Refusal::InvalidInvocationType("Event".to_owned())),
            (InvocationType::RequestResponse, operation) => {
                let admission = self.pool.admit().ok_or(Refusal::Throttled)?;
                let payload = body::read(&parts.headers, body, MAX_PAYLOAD).await;
                let payload = payload.map_err(|error| Refusal::of_body(&error, false))?;
                let invocation = Rc::new(self.invocation(request_id, &target, &parts.headers, payload)?);
                let wants_log = parts.headers.get("x-amz-log-type").is_some_and(|value| value == "Tail");
                let (answer, answered) = oneshot::channel();
                self.pool.submit(Call { invocation, wants_log, answer }, Lane::Caller);
                let answer = answered.await.map_err(|_| Refusal::Lost)?;
                match operation {
                    Operation::Invoke => whole_answer(request_id, answer).await,
                    Operation::Stream => stream_answer(request_id.to_owned(), answer, admission),
                }
            }
        }
    }

    fn invocation(
        &self,
        request_id: &str,
        target: &Target,
        headers: &HeaderMap,
        payload: Bytes,
    ) -> Result<Invocation, Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Invocation {
            request_id: request_id.to_owned(),
            payload: checked(payload)?,
            function_arn: self.pool.settings.function.arn(&target.name, target.qualifier.as_deref()),
            trace_id: text(TRACE_ID.as_str()).unwrap_or_else(|| new_trace_id(now.as_secs())),
            client_context: text("x-amz-client-context").map(|context| client_context(&context)).transpose()?,
            cognito_identity: text("x-amz-cognito-identity"),
            tenant_id: text("x-amz-tenant-id"),
        })
    }
}

#[derive(Clone, Copy)]
enum Operation {
    Invoke,
    Stream,
}

struct Target {
    operation: Operation,
    name: String,
    qualifier: Option<String>,
}

impl Target {
    fn of(path: &str, query: Option<&str>) -> Option<Self> {
        let (operation, rest) = if let Some(rest) = path.strip_prefix("/2015-03-31/functions/") {
            (Operation::Invoke, rest.trim_end_matches('/').strip_suffix("/invocations")?)
        } else {
            let rest = path.strip_prefix("/2021-11-15/functions/")?;
            (Operation::Stream, rest.trim_end_matches('/').strip_suffix("/response-streaming-invocations")?)
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        let name = decoded(rest).filter(|name| !name.is_empty() && !name.contains(['/', '\r', '\n', '\0']))?;
        let qualifier = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| {
            decoded(pair.strip_prefix("Qualifier=")?).filter(|value| !value.is_empty() && !value.contains(['\r', '\n']))
        });
        Some(Self { operation, name, qualifier })
    }
}

enum InvocationType {
    RequestResponse,
    Event,
    DryRun,
}

impl InvocationType {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match headers.get(INVOCATION_TYPE).map_or(b"RequestResponse".as_slice(), HeaderValue::as_bytes) {
            b"RequestResponse" => Ok(Self::RequestResponse),
            b"Event" => Ok(Self::Event),
            b"DryRun" => Ok(Self::DryRun),
            other => Err(Refusal::InvalidInvocationType(String::from_utf8_lossy(other).into_owned())),
        }
    }
}

/// A payload is JSON, and no payload is an empty object.
fn checked(payload: Bytes) -> Result<Bytes, Refusal> {
    if payload.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    // Skipping over values does not look into strings, so the encoding is checked first.
    let text = str::from_utf8(&payload).map_err(|error| Refusal::InvalidPayload(error.to_string()))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| Refusal::InvalidPayload(error.to_string()))?;
    Ok(payload)
}

/// Out of base64, and written anew so that it fits into a header.
fn client_context(encoded: &str) -> Result<String, Refusal> {
    let decoded = STANDARD.decode(encoded).map_err(|_| Refusal::InvalidClientContext)?;
    let parsed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&decoded).map_err(|_| Refusal::InvalidClientContext)?;
    serde_json::to_string(&parsed).map_err(|_| Refusal::InvalidClientContext)
}

async fn whole_answer(request_id: &str, answer: Answer) -> Result<Reply, Refusal> {
    let Finished { result, log } = match answer {
        Answer::Whole(finished) => finished,
        Answer::Throttled => return Err(Refusal::Throttled),
        Answer::Stream { mut chunks, finished, .. } => {
            let mut payload = Vec::new();
            let mut too_large = false;
            // Read to its end all the same, so that the handler is not held up.
            while let Some(chunk) = chunks.recv().await {
                too_large |= payload.len() + chunk.len() > MAX_RESPONSE;
                if !too_large {
                    payload.extend_from_slice(&chunk);
                }
            }
            let Finished { result, log } = finished.await.map_err(|_| Refusal::Lost)?;
            let result = match result {
                Ok(_) if too_large => Err(Failure::ResponseTooLarge),
                Ok(_) => Ok(Bytes::from(payload)),
                Err(failure) => Err(failure),
            };
            Finished { result, log }
        }
    };
    let mut reply = match result {
        Ok(payload) => whole(payload),
        Err(failure) => {
            let mut reply = whole(failure.body(request_id));
            reply.headers_mut().insert(FUNCTION_ERROR, HeaderValue::from_static("Unhandled"));
            reply
        }
    };
    if let Some(log) = log {
        let log = HeaderValue::try_from(STANDARD.encode(log)).expect("base64 fits into a header");
        reply.headers_mut().insert(LOG_RESULT, log);
    }
    Ok(reply)
}

/// The status is always 200: how it ended is told in the last message.
fn stream_answer(request_id: String, answer: Answer, admission: Admission) -> Result<Reply, Refusal> {
    let (sender, channel) = Channel::new(1);
    let mut reply = Response::new(Either::Right(channel));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(event_stream::CONTENT_TYPE));
    headers.insert(EXECUTED_VERSION, HeaderValue::from_static(VERSION));
    match &answer {
        Answer::Throttled => return Err(Refusal::Throttled),
        Answer::Stream { content_type: Some(content_type), .. } => {
            if let Ok(content_type) = HeaderValue::try_from(content_type) {
                headers.insert(REMAPPED_CONTENT_TYPE, content_type);
            }
        }
        Answer::Stream { content_type: None, .. } | Answer::Whole(_) => {}
    }
    tokio::task::spawn_local(async move {
        if send_stream(sender, &request_id, answer).await.is_err() {
            tracing::debug!(request_id, "the caller left before the answer's end");
        }
        drop(admission);
    });
    Ok(reply)
}

async fn send_stream(
    mut sender: Sender<Bytes>,
    request_id: &str,
    answer: Answer,
) -> Result<(), http_body_util::channel::SendError> {
    let Finished { result, log } = match answer {
        Answer::Whole(finished) => finished,
        Answer::Stream { mut chunks, finished, .. } => {
            while let Some(chunk) = chunks.recv().await {
                sender.send_data(event_stream::payload_chunks(chunk)).await?;
            }
            finished.await.unwrap_or(Finished { result: Err(Failure::Truncated), log: None })
        }
        Answer::Throttled => return Ok(()),
    };
    let failure = match result {
        Ok(payload) if payload.is_empty() => None,
        Ok(payload) => {
            sender.send_data(event_stream::payload_chunks(payload)).await?;
            None
        }
        Err(failure) => Some(failure),
    };
    let log = log.map(|log| STANDARD.encode(log));
    sender.send_data(event_stream::invoke_complete(failure.as_ref(), request_id, log.as_deref())).await
}

fn whole(payload: Bytes) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(payload)));
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply.headers_mut().insert(EXECUTED_VERSION, HeaderValue::from_static(VERSION));
    reply
}

fn refused(refusal: &Refusal) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from(refusal.body()))));
    *reply.status_mut() = refusal.status();
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(refusal.error_type()));
    reply
}

fn plain(status: StatusCode, body: &'static str) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from_static(body.as_bytes()))));
    *reply.status_mut() = status;
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_every_form() {
        let cases = [
            ("/2015-03-31/functions/get-order/invocations", None, Some(("get-order", None))),
            ("/2015-03-31/functions/get-order/invocations/", None, Some(("get-order", None))),
            ("/2015-03-31/functions/get-order:live/invocations", None, Some(("get-order:live", None))),
            ("/2015-03-31/functions/f/invocations", Some("Qualifier=%24LATEST"), Some(("f", Some("$LATEST")))),
            (
                "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af/invocations",
                None,
                Some(("arn:aws:lambda:us-east-1:1:function:f", None)),
            ),
            ("/2021-11-15/functions/f/response-streaming-invocations", None, Some(("f", None))),
            ("/2015-03-31/functions//invocations", None, None),
            ("/2015-03-31/functions/a/b/invocations", None, None),
            ("/2015-03-31/functions/a%0d%0ab/invocations", None, None),
            ("/2015-03-31/functions/f", None, None),
            ("/2021-11-15/functions/f/invocations", None, None),
        ];
        for (path, query, expected) in cases {
            let target = Target::of(path, query);
            let found = target.as_ref().map(|target| (target.name.as_str(), target.qualifier.as_deref()));
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn a_payload_is_json() {
        let good: [&[u8]; 5] = [b"{}", b" [1, 2] ", b"\"text\"", b"null", b"1e3"];
        for payload in good {
            assert_eq!(checked(Bytes::from_static(payload)).unwrap(), payload);
        }
        assert_eq!(checked(Bytes::new()).unwrap(), "{}");
        let bad: [&[u8]; 5] = [b"{", b"not json", b"{} {}", b"\"\xff\"", b"{\"a\":}"];
        for payload in bad {
            assert!(matches!(checked(Bytes::from_static(payload)), Err(Refusal::InvalidPayload(_))), "{payload:?}");
        }
        // Depth costs no stack.
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(checked(Bytes::from(deep)).is_ok());
    }

    #[test]
    fn a_client_context_is_an_object_in_base64() {
        let context = client_context(&STANDARD.encode("{\n \"custom\": {\"a\": \"é\\n\"}\n}")).unwrap();
        assert_eq!(context, r#"{"custom":{"a":"é\n"}}"#);
        assert!(client_context("!").is_err());
        assert!(client_context(&STANDARD.encode("[]")).is_err());
    }
}
