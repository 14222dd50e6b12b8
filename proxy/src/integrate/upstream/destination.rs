//! Where connections go: what makes two requests share them.

use std::net::{IpAddr, SocketAddr};

use http::uri::{Authority, Scheme};

/// An endpoint with everything that decides whether a connection may be shared. Equal ones share a pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    pub protocol: Protocol,
    /// Lower case; an IPv6 literal has no brackets.
    pub host: Box<str>,
    pub port: u16,
    pub verification: Verification,
    pub reach: Reach,
}

/// How the endpoint's address is found, and whether it is asked if it may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reach {
    /// By the host's name; egress rules apply.
    #[default]
    Checked,
    /// By the host's name; whoever named it may name anything.
    Exempt,
    /// A Service: at one of its pods where they are known, else by the host's name.
    Service(Box<(Box<str>, Box<str>)>),
    /// One pod of a Service. The host is still the Service's.
    Pod(SocketAddr),
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1 in clear text.
    Http1,
    /// HTTP/2 in clear text, with prior knowledge.
    Http2,
    /// HTTP/1.1 over TLS: Amazon's integrations, and what shall become a tunnel.
    Tls1,
    /// HTTP/2 or HTTP/1.1 over TLS, as ALPN finds.
    Tls,
}

/// How a TLS server proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Verification {
    /// Any issuer will do; the name must still be right, as with Amazon's `insecureSkipVerification`.
    pub skip_issuer: bool,
    /// The name to ask for and to verify, if it is not the host.
    pub server_name: Option<Box<str>>,
}

impl Destination {
    /// The destination of a URI's scheme and authority.
    ///
    /// # Errors
    /// When they are none, as a sentence.
    pub fn parse(scheme: &str, authority: &str, verification: Verification, negotiate: bool) -> Result<Self, String> {
        let (protocol, default_port) = match scheme {
            "http" => (Protocol::Http1, 80),
            "h2c" => (Protocol::Http2, 80),
            "https" if negotiate => (Protocol::Tls, 443),
            "https" => (Protocol::Tls1, 443),
            other => return Err(format!("`{other}` is not a scheme of an endpoint: want http or https")),
        };
        let invalid = || format!("`{authority}` is not the host of an endpoint");
        let parsed: Authority = authority.parse().map_err(|_| invalid())?;
        let host = parsed.host();
        // A user name in an endpoint is a mistake or a trick.
        if host.is_empty() || authority.contains('@') || host.contains(['{', '}', '$']) {
            return Err(invalid());
        }
        let port = match authority.strip_prefix(host) {
            Some("") => default_port,
            Some(port) => {
                let port = port.strip_prefix(':').and_then(|port| port.parse().ok());
                port.filter(|&port| port != 0).ok_or_else(invalid)?
            }
            None => return Err(invalid()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase().into();
        Ok(Self { protocol, host, port, verification, reach: Reach::Checked })
    }

    /// The same endpoint, found in another way.
    pub fn reached(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// The same endpoint, spoken to in HTTP/1.1.
    pub fn in_http1(&self) -> Self {
        let protocol = match self.protocol {
            Protocol::Http1 | Protocol::Http2 => Protocol::Http1,
            Protocol::Tls1 | Protocol::Tls => Protocol::Tls1,
        };
        Self { protocol, ..self.clone() }
    }

    /// What `:scheme` says.
    pub fn scheme(&self) -> Scheme {
        if self.is_tls() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    pub fn is_tls(&self) -> bool {
        match self.protocol {
            Protocol::Tls1 | Protocol::Tls => true,
            Protocol::Http1 | Protocol::Http2 => false,
        }
    }

    /// The name that TLS asks for and verifies.
    pub fn server_name(&self) -> &str {
        self.verification.server_name.as_deref().unwrap_or(&self.host)
    }

    /// Host and port as `Host` and `:authority` show them: the scheme's own port is left out.
    pub fn authority(&self) -> String {
        let own = if self.is_tls() { 443 } else { 80 };
        let host = &self.host;
        let bracketed = host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6());
        match (bracketed, self.port == own) {
            (true, true) => format!("[{host}]"),
            (true, false) => format!("[{host}]:{}", self.port),
            (false, true) => host.to_string(),
            (false, false) => format!("{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(scheme: &str, authority: &str) -> Result<Destination, String> {
        Destination::parse(scheme, authority, Verification::default(), true)
    }

    #[test]
    fn hosts_are_lower_case_and_ports_have_defaults() {
        let destination = parse("https", "API.Example.com").unwrap();
        assert_eq!((&*destination.host, destination.port), ("api.example.com", 443));
        assert_eq!(destination.authority(), "api.example.com");
        assert_eq!(parse("http", "[::1]:8080").unwrap().authority(), "[::1]:8080");
        assert_eq!(parse("http", "10.0.0.1:8080").unwrap().authority(), "10.0.0.1:8080");
        assert_eq!(parse("h2c", "a").unwrap().protocol, Protocol::Http2);
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for (scheme, authority) in [
            ("ftp", "a"),
            ("http", ""),
            ("http", "user@host"),
            ("http", "a:0"),
            ("http", "a:99999"),
            ("http", "{host}"),
            ("http", "a:"),
        ] {
            assert!(parse(scheme, authority).is_err(), "{scheme}://{authority}");
        }
    }
}
