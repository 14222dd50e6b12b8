//! The head of an answer: status, headers, and how its body is framed (RFC 9112, 6.3).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::integrate::upstream::http1::Fault;

/// Largest status line with headers.
pub const MAX_HEADER_SECTION: usize = 64 << 10;
/// Most headers.
const MAX_HEADERS: usize = 100;

/// What of a request decides what its answer looks like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// The method was HEAD.
    pub head: bool,
    /// The request wishes to leave HTTP.
    pub upgrade: bool,
}

/// What an answer begins with, but for its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: StatusCode,
    pub framing: Framing,
    /// The connection can take another request after this.
    pub keep_alive: bool,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It has none.
    Empty,
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
    /// It never began: the connection has left HTTP.
    Upgrade,
}

impl Head {
    /// An answer before the answer.
    pub fn is_informational(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Reads one head from the beginning of `bytes` into `headers`, and says how long it is. `None` if it is not all there;
/// `headers` is empty then.
///
/// # Errors
/// When it is malformed, too large, or does not say clearly where its body ends.
pub fn parse(bytes: &Bytes, asked: Asked, headers: &mut HeaderMap) -> Result<Option<(Head, usize)>, Fault> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let length =
        match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, &mut room)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
    if length > MAX_HEADER_SECTION {
        return Err(Fault::HeadTooLarge);
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(httparse::Error::Status)?;
    let newest = parsed.version == Some(1);
    headers.clear();
    headers.reserve(parsed.headers.len());
    let mut connection = Persistence::default();
    let mut content_length = None;
    let mut chunked = false;
    for header in &*parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| httparse::Error::HeaderName)?;
        if name == CONTENT_LENGTH {
            if content_length.is_some() {
                return Err(Fault::ContentLength);
            }
            content_length = Some(number(header.value).ok_or(Fault::ContentLength)?);
        } else if name == TRANSFER_ENCODING {
            if chunked || !newest || !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::TransferEncoding);
            }
            chunked = true;
        } else if name == CONNECTION {
            connection.read(header.value);
        }
        let value =
            HeaderValue::from_maybe_shared(bytes.slice_ref(header.value)).map_err(|_| httparse::Error::HeaderValue)?;
        headers.append(name, value);
    }
    if chunked && content_length.is_some() {
        return Err(Fault::TransferEncoding);
    }
    let framing = match (status.as_u16(), content_length) {
        (101, _) if asked.upgrade => Framing::Upgrade,
        (101, _) => return Err(Fault::Upgrade),
        (100..=199 | 204 | 304, _) => Framing::Empty,
        (_, _) if asked.head => Framing::Empty,
        (_, _) if chunked => Framing::Chunked,
        (_, Some(length)) => Framing::Length(length),
        (_, None) => Framing::Close,
    };
    let lasting = match framing {
        Framing::Close | Framing::Upgrade => false,
        Framing::Empty | Framing::Length(_) | Framing::Chunked => true,
    };
    let keep_alive = lasting && !connection.close && (newest || connection.keep_alive);
    let head = Head { status, framing, keep_alive };
    if head.is_informational() {
        headers.clear();
    }
    Ok(Some((head, length)))
}

/// Whether a head may end in `bytes`; a line's end may be a line feed alone, as everywhere on the web.
pub(super) fn may_end(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| matches!(&bytes[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// What `Connection` says about staying.
#[derive(Default)]
struct Persistence {
    close: bool,
    keep_alive: bool,
}

impl Persistence {
    fn read(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',') {
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// Digits, and nothing but digits.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit <= 9)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
