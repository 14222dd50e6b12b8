//! Which headers pass, change their name, or stay behind: Amazon's tables, and RFC 9110's for our own backends.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, Entry, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE, VIA,
};

/// What becomes of a header that a definition maps for the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// It is sent.
    Sent,
    /// It is left out.
    Dropped,
    /// The request fails with 500.
    Illegal,
}

/// Whether HTTP_PROXY hands a client's header on. The trace and forwarding headers are made anew.
pub fn proxied(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        // Never from the client, as recorded.
        "connection" | "content-length" | "content-md5" | "expect" | "max-forwards" | "proxy-authenticate"
        | "server" | "te" | "transfer-encoding" | "trailer" | "upgrade" | "www-authenticate" | "via" => false,
        // From HTTP_PROXY's client neither, though a mapping may set them.
        "host" | "content-encoding" => false,
        // Hop-by-hop by RFC 9110, which no recording has.
        "keep-alive" | "proxy-connection" | "http2-settings" => false,
        "x-amzn-trace-id"
        | "x-amzn-apigateway-api-id"
        | "x-forwarded-for"
        | "x-forwarded-port"
        | "x-forwarded-proto" => false,
        "authorization" => !is_signature(value),
        _ => true,
    }
}

/// An `Authorization` that proves the caller to the gateway is nobody else's business.
pub fn is_signature(authorization: &HeaderValue) -> bool {
    authorization.as_bytes().starts_with(b"AWS4-HMAC-SHA256")
}

/// Whose rules a mapping's headers follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavor {
    /// HTTP and HTTP_PROXY.
    #[default]
    Http,
    /// AWS: the request is signed.
    Aws,
}

/// What becomes of a header that a definition maps for the backend.
pub fn mapped_to_backend(name: &HeaderName, flavor: Flavor) -> Mapped {
    match (flavor, name.as_str()) {
        (Flavor::Aws, "authorization" | "connection" | "expect" | "proxy-authenticate" | "te") => Mapped::Illegal,
        (Flavor::Aws, "referer") => Mapped::Dropped,
        (Flavor::Aws, "via") => Mapped::Sent,
        (Flavor::Http | Flavor::Aws, name) => of_any(name),
    }
}

fn of_any(name: &str) -> Mapped {
    match name {
        "content-length" | "transfer-encoding" | "x-amzn-trace-id" | "x-amzn-apigateway-api-id" => Mapped::Illegal,
        "expect" | "proxy-authenticate" | "te" | "via" => Mapped::Dropped,
        // Would steer our own connection.
        "connection" | "keep-alive" | "proxy-connection" => Mapped::Dropped,
        _ => Mapped::Sent,
    }
}

/// Names that are the gateway's own, and under which the client gets them instead.
static REMAPPED: [(&str, HeaderName); 15] = [
    ("connection", HeaderName::from_static("x-amzn-remapped-connection")),
    ("content-length", HeaderName::from_static("x-amzn-remapped-content-length")),
    ("date", HeaderName::from_static("x-amzn-remapped-date")),
    ("server", HeaderName::from_static("x-amzn-remapped-server")),
    ("x-amzn-requestid", HeaderName::from_static("x-amzn-remapped-x-amzn-requestid")),
    // These only if a definition maps them.
    ("authorization", HeaderName::from_static("x-amzn-remapped-authorization")),
    ("content-md5", HeaderName::from_static("x-amzn-remapped-content-md5")),
    ("expect", HeaderName::from_static("x-amzn-remapped-expect")),
    ("host", HeaderName::from_static("x-amzn-remapped-host")),
    ("max-forwards", HeaderName::from_static("x-amzn-remapped-max-forwards")),
    ("proxy-authenticate", HeaderName::from_static("x-amzn-remapped-proxy-authenticate")),
    ("trailer", HeaderName::from_static("x-amzn-remapped-trailer")),
    ("upgrade", HeaderName::from_static("x-amzn-remapped-upgrade")),
    ("user-agent", HeaderName::from_static("x-amzn-remapped-user-agent")),
    ("www-authenticate", HeaderName::from_static("x-amzn-remapped-www-authenticate")),
];
/// How many of them every integration remaps.
const ALWAYS: usize = 5;
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The name under which the client gets a header that a definition maps; `None` if it does not.
pub fn mapped_to_client(name: &HeaderName) -> Option<&HeaderName> {
    if name == TRANSFER_ENCODING {
        return None;
    }
    Some(REMAPPED.iter().find(|(own, _)| name == own).map_or(name, |(_, remapped)| remapped))
}

