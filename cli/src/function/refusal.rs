//! Why a call is not made, in the words of Lambda's Invoke API.

use http::StatusCode;
use serde_json::json;

use super::body::BodyError;

/// The largest payload of a call that waits for its answer, in bytes.
pub(super) const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

/// The largest payload of an asynchronous call, in bytes (256 KB until October 2025).
pub(super) const MAX_EVENT_PAYLOAD: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) enum Refusal {
    PayloadTooLarge,
    EventTooLarge {
        size: u64,
    },
    BodyBroken,
    InvalidPayload(String),
    InvalidClientContext,
    InvalidInvocationType(String),
    /// All processes are busy and as many calls wait as may.
    Throttled,
    /// As many asynchronous calls are under way as may.
    EventQueueFull,
    UnknownOperation,
    /// A call was lost in here, which is our fault.
    Lost,
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::PayloadTooLarge | Self::EventTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyBroken
            | Self::InvalidPayload(_)
            | Self::InvalidClientContext
            | Self::InvalidInvocationType(_) => StatusCode::BAD_REQUEST,
            Self::Throttled | Self::EventQueueFull => StatusCode::TOO_MANY_REQUESTS,
            Self::UnknownOperation => StatusCode::NOT_FOUND,
            Self::Lost => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What goes into `x-amzn-ErrorType`.
    pub(super) fn error_type(&self) -> &'static str {
        match self {
            // The API's model calls it RequestTooLargeException; this is what Lambda sends.
            Self::PayloadTooLarge | Self::EventTooLarge { .. } => "RequestEntityTooLargeException",
            Self::BodyBroken | Self::InvalidPayload(_) | Self::InvalidClientContext => "InvalidRequestContentException",
            Self::InvalidInvocationType(_) => "InvalidParameterValueException",
            Self::Throttled | Self::EventQueueFull => "TooManyRequestsException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::Lost => "ServiceException",
        }
    }

    pub(super) fn body(&self) -> String {
        match self {
            Self::Throttled => json!({
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "Type": "User",
                "message": "Rate Exceeded."
            }),
            Self::EventQueueFull => json!({
                "Reason": "ReservedFunctionInvocationRateLimitExceeded",
                "Type": "User",
                "message": "Rate Exceeded."
            }),
            Self::Lost => json!({"Type": "Service", "Message": self.message()}),
            Self::PayloadTooLarge
            | Self::EventTooLarge { .. }
            | Self::BodyBroken
            | Self::InvalidPayload(_)
            | Self::InvalidClientContext
            | Self::InvalidInvocationType(_)
            | Self::UnknownOperation => json!({"Type": "User", "message": self.message()}),
        }
        .to_string()
    }

    fn message(&self) -> String {
        match self {
            Self::PayloadTooLarge => {
                format!("Request must be smaller than {MAX_PAYLOAD} bytes for the InvokeFunction operation")
            }
            Self::EventTooLarge { size } => format!(
                "{size} byte payload is too large for the Event invocation type (limit {MAX_EVENT_PAYLOAD} bytes)"
            ),
            Self::BodyBroken => "The request body broke off".to_owned(),
            Self::InvalidPayload(reason) => format!("Could not parse request body into json: {reason}"),
            Self::InvalidClientContext => "Client context must be a valid Base64-encoded JSON object.".to_owned(),
            Self::InvalidInvocationType(value) => format!(
                "Value '{value}' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: \
                 [Event, RequestResponse, DryRun]"
            ),
            Self::Throttled | Self::EventQueueFull => "Rate Exceeded.".to_owned(),
            Self::UnknownOperation => "Only the Invoke operations are served here".to_owned(),
            Self::Lost => "Internal error".to_owned(),
        }
    }

    pub(super) fn of_body(error: &BodyError, event: bool) -> Self {
        match error {
            BodyError::TooLarge { size, .. } if event && *size <= MAX_PAYLOAD as u64 => {
                Self::EventTooLarge { size: *size }
            }
            BodyError::TooLarge { .. } => Self::PayloadTooLarge,
            BodyError::Broken(_) => Self::BodyBroken,
        }
    }
}
