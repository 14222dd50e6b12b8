//! A request's body, unpacked before anything reads it.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};

use super::Coding;
use crate::body::Body;
use crate::exchange::Exchange;
use crate::integrate::mapping::parameters::{MAX_BODY, collect};
use crate::rejection::Rejection;

/// Bytes unpacked at a time: others on this core get their turn in between.
const PIECE: usize = 256 << 10;

/// Unpacks the body of a request that has a `Content-Encoding`. Afterwards nothing tells that it was packed.
///
/// # Errors
/// 415 for a coding that is not known, and for a body that is not coded so. 413 beyond the limit of payloads, packed
/// or unpacked.
pub async fn decode(exchange: &mut Exchange) -> Result<(), Rejection> {
    let mut codings = exchange.headers.get_all(CONTENT_ENCODING).iter();
    let (Some(first), None) = (codings.next(), codings.next()) else {
        let none = !exchange.headers.contains_key(CONTENT_ENCODING);
        return if none { Ok(()) } else { Err(Rejection::UnsupportedMediaType) };
    };
    let name = first.to_str().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case("identity") || name.is_empty() {
        return Ok(());
    }
    let coding = Coding::parse(name).ok_or(Rejection::UnsupportedMediaType)?;
    let packed = collect(exchange).await?;
    let body = unpack(coding, &packed).await?;
    exchange.headers.remove(CONTENT_ENCODING);
    exchange.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    exchange.body = Body::full(body);
    Ok(())
}

async fn unpack(coding: Coding, packed: &[u8]) -> Result<Vec<u8>, Rejection> {
    if packed.is_empty() {
        return Ok(Vec::new());
    }
    match coding {
        Coding::Gzip => read(MultiGzDecoder::new(packed)).await,
        Coding::Deflate if is_zlib(packed) => read(ZlibDecoder::new(packed)).await,
        // Half of the world's clients leave the frame out.
        Coding::Deflate => read(DeflateDecoder::new(packed)).await,
    }
}

/// Begins as RFC 1950 wants.
fn is_zlib(packed: &[u8]) -> bool {
    matches!(packed, [first, second, ..] if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0)
}

async fn read(mut decoder: impl Read) -> Result<Vec<u8>, Rejection> {
    let mut unpacked = Vec::new();
    loop {
        // One more than may be, to see that there is more.
        let left = MAX_BODY + 1 - unpacked.len();
        let piece = left.min(PIECE) as u64;
        let read =
            decoder.by_ref().take(piece).read_to_end(&mut unpacked).map_err(|_| Rejection::UnsupportedMediaType)?;
        if unpacked.len() > MAX_BODY {
            return Err(Rejection::RequestTooLarge);
        }
        if (read as u64) < piece {
            return Ok(unpacked);
        }
        tokio::task::yield_now().await;
    }
}