/// The name under which the client gets a header that a function sets; `None` if it does not.
pub fn function_to_client(name: &HeaderName) -> Option<&HeaderName> {
    if name == TRANSFER_ENCODING {
        return None;
    }
    Some(REMAPPED[..ALWAYS].iter().find(|(own, _)| name == own).map_or(name, |(_, remapped)| remapped))
}

/// Turns the headers of HTTP_PROXY's backend into the client's. What concerns the backend's connection stays here.
pub fn proxied_to_client(headers: &mut HeaderMap) {
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
    for (name, remapped) in &REMAPPED[..ALWAYS] {
        let Entry::Occupied(entry) = headers.entry(*name) else { continue };
        let (_, mut values) = entry.remove_entry_mult();
        if let Some(first) = values.next() {
            let rest: Vec<HeaderValue> = values.collect();
            headers.insert(remapped, first);
            for value in rest {
                headers.append(remapped, value);
            }
        }
    }
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_ENCODING);
    headers.remove(VIA);
}

/// Headers that concern one connection only (RFC 9110, 7.6.1).
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" | "te" | "http2-settings"
    )
}

/// Whether `Connection` names a header among those that concern one connection only. An essential one it cannot.
pub fn is_named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    options(headers.get_all(CONNECTION))
        .any(|option| option.eq_ignore_ascii_case(name.as_str()) && !is_essential(option))
}

