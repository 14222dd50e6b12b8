//! A request on its way to a backend.

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use crate::body::Body;
use crate::integrate::upstream::Pool;

/// A request in origin form, with its `Host`.
pub struct Outbound {
    pub method: Method,
    pub path: PathAndQuery,
    pub headers: Fields,
    pub body: Body,
}

/// Header lines in the order in which they are sent. Nothing is looked up in them on the way to a backend, so they are no
/// map: hashing their names would cost more than writing them.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(HeaderName, HeaderValue)>);

impl Fields {
    /// None yet, with room for so many.
    pub fn with_capacity(lines: usize) -> Self {
        Self(Vec::with_capacity(lines))
    }

    /// One more line; others of this name stay.
    pub fn push(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// The lines.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl From<HeaderMap> for Fields {
    fn from(map: HeaderMap) -> Self {
        let mut fields = Self::with_capacity(map.len());
        let mut last = None;
        // A map gives the name with its first value only.
        for (name, value) in map {
            last = name.or(last);
            if let Some(name) = &last {
                fields.push(name.clone(), value);
            }
        }
        fields
    }
}

impl Outbound {
    /// As HTTP/2 sends it: the authority is in the URI, and nothing is said about the connection.
    pub(super) fn into_http2(self, pool: &Pool) -> Request<Body> {
        let Self { method, path, headers, body } = self;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = pool.absolute(path);
        let map = request.headers_mut();
        for (name, value) in headers.0 {
            if name != HOST && name != CONNECTION && name != TRANSFER_ENCODING {
                map.append(name, value);
            }
        }
        request
    }

    /// Undoes [`Self::into_http2`] for a request that was not sent: its next connection may be HTTP/1.1.
    pub(super) fn from_http2(request: Request<Body>, pool: &Pool) -> Self {
        let (parts, body) = request.into_parts();
        let path = parts.uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut headers = Fields::from(parts.headers);
        headers.push(HOST, pool.host.clone());
        Self { method: parts.method, path, headers, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_map_keep_their_names() {
        let mut map = HeaderMap::new();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            map.append(name, HeaderValue::from_static(value));
        }
        let mut lines: Vec<String> =
            Fields::from(map).iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["a: 1", "a: 3", "b: 2"]);
    }
}
