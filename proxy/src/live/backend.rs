//! Our own reverse proxy, parsed.

use std::collections::BTreeMap;
use std::time::Duration;

use bundle::StageBundle;
use bundle::integration::{BackendTarget, Scheme};

use crate::integrate::upstream::{Destination, Verification};
use crate::live::mapping::uri::with_variables;

/// A backend.
#[derive(Debug)]
pub struct Backend {
    pub target: Target,
    /// Put before the request's path: empty, or with a leading slash and without a trailing one.
    pub base: Box<str>,
    pub response_header_timeout: Duration,
    pub idle_timeout: Duration,
    pub max_body: u64,
}

/// Where it is.
#[derive(Debug)]
pub enum Target {
    Url(Destination),
    /// Where this is, the core's options and DNS know.
    Service {
        namespace: Box<str>,
        name: Box<str>,
        port: u16,
        scheme: Scheme,
    },
}

impl Backend {
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(backend: &bundle::integration::Backend, stage: &StageBundle) -> Result<Self, String> {
        let bundle::integration::Backend { target, response_header_timeout_ms, idle_timeout_ms, max_body_bytes } =
            backend;
        let (target, base) = Target::parse(target, &stage.variables)?;
        Ok(Self {
            target,
            base,
            response_header_timeout: Duration::from_millis(*response_header_timeout_ms),
            idle_timeout: Duration::from_millis(*idle_timeout_ms),
            max_body: *max_body_bytes,
        })
    }
}

impl Target {
    /// Namespace and name, of a Service.
    pub fn service(&self) -> Option<(&str, &str)> {
        match self {
            Self::Url(_) => None,
            Self::Service { namespace, name, .. } => Some((namespace, name)),
        }
    }

    /// Where it is, and what is put before a path there.
    ///
    /// # Errors
    /// For what is no address, as a sentence.
    pub fn parse(target: &BackendTarget, variables: &BTreeMap<String, String>) -> Result<(Self, Box<str>), String> {
        Ok(match target {
            BackendTarget::Url(url) => parse_url(&with_variables(url, variables))?,
            BackendTarget::Service { namespace, name, port, scheme } => {
                let (namespace, name) = (namespace.as_str().into(), name.as_str().into());
                (Self::Service { namespace, name, port: *port, scheme: *scheme }, "".into())
            }
            BackendTarget::Refused(refusal) => return Err(refusal.message.clone()),
        })
    }
}

fn parse_url(url: &str) -> Result<(Target, Box<str>), String> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("`{url}` is not a URL"))?;
    let (authority, base) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let base = base.trim_end_matches('/');
    if base.contains(['?', '#']) {
        return Err(format!("`{url}` has a query or a fragment, which a backend's URL cannot have"));
    }
    if !base.is_empty() && base.parse::<http::uri::PathAndQuery>().is_err() {
        return Err(format!("`{base}` is not the path of a URL"));
    }
    let scheme = scheme.to_ascii_lowercase();
    let destination = Destination::parse(&scheme, authority, Verification::default(), true)?;
    Ok((Target::Url(destination), base.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_has_no_trailing_slash() {
        for (url, base) in [("http://a", ""), ("http://a/", ""), ("https://a/b/c", "/b/c"), ("h2c://a:1/b/", "/b")] {
            assert_eq!(&*parse_url(url).unwrap().1, base, "{url}");
        }
        for url in ["a", "http://a/?q=1", "http://a/#x", "http:///b", "ftp://a"] {
            assert!(parse_url(url).is_err(), "{url}");
        }
    }
}