/// What `Connection` says, one by one.
fn options<'a>(connection: impl IntoIterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a str> {
    let values = connection.into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Takes the headers away that concern one connection only, also those that `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // To look through the few names there are costs less than to look for each that might be.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if let Entry::Occupied(entry) = headers.entry(CONNECTION) {
        let (_, values) = entry.remove_entry_mult();
        let values: Vec<HeaderValue> = values.collect();
        for name in options(&values) {
            // The usual words name no header that is not taken away anyhow.
            if !name.eq_ignore_ascii_case("keep-alive") && !name.eq_ignore_ascii_case("close") && !is_essential(name) {
                headers.remove(name);
            }
        }
    }
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    headers.remove(UPGRADE);
    headers.remove(TE);
}

/// Headers that no `Connection` can take away: with them would go who calls, and where to.
fn is_essential(name: &str) -> bool {
    let name = name.as_bytes();
    let forwarded = name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-"));
    forwarded
        || [http::header::HOST, AUTHORIZATION, CONTENT_LENGTH, http::header::COOKIE]
            .iter()
            .any(|essential| name.eq_ignore_ascii_case(essential.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> HeaderName {
        HeaderName::try_from(name.to_ascii_lowercase()).unwrap()
    }

    fn value(value: &'static str) -> HeaderValue {
        HeaderValue::from_static(value)
    }

    #[test]
    fn rows_of_what_never_reaches_a_backend_from_the_client() {
        for header in [
            "Connection",
            "Content-Length",
            "Content-MD5",
            "Expect",
            "Max-Forwards",
            "Proxy-Authenticate",
            "Server",
            "TE",
            "Transfer-Encoding",
            "Trailer",
            "Upgrade",
            "WWW-Authenticate",
            "Via",
            "Host",
            "Content-Encoding",
        ] {
            assert!(!proxied(&name(header), &value("x")), "{header}");
        }
        for header in [
            "Accept",
            "Accept-Charset",
            "Accept-Encoding",
            "Age",
            "Authorization",
            "Content-Type",
            "Date",
            "Pragma",
            "Range",
            "Referer",
            "User-Agent",
            "Warn",
            "X-Own",
            "Cookie",
        ] {
            assert!(proxied(&name(header), &value("x")), "{header}");
        }
    }

    #[test]
    fn a_signature_stays_here() {
        let signature = value("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c");
        assert!(!proxied(&AUTHORIZATION, &signature));
        assert!(proxied(&AUTHORIZATION, &value("Bearer x")));
    }

    #[test]
    fn rows_of_mapping_to_the_backend() {
        for header in ["Content-Length", "Transfer-Encoding", "X-Amzn-Trace-Id", "X-Amzn-Apigateway-Api-Id"] {
            assert_eq!(mapped_to_backend(&name(header), Flavor::Http), Mapped::Illegal, "{header}");
        }
        for header in ["Expect", "Proxy-Authenticate", "TE", "Via"] {
            assert_eq!(mapped_to_backend(&name(header), Flavor::Http), Mapped::Dropped, "{header}");
        }
        for header in [
            "Content-MD5",
            "Max-Forwards",
            "Server",
            "Trailer",
            "Upgrade",
            "WWW-Authenticate",
            "Content-Encoding",
            "Date",
            "User-Agent",
            "Host",
            "Authorization",
            "Referer",
        ] {
            assert_eq!(mapped_to_backend(&name(header), Flavor::Http), Mapped::Sent, "{header}");
        }
    }

    #[test]
    fn rows_of_mapping_to_the_client() {
        for header in [
            "Connection",
            "Content-Length",
            "Date",
            "Server",
            "x-amzn-RequestId",
            "Authorization",
            "Content-MD5",
            "Expect",
            "Host",
            "Max-Forwards",
            "Proxy-Authenticate",
            "Trailer",
            "Upgrade",
            "User-Agent",
            "WWW-Authenticate",
        ] {
            let remapped = format!("x-amzn-remapped-{}", header.to_ascii_lowercase());
            assert_eq!(mapped_to_client(&name(header)).unwrap().as_str(), remapped, "{header}");
        }
        assert_eq!(mapped_to_client(&TRANSFER_ENCODING), None);
        for header in
            ["Accept", "Age", "Content-Encoding", "Content-Type", "Pragma", "Range", "Referer", "TE", "Via", "Warn"]
        {
            assert_eq!(mapped_to_client(&name(header)), Some(&name(header)), "{header}");
        }
    }

    #[test]
    fn rows_of_a_proxied_answer() {
        let mut headers = HeaderMap::new();
        for header in [
            "Connection",
            "Keep-Alive",
            "Content-Length",
            "Date",
            "Server",
            "x-amzn-RequestId",
            "Transfer-Encoding",
            "Via",
            "X-Own",
        ] {
            headers.append(name(header), value("1"));
        }
        headers.append(name("server"), value("2"));
        headers.append(CONTENT_ENCODING, value("br"));
        proxied_to_client(&mut headers);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "x-amzn-remapped-connection",
                "x-amzn-remapped-content-length",
                "x-amzn-remapped-date",
                "x-amzn-remapped-server",
                "x-amzn-remapped-x-amzn-requestid",
                "x-own"
            ]
        );
        assert_eq!(headers.get_all("x-amzn-remapped-server").iter().count(), 2);
    }

    #[test]
    fn connection_names_hop_by_hop_headers_but_not_essential_ones() {
        let mut headers = HeaderMap::new();
        for (header, text) in [
            ("connection", "close, X-Hop, X-Forwarded-For, Host"),
            ("x-hop", "1"),
            ("x-forwarded-for", "1"),
            ("host", "a"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("x-own", "1"),
            ("trailer", "x-sum"),
        ] {
            headers.append(name(header), value(text));
        }
        strip_hop_by_hop(&mut headers);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "trailer", "x-forwarded-for", "x-own"]);
    }
}
