//! Compressed payloads, both ways, of an API with a `minimumCompressionSize`.
//!
//! Source: developer guide, "Payload compression for REST APIs". Answers stream through the compressor; one whose
//! length nobody knows counts as large enough, where Amazon would hold it back to count it.

mod decode;
mod encode;

use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;
use crate::exchange::Exchange;

pub use decode::decode;
pub use encode::Encoder;

/// A content coding of Amazon's, but for `identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    /// The zlib format (RFC 1950), as RFC 9110 has it.
    Deflate,
}

impl Coding {
    fn parse(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            Some(Self::Gzip)
        } else if name.eq_ignore_ascii_case("deflate") {
            Some(Self::Deflate)
        } else {
            None
        }
    }

    fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }
}

/// Compresses an answer if its client wants that and it is at least so large.
pub fn compress(exchange: &Exchange, minimum: u64, response: &mut Response<Body>) {
    let length = response.body().length();
    if exchange.method == Method::HEAD
        || length.is_some_and(|length| length < minimum || length == 0)
        || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT)
        || response.status().is_informational()
        || !may_change(response.headers())
    {
        return;
    }
    let coding = wanted(&exchange.headers);
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    let Some(coding) = coding else { return };
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_ENCODING, coding.value());
    let body = std::mem::take(response.body_mut());
    *response.body_mut() = body.encoded(coding);
}

/// What is compressed already, part of something, or meant to stay as it is, does.
fn may_change(headers: &HeaderMap) -> bool {
    let kept = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .any(|value| value.as_bytes().windows(12).any(|word| word.eq_ignore_ascii_case(b"no-transform")));
    let grpc = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    !kept && !grpc && !headers.contains_key(CONTENT_ENCODING) && !headers.contains_key(CONTENT_RANGE)
}

/// The coding for an `Accept-Encoding`: among those the client likes most, the first that is known. If it likes an
/// unknown one better, or `identity`, nothing is compressed; neither for `*`.
fn wanted(headers: &HeaderMap) -> Option<Coding> {
    let mut best = (0, None);
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|value| value.split(',')) {
        let mut parts = item.split(';');
        let coding = Coding::parse(parts.next().unwrap_or_default().trim());
        let quality = parts
            .find_map(|part| part.trim().strip_prefix("q=").or_else(|| part.trim().strip_prefix("Q=")))
            .map_or(1.0, |quality| quality.trim().parse::<f32>().unwrap_or(0.0));
        // Thousandths, as RFC 9110 has them.
        let quality = (quality.clamp(0.0, 1.0) * 1000.0) as u16;
        if quality > best.0 || (quality == best.0 && quality > 0 && best.1.is_none()) {
            best = (quality, coding);
        }
    }
    best.1
}

#[cfg(test)]
mod tests;
