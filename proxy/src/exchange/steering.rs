//! What a request's headers hold that steers the gateway.

use std::net::IpAddr;

use http::HeaderMap;

/// Which headers that steer the gateway a request has. Found in one pass: most requests have hardly any, and each
/// look-up of a header that is not there costs as much as one that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// Bytes of names and values together.
    pub bytes: usize,
    pub connection: bool,
    /// There is more than one `Cookie`.
    pub crumbs: bool,
    pub forwarded_for: bool,
    pub method_override: bool,
    pub request_id: bool,
    /// The client's address, where trusted proxies in front have said it; see [`super::Exchange::trust`].
    pub source: Option<IpAddr>,
    pub te: bool,
    pub trace_id: bool,
}

impl Steering {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut steering = Self::default();
        let mut cookies = 0;
        for (name, value) in headers {
            let name = name.as_str();
            steering.bytes += name.len() + value.len();
            match name {
                "connection" => steering.connection = true,
                "cookie" => cookies += 1,
                "te" => steering.te = true,
                "x-amzn-requestid" => steering.request_id = true,
                "x-amzn-trace-id" => steering.trace_id = true,
                "x-forwarded-for" => steering.forwarded_for = true,
                "x-http-method-override" => steering.method_override = true,
                _ => {}
            }
        }
        steering.crumbs = cookies > 1;
        steering
    }
}
