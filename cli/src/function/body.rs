//! Reading request bodies, never past a limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// How much of a body that is refused is still read, so that the sender gets to see the answer.
const MAX_DISCARDED: u64 = 32 * 1024 * 1024;
const MAX_DISCARDING: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is over the limit of {limit} bytes")]
    TooLarge {
        limit: usize,
        /// As far as is known.
        size: u64,
    },
    #[error("the body broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// The whole body, if it is at most `limit` bytes.
pub(super) async fn read(headers: &http::HeaderMap, mut body: Incoming, limit: usize) -> Result<Bytes, BodyError> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(size) = declared.filter(|size| *size > limit as u64) {
        discard(body).await;
        return Err(BodyError::TooLarge { limit, size });
    }
    let mut whole = BytesMut::with_capacity(usize::try_from(declared.unwrap_or(0)).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > limit {
            let size = (whole.len() + data.len()) as u64;
            discard(body).await;
            return Err(BodyError::TooLarge { limit, size });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

async fn discard(mut body: Incoming) {
    let mut left = MAX_DISCARDED;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
            if left == 0 || body.is_end_stream() {
                break;
            }
        }
    };
    // Whoever is still sending after that gets a closed connection instead of an answer.
    tokio::time::timeout(MAX_DISCARDING, read).await.unwrap_or_default();
}
