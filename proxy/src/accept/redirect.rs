//! The plain-HTTP port: every request is sent to HTTPS, none is served.

use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode};

use crate::accept::Incoming;
use crate::body::Body;

/// 308 to the same host and path on the HTTPS port, or 400 without a usable `Host`.
pub fn redirect(request: &Request<Incoming>, https_port: u16) -> Response<Body> {
    match location(request, https_port) {
        Some(location) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(LOCATION, location);
            response
        }
        None => {
            let mut response = Response::new(Body::full(r#"{"message":"Bad Request"}"#));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
    }
}

fn location(request: &Request<Incoming>, https_port: u16) -> Option<HeaderValue> {
    let authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok()?,
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    HeaderValue::try_from(target(authority.host(), https_port, path)).ok()
}

fn target(host: &str, port: u16, path: &str) -> String {
    if port == 443 { format!("https://{host}{path}") } else { format!("https://{host}:{port}{path}") }
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn the_standard_port_is_left_out() {
        assert_eq!(target("a.example", 443, "/x?y=1"), "https://a.example/x?y=1");
        assert_eq!(target("[::1]", 8443, "/"), "https://[::1]:8443/");
    }
}
