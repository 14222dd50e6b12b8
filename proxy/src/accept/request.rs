//! From a codec's request to an [`Exchange`], and back.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONNECTION, COOKIE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use hyper::ext::Protocol;

use crate::accept::activity::{Busy, Order, Place};
use crate::accept::{Incoming, Upgrade};
use crate::body::Body;
use crate::core::Core;
use crate::exchange::{Client, Exchange, Record, RequestIds, Steering};

/// A connection's part in each of its requests.
pub struct Connection {
    pub core: Rc<Core>,
    pub client: Arc<Client>,
    pub place: Rc<Place>,
}

/// Serves one request.
pub async fn handle(connection: Rc<Connection>, mut request: Request<Incoming>) -> Response<Body> {
    let received = Instant::now();
    let Connection { core, client, place } = &*connection;
    let busy = Busy::new(&place.activity);
    let upgrade = upgrade(&mut request, place);
    let (mut parts, incoming) = request.into_parts();
    let version = parts.version;
    let steering = Steering::of(&parts.headers);
    if steering.crumbs && version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    let mut body = Body::wire(incoming);
    body.set_patience(core.options.timeouts.body);
    // Boxed, because it goes through many hands.
    let exchange = Box::new(Exchange {
        method: parts.method,
        uri: parts.uri,
        path: Default::default(),
        version: parts.version,
        headers: parts.headers,
        steering,
        body,
        upgrade,
        client: Arc::clone(client),
        received,
        ids: core.ids.next(),
        routed: None,
        record: Record::default(),
    });
    let mut response = crate::serve::serve(core, exchange).await.map(|body| body.keep(busy));
    if core.shared.draining.load(Ordering::Relaxed) || place.activity.is_old() {
        // With an answer, never between two, when the client's next request may be on its way: it says
        // `Connection: close`, or GOAWAY goes before it, and the next one goes to another proxy.
        place.activity.give(Order::Leave);
        // In the answer itself, because it may be written before the order is obeyed.
        if version < Version::HTTP_2 && response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response
}

/// A client may split a `Cookie` into its pairs in HTTP/2, as browsers do; everywhere else it is one header (RFC 9113,
/// 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let pairs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Values joined by what a value may hold are a value.
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(pairs.join(&b"; "[..]))) {
        headers.insert(COOKIE, joined);
    }
}

/// The one protocol that a client may leave HTTP for. Others carry requests of their own (`h2c` above all), which would
/// pass every route and guard by; a wish for one is not heard, as RFC 9110 (7.8) permits.
const WEBSOCKET: &str = "websocket";

/// Takes the client's wish to leave HTTP out of the request.
fn upgrade(request: &mut Request<Incoming>, place: &Rc<Place>) -> Option<Upgrade> {
    let extended = request.method() == Method::CONNECT;
    let wished = if extended {
        request.extensions().get::<Protocol>()?.as_str().eq_ignore_ascii_case(WEBSOCKET)
    } else {
        let headers = request.headers();
        headers.get(UPGRADE)?.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()) && names_upgrade(headers)
    };
    wished.then(|| Upgrade {
        protocol: WEBSOCKET.into(),
        extended,
        on: hyper::upgrade::on(request),
        place: Rc::clone(place),
    })
}

/// Whether `Connection` says that `Upgrade` is meant for this hop.
fn names_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
}

/// Makes names for requests.
#[derive(Debug)]
pub struct Ids(std::cell::RefCell<fastrand::Rng>);

impl Ids {
    /// Seeded from the system's randomness: names need not be secret, but must not repeat.
    ///
    /// # Errors
    /// When the system has none.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)?;
        Ok(Self(std::cell::RefCell::new(fastrand::Rng::with_seed(u64::from_le_bytes(seed)))))
    }

    /// Names for one request: a UUID (version 4) and sixteen characters of base64 that end in `=`.
    pub fn next(&self) -> RequestIds {
        let mut random = self.0.borrow_mut();
        RequestIds { request: header(&uuid(random.u128(..))), extended: header(&extended(random.u128(..))) }
    }

    /// A random number, for names of traces.
    pub fn number(&self) -> u128 {
        self.0.borrow_mut().u128(..)
    }
}

fn header(text: &[u8]) -> HeaderValue {
    // Hexadecimal digits, base64 and dashes are always a header's value.
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Where each byte of a UUID is written.
const PAIRS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

fn uuid(random: u128) -> [u8; 36] {
    let bits = (random & !(0xf000_u128 << 64) & !(0xc000_u128 << 48)) | (0x4000_u128 << 64) | (0x8000_u128 << 48);
    let mut text = [b'-'; 36];
    for (byte, at) in bits.to_be_bytes().into_iter().zip(PAIRS) {
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 0xf)];
    }
    text
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn extended(random: u128) -> [u8; 16] {
    let mut text = [b'='; 16];
    for (position, byte) in text.iter_mut().take(15).enumerate() {
        *byte = BASE64[(random >> (6 * position)) as usize & 0x3f];
    }
    // Eleven bytes fill fourteen characters and four bits of the fifteenth.
    text[14] = BASE64[(random >> 84) as usize & 0x3c];
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is moved into its place once per request, and every await of another future in it is room for that one too.
    #[test]
    fn the_state_of_a_request_is_small() {
        fn size<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(handle);
        assert!(size <= 6 << 10, "{size} bytes: box what is rare");
    }

    #[test]
    fn cookies_are_one_header_again() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("cookie", "a=1"), ("x-own", "1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert!(Steering::of(&headers).crumbs);
        join_cookies(&mut headers);
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3; d=4"]);
        assert!(!Steering::of(&headers).crumbs);
    }

    #[test]
    fn a_request_id_is_a_random_uuid() {
        assert_eq!(&uuid(u128::MAX), b"ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(&uuid(0), b"00000000-0000-4000-8000-000000000000");
        assert_eq!(&uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), b"01234567-89ab-4def-8123-456789abcdef");
    }

    #[test]
    fn an_extended_id_is_base64_of_eleven_bytes() {
        use base64::Engine as _;
        for random in [0, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let text = extended(random);
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("valid base64");
            assert_eq!(bytes.len(), 11);
        }
    }

    #[test]
    fn ids_differ() {
        let ids = Ids::new().expect("randomness");
        assert_ne!(ids.next().request, ids.next().request);
    }
}
