//! Every way a function fails, as the caller is told. Texts and types are those that Lambda sends.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

/// The largest buffered answer, in bytes: 6 MB and a little, as Lambda has it.
pub(super) const MAX_RESPONSE: usize = 6 * 1024 * 1024 + 100;

/// The largest streamed answer, in bytes.
pub(super) const MAX_STREAMED_RESPONSE: u64 = 200 * 1024 * 1024;

#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The handler said so itself; the body is its own.
    Reported {
        error_type: String,
        body: Bytes,
    },
    /// The process ended in the middle of the call, or before it asked for one.
    Exited(ExitStatus),
    /// The call, or the start of its process, took too long.
    TimedOut(Duration),
    /// There is no such program, or it may not be run.
    CannotStart(String),
    ResponseTooLarge,
    /// A streamed answer broke off.
    Truncated,
    /// This program was told to stop and the grace is over.
    Stopped,
}

impl Failure {
    pub(super) fn error_type(&self) -> &str {
        match self {
            Self::Reported { error_type, .. } => error_type,
            Self::Exited(_) | Self::Stopped => "Runtime.ExitError",
            Self::TimedOut(_) => "Sandbox.Timedout",
            Self::CannotStart(_) => "Runtime.InvalidEntrypoint",
            Self::ResponseTooLarge => "Function.ResponseSizeTooLarge",
            Self::Truncated => "Runtime.TruncatedResponse",
        }
    }

    pub(super) fn body(&self, request_id: &str) -> Bytes {
        let message = match self {
            Self::Reported { body, .. } if !body.is_empty() => return body.clone(),
            Self::ResponseTooLarge => {
                format!("Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE} bytes).")
            }
            Self::Reported { .. } | Self::Exited(_) | Self::TimedOut(_) | Self::CannotStart(_) => {
                format!("RequestId: {request_id} Error: {}", self.reason())
            }
            Self::Truncated | Self::Stopped => format!("RequestId: {request_id} Error: {}", self.reason()),
        };
        json!({"errorType": self.error_type(), "errorMessage": message}).to_string().into()
    }

    /// One line for our log, and the end of the message.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Reported { error_type, body } => {
                let said = serde_json::from_slice::<serde_json::Value>(body).ok();
                let said = said.as_ref().and_then(|value| value.get("errorMessage")?.as_str());
                said.map_or_else(|| error_type.clone(), |message| format!("{error_type}: {message}"))
            }
            Self::Exited(status) if status.success() => "Runtime exited without providing a reason".to_owned(),
            Self::Exited(status) => format!("Runtime exited with error: {}", ending(*status)),
            Self::TimedOut(limit) => format!("Task timed out after {:.2} seconds", limit.as_secs_f64()),
            Self::CannotStart(reason) => reason.clone(),
            Self::ResponseTooLarge => "the answer is over 6 MB".to_owned(),
            Self::Truncated => "Response truncated".to_owned(),
            Self::Stopped => "Runtime exited with error: signal: terminated".to_owned(),
        }
    }
}

/// How a process ended, in the words of Go's standard library, which Lambda is written in.
fn ending(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("exit status {}", status.code().unwrap_or_default());
    };
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal: signal {other}"),
    };
    let core = if status.core_dumped() { " (core dumped)" } else { "" };
    format!("signal: {name}{core}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(failure: &Failure) -> String {
        String::from_utf8(failure.body("id-1").to_vec()).unwrap()
    }

    #[test]
    fn lambdas_words() {
        let exited = Failure::Exited(ExitStatus::from_raw(1 << 8));
        assert_eq!(
            body(&exited),
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: id-1 Error: Runtime exited with error: exit status 1"}"#
        );
        assert!(body(&Failure::Exited(ExitStatus::from_raw(9))).contains("Runtime exited with error: signal: killed"));
        assert!(body(&Failure::Exited(ExitStatus::from_raw(0))).contains("Runtime exited without providing a reason"));
        assert_eq!(
            body(&Failure::TimedOut(Duration::from_secs(3))),
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: id-1 Error: Task timed out after 3.00 seconds"}"#
        );
        assert_eq!(
            body(&Failure::ResponseTooLarge),
            r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}"#
        );
    }

    #[test]
    fn what_the_handler_says_is_passed_on_untouched() {
        let said = Bytes::from_static(br#"{"errorMessage": "no", "errorType": "ValueError", "stackTrace": []}"#);
        let failure = Failure::Reported { error_type: "ValueError".into(), body: said.clone() };
        assert_eq!(failure.body("id-1"), said);
        assert_eq!(failure.reason(), "ValueError: no");
        let silent = Failure::Reported { error_type: "Runtime.Unknown".into(), body: Bytes::new() };
        assert!(body(&silent).contains("Runtime.Unknown"));
    }
}
