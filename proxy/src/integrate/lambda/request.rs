//! What an event says of a request's headers and query, whatever its format.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use crate::exchange::Exchange;
use crate::integrate::mapping::headers::is_signature;
use crate::integrate::mapping::parameters::decoded;
use crate::integrate::trace::{self, TRACE_ID};

/// The headers that a function gets: the client's, except for those of its connection, and ours.
pub(super) fn headers(exchange: &Exchange, trace_id: &HeaderValue, keep_length: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(exchange.headers.len() + 6);
    for (name, value) in &exchange.headers {
        let kept = is_passed(name) || (keep_length && name == http::header::CONTENT_LENGTH);
        if kept && !(name == AUTHORIZATION && is_signature(value)) {
            headers.append(name, value.clone());
        }
    }
    // In HTTP/2 the host is not among the headers.
    if let Some(authority) = exchange.uri.authority()
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        headers.insert(HOST, host);
    }
    headers.insert(&TRACE_ID, trace_id.clone());
    headers.extend(trace::forward(exchange));
    headers
}

/// Whether a function gets a client's header; those it never gets, as recorded, and what RFC 9110 calls hop-by-hop.
fn is_passed(name: &HeaderName) -> bool {
    !matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "content-md5"
            | "expect"
            | "max-forwards"
            | "proxy-authenticate"
            | "server"
            | "te"
            | "transfer-encoding"
            | "trailer"
            | "upgrade"
            | "www-authenticate"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
    )
}

/// A header's name as a REST API's event spells it. Amazon writes some its own way whatever the client wrote, and keeps
/// the others'. The codec hides how HTTP/1.1 clients write; the usual way is the best guess. In HTTP/2 names are in lower
/// case.
pub(super) fn spelled(name: &HeaderName, version: Version) -> &str {
    match name.as_str() {
        "authorization" => "Authorization",
        "host" => "Host",
        "user-agent" => "User-Agent",
        "x-amzn-trace-id" => "X-Amzn-Trace-Id",
        "x-forwarded-for" => "X-Forwarded-For",
        "x-forwarded-port" => "X-Forwarded-Port",
        "x-forwarded-proto" => "X-Forwarded-Proto",
        name if version == Version::HTTP_2 => name,
        "accept" => "Accept",
        "accept-charset" => "Accept-Charset",
        "accept-encoding" => "Accept-Encoding",
        "accept-language" => "Accept-Language",
        "access-control-request-headers" => "Access-Control-Request-Headers",
        "access-control-request-method" => "Access-Control-Request-Method",
        "age" => "Age",
        "cache-control" => "Cache-Control",
        "content-disposition" => "Content-Disposition",
        "content-encoding" => "Content-Encoding",
        "content-language" => "Content-Language",
        "content-type" => "Content-Type",
        "cookie" => "Cookie",
        "date" => "Date",
        "dnt" => "DNT",
        "forwarded" => "Forwarded",
        "from" => "From",
        "if-match" => "If-Match",
        "if-modified-since" => "If-Modified-Since",
        "if-none-match" => "If-None-Match",
        "if-range" => "If-Range",
        "if-unmodified-since" => "If-Unmodified-Since",
        "origin" => "Origin",
        "pragma" => "Pragma",
        "range" => "Range",
        "referer" => "Referer",
        "upgrade-insecure-requests" => "Upgrade-Insecure-Requests",
        "via" => "Via",
        "warn" => "Warn",
        "warning" => "Warning",
        "x-amz-date" => "X-Amz-Date",
        "x-amz-security-token" => "X-Amz-Security-Token",
        "x-forwarded-host" => "X-Forwarded-Host",
        "x-requested-with" => "X-Requested-With",
        name => name,
    }
}

/// A name and a value, decoded.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A query, decoded: names in their order, each with its values in theirs.
pub(super) struct Query<'a>(Vec<Pair<'a>>);

impl<'a> Query<'a> {
    pub(super) fn parse(pairs: impl Iterator<Item = &'a str>) -> Self {
        let pair = |pair: &'a str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        let mut pairs: Vec<_> = pairs.map(pair).collect();
        // A stable sort brings a name's values together and keeps their order.
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Self(pairs)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every name with its values, of which there is one at least.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, &[Pair<'a>])> {
        self.0.chunk_by(|a, b| a.0 == b.0).filter_map(|group| Some((&*group.first()?.0, group)))
    }
}

/// The cookies of every `Cookie` header.
pub(super) fn cookies(exchange: &Exchange) -> impl Iterator<Item = &[u8]> {
    let values = exchange.headers.get_all(COOKIE).iter();
    let each = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b';'));
    each.map(<[u8]>::trim_ascii).filter(|cookie| !cookie.is_empty())
}

#[cfg(test)]
mod tests {
    use bundle::ApiKind;

    use super::*;
    use crate::exchange::pairs;

    #[test]
    fn a_query_is_grouped_and_decoded() {
        let parse = |query| Query::parse(pairs(query, ApiKind::Rest));
        let query = parse("b=2&a=1&b=x+y%2B&&c;a=1");
        let all: Vec<(String, Vec<String>)> = query
            .each()
            .map(|(name, values)| (name.to_owned(), values.iter().map(|(_, value)| value.to_string()).collect()))
            .collect();
        let wanted = [("a", vec!["1", "1"]), ("b", vec!["2", "x y+"]), ("c", vec![""])];
        let wanted: Vec<(String, Vec<String>)> =
            wanted.into_iter().map(|(name, v)| (name.to_owned(), v.into_iter().map(str::to_owned).collect())).collect();
        assert_eq!(all, wanted);
        assert!(parse("").is_empty() && parse("&").is_empty());
        assert_eq!(Query::parse(pairs("a=1;b", ApiKind::Http)).each().count(), 1);
    }

    #[test]
    fn names_in_the_usual_spelling() {
        let spelled = |name: &'static str, version| spelled(&HeaderName::from_static(name), version).to_owned();
        assert_eq!(spelled("accept", Version::HTTP_11), "Accept");
        assert_eq!(spelled("accept", Version::HTTP_2), "accept");
        assert_eq!(spelled("authorization", Version::HTTP_2), "Authorization");
        assert_eq!(spelled("x-own", Version::HTTP_11), "x-own");
    }
}
