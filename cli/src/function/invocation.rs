//! One call of the function, on its way in and on its way back.

use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;

/// What the handler is given.
pub(super) struct Invocation {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
    pub(super) function_arn: String,
    pub(super) trace_id: String,
    /// JSON, no longer in base64.
    pub(super) client_context: Option<String>,
    pub(super) cognito_identity: Option<String>,
    pub(super) tenant_id: Option<String>,
}

/// An invocation and who waits for its answer.
pub(super) struct Call {
    pub(super) invocation: Rc<Invocation>,
    /// Whether the caller wants the end of the log, which costs a moment.
    pub(super) wants_log: bool,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) enum Answer {
    Whole(Finished),
    /// The handler streams: its chunks, then how it ended.
    Stream {
        content_type: Option<String>,
        chunks: mpsc::Receiver<Bytes>,
        finished: oneshot::Receiver<Finished>,
    },
    /// No process came free in time.
    Throttled,
}

pub(super) struct Finished {
    /// A stream's payload is in its chunks; here it is empty.
    pub(super) result: Result<Bytes, Failure>,
    /// The last 4 KB of the log, when it was asked for.
    pub(super) log: Option<Vec<u8>>,
}

impl Call {
    pub(super) fn fail(self, failure: Failure) {
        self.finish(Finished { result: Err(failure), log: None });
    }

    /// The caller may be gone; then there is nobody to tell.
    pub(super) fn finish(self, finished: Finished) {
        drop(self.answer.send(Answer::Whole(finished)));
    }
}

/// A random (version 4) UUID, as request ids are.
pub(super) fn new_request_id() -> String {
    let random = fastrand::u128(..);
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A trace header for a caller that sent none; nobody samples it.
pub(super) fn new_trace_id(epoch_seconds: u64) -> String {
    let root = fastrand::u128(..) >> 32;
    let parent = fastrand::u64(..);
    format!("Root=1-{epoch_seconds:08x}-{root:024x};Parent={parent:016x};Sampled=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_version_4_uuids() {
        for _ in 0..100 {
            let id = new_request_id();
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(id.as_bytes()[14], b'4', "{id}");
            assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        }
    }

    #[test]
    fn trace_headers_have_amazons_shape() {
        let header = new_trace_id(0x5bef_4de7);
        assert!(header.starts_with("Root=1-5bef4de7-"), "{header}");
        assert_eq!(header.len(), "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1".len());
    }
}
