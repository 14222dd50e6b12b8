//! Whose request it is, when proxies stand between the client and this one.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

/// The client's address as the trusted proxies in front say it: each has put the address of whoever connected to it at the
/// end of `X-Forwarded-For`, so the client is the entry of that number from the end. What stands before it anybody may
/// have written. `None` when there are no such proxies, or fewer entries than proxies, or no address: then it is whoever
/// connects.
pub(super) fn source(headers: &HeaderMap, trusted_hops: u8) -> Option<IpAddr> {
    let hops = usize::from(trusted_hops).checked_sub(1)?;
    let fields = headers.get_all("x-forwarded-for").iter().rev();
    let mut entries = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
    address(std::str::from_utf8(entries.nth(hops)?).ok()?.trim())
}

/// An address, which some proxies write with a port or brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|with_port| with_port.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_is_counted_from_the_end() {
        let of = |fields: &[&str], hops| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append("x-forwarded-for", HeaderValue::from_str(field).unwrap());
            }
            source(&headers, hops).map(|address| address.to_string())
        };
        for (fields, hops, client) in [
            (&["198.51.100.1"][..], 0, None),
            (&["203.0.113.9, 198.51.100.1"], 1, Some("198.51.100.1")),
            (&["203.0.113.9, 198.51.100.1"], 2, Some("203.0.113.9")),
            // Several fields are one list.
            (&["203.0.113.9", "198.51.100.1,192.0.2.1"], 3, Some("203.0.113.9")),
            (&["203.0.113.9", "198.51.100.1,192.0.2.1"], 2, Some("198.51.100.1")),
            // Whoever came past the proxies in front is the one who connects.
            (&["198.51.100.1"], 2, None),
            (&[], 1, None),
            (&["198.51.100.1, unknown"], 1, None),
            (&["198.51.100.1,"], 1, None),
            (&["198.51.100.1:4711"], 1, Some("198.51.100.1")),
            (&["[2001:db8::1]:4711"], 1, Some("2001:db8::1")),
            (&["[2001:db8::1]"], 1, Some("2001:db8::1")),
            (&["2001:db8::1"], 1, Some("2001:db8::1")),
            (&["::ffff:198.51.100.1"], 1, Some("198.51.100.1")),
        ] {
            assert_eq!(of(fields, hops).as_deref(), client, "{fields:?} {hops}");
        }
    }
}
