//! The host that a request asks for.

use http::header::HOST;
use http::uri::Authority;

use crate::exchange::Exchange;
use crate::rejection::Rejection;

/// Longest host name there is.
const NAME_LENGTH: usize = 253;

/// The host, without port.
///
/// # Errors
/// When there is none, several, or one that is none.
pub(super) fn requested(exchange: &Exchange) -> Result<&str, Rejection> {
    let mut hosts = exchange.headers.get_all(HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        (header, None) => header.map(|header| header.to_str().map_err(|_| Rejection::BadHost)).transpose()?,
        (_, Some(_)) => return Err(Rejection::BadHost),
    };
    let authority = match (exchange.uri.authority(), header) {
        // RFC 9113: `Host` says the same as `:authority`, or nothing. In HTTP/1.1 the request line wins (RFC 9112).
        (Some(authority), Some(header))
            if exchange.version >= http::Version::HTTP_2 && !authority.as_str().eq_ignore_ascii_case(header) =>
        {
            return Err(Rejection::BadHost);
        }
        (Some(authority), _) => authority.as_str(),
        (None, Some(header)) => header,
        (None, None) => return Err(Rejection::BadHost),
    };
    name(authority).ok_or(Rejection::BadHost)
}

/// The name in `host[:port]`.
fn name(authority: &str) -> Option<&str> {
    let (name, port) = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => (&authority[..colon], &authority[colon + 1..]),
        _ => (authority, ""),
    };
    let port_is_one = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let fits = !name.is_empty() && name.len() <= NAME_LENGTH && port_is_one;
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    let is_address = || name.starts_with('[') && name.ends_with(']') && name.parse::<Authority>().is_ok();
    (fits && (is_name || is_address())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_what_is_none() {
        for (authority, expected) in [
            ("api.example.com", Some("api.example.com")),
            ("API.example.com:8443", Some("API.example.com")),
            ("a_b.internal.:1", Some("a_b.internal.")),
            ("127.0.0.1:8443", Some("127.0.0.1")),
            ("[::1]:8443", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("host:", Some("host")),
            ("", None),
            (":80", None),
            ("user@host", None),
            ("a b", None),
            ("host:port", None),
            ("host:123456", None),
            ("a,b", None),
            ("a/b", None),
            ("::1", None),
            ("[::1", None),
        ] {
            assert_eq!(name(authority), expected, "{authority}");
        }
        assert_eq!(name(&"a".repeat(254)), None);
    }
}
