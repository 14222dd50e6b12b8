//! The id of a request that its client names.

use http::{HeaderName, HeaderValue};

use crate::exchange::Exchange;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// What a bad id becomes, so that its sender finds out. Recorded on Amazon's gateway.
const REPLACED: HeaderValue = HeaderValue::from_static("UUID_REPLACED_INVALID_REQUEST_ID");

/// Takes the client's id in place of ours, if it sent one.
pub(super) fn adopt(exchange: &mut Exchange) {
    if !exchange.steering.request_id {
        return;
    }
    let mut ids = exchange.headers.get_all(REQUEST_ID).iter();
    match (ids.next(), ids.next()) {
        (None, _) => {}
        (Some(id), None) if is_uuid(id.as_bytes()) => exchange.ids.request = id.clone(),
        (Some(_), _) => exchange.ids.request = REPLACED,
    }
}

fn is_uuid(text: &[u8]) -> bool {
    let fits = |(position, byte): (usize, &u8)| match position {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.iter().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids() {
        assert!(is_uuid(b"01234567-89ab-4def-8123-456789ABCDEF"));
        for bad in [
            "",
            "01234567-89ab-4def-8123-456789abcde",
            "01234567-89ab-4def-8123-456789abcdeg",
            "0123456789ab-4def-8123-456789abcdef-",
        ] {
            assert!(!is_uuid(bad.as_bytes()), "{bad}");
        }
    }
}
