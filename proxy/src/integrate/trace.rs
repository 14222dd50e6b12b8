//! `X-Amzn-Trace-Id`, and the headers that say for whom a request is forwarded.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::core::Core;
use crate::exchange::Exchange;

pub static TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
pub static API_ID: HeaderName = HeaderName::from_static("x-amzn-apigateway-api-id");
pub static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub static FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Longest trace header that is continued.
const MAX_TRACE: usize = 256;

/// The trace a request belongs to: the client's, if it names a valid root, else a new one. It is noted in the record.
pub fn trace_id(core: &Core, exchange: &mut Exchange) -> HeaderValue {
    if let Some(noted) = &exchange.record.trace_id {
        return noted.clone();
    }
    let given = if exchange.steering.trace_id { exchange.headers.get(&TRACE_ID) } else { None };
    let id = match given {
        Some(given) if is_valid(given.as_bytes()) => given.clone(),
        Some(_) | None => {
            let now = std::time::SystemTime::now();
            let seconds = now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
            fresh(seconds, core.ids.number())
        }
    };
    exchange.record.trace_id = Some(id.clone());
    id
}

/// `Root=1-{8 hex of time}-{24 hex}`.
fn fresh(seconds: u32, random: u128) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = *b"Root=1-00000000-000000000000000000000000";
    for (position, byte) in text[7..15].iter_mut().enumerate() {
        *byte = HEX[(seconds >> (28 - 4 * position)) as usize & 0xf];
    }
    for (pair, byte) in text[16..].chunks_exact_mut(2).zip(random.to_le_bytes()) {
        pair.copy_from_slice(&[HEX[usize::from(byte & 0xf)], HEX[usize::from(byte >> 4)]]);
    }
    // Visible ASCII is always a header's value.
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// Whether a trace header has a root: `Root=1-{8 hex}-{24 hex}` among its fields.
fn is_valid(value: &[u8]) -> bool {
    value.len() <= MAX_TRACE
        && value.split(|&byte| byte == b';').any(|field| {
            let Some(root) = field.trim_ascii().strip_prefix(b"Root=1-") else { return false };
            root.len() == 33
                && root[8] == b'-'
                && root.iter().enumerate().all(|(at, byte)| at == 8 || byte.is_ascii_hexdigit())
        })
}

/// What says for whom the request is forwarded: the client joins those that forwarded it before.
pub fn forward(exchange: &Exchange) -> [(HeaderName, HeaderValue); 3] {
    let (address, port) = &exchange.client.shown;
    let forwarded_for = if exchange.steering.forwarded_for {
        let before = exchange.headers.get_all(&FORWARDED_FOR);
        joined(before.iter().map(HeaderValue::as_bytes), address.as_bytes())
    } else {
        address.clone()
    };
    let proto = HeaderValue::from_static(exchange.client.scheme);
    [(FORWARDED_FOR.clone(), forwarded_for), (FORWARDED_PORT.clone(), port.clone()), (FORWARDED_PROTO.clone(), proto)]
}

fn joined<'a>(before: impl Iterator<Item = &'a [u8]>, address: &[u8]) -> HeaderValue {
    let mut text = Vec::with_capacity(40);
    for value in before {
        text.extend_from_slice(value);
        text.extend_from_slice(b", ");
    }
    text.extend_from_slice(address);
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_trace_has_a_valid_root() {
        let id = fresh(0x6001_02ab, 0xfedc_ba98_7654_3210_fedc_ba98);
        assert_eq!(id, "Root=1-600102ab-89abcdef0123456789abcdef");
        assert!(is_valid(id.as_bytes()));
    }

    #[test]
    fn only_a_valid_root_is_continued() {
        assert!(is_valid(b"Self=1-x;Root=1-600102ab-89abcdef0123456789abcdef;Sampled=1"));
        for bad in ["", "Root=1-600102ab", "Root=2-600102ab-89abcdef0123456789abcdef", "x=Root=1-600102ab-89abcdef012"]
        {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
        assert!(!is_valid(b"Root=1-600102ag-89abcdef0123456789abcdef"));
    }

    #[test]
    fn forwarders_are_joined() {
        assert_eq!(joined([].into_iter(), b"10.0.0.1"), "10.0.0.1");
        assert_eq!(joined([&b"1.1.1.1"[..], b"2.2.2.2"].into_iter(), b"10.0.0.1"), "1.1.1.1, 2.2.2.2, 10.0.0.1");
    }
}
