use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;
use crate::fixture::{request, run};
use crate::integrate::mapping::parameters::MAX_BODY;
use crate::rejection::Rejection;

fn accept(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap())])
}

#[test]
fn the_coding_that_the_client_likes_most() {
    use Coding::{Deflate, Gzip};
    for (value, expected) in [
        ("gzip", Some(Gzip)),
        ("deflate", Some(Deflate)),
        ("gzip, deflate, br", Some(Gzip)),
        ("br, gzip", Some(Gzip)),
        ("deflate, GZIP;q=0.5", Some(Deflate)),
        ("gzip;q=0.2, deflate;q=0.4", Some(Deflate)),
        ("br;q=1.0, gzip;q=0.8", None),
        ("identity, gzip;q=0.5", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("*", None),
        ("", None),
    ] {
        assert_eq!(wanted(&accept(value)), expected, "{value}");
    }
}

fn answer(text: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut response = Response::new(Body::full(text.to_owned()));
    for (name, value) in headers {
        response.headers_mut().insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    response
}

fn compressed(text: &str, coding: &str, headers: &[(&str, &str)]) -> (Option<String>, Vec<u8>) {
    let mut response = answer(text, headers);
    compress(&request("GET", "/prod/a", &[("accept-encoding", coding)]), 100, &mut response);
    let encoding = response.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
    (encoding, run(response.into_body().collect(1 << 24)).unwrap().to_vec())
}

#[test]
fn answers_come_back_as_they_were() {
    let text = "0123456789".repeat(60_000);
    let (encoding, packed) = compressed(&text, "gzip", &[]);
    assert_eq!(encoding.as_deref(), Some("gzip"));
    assert!(packed.len() < text.len() / 10, "{}", packed.len());
    let mut unpacked = String::new();
    MultiGzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, text);

    let (encoding, packed) = compressed(&text, "deflate", &[]);
    assert_eq!(encoding.as_deref(), Some("deflate"));
    let mut unpacked = String::new();
    ZlibDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, text);
}

#[test]
fn what_stays_as_it_is() {
    let long = "x".repeat(100);
    for (text, coding, headers) in [
        (&long[..99], "gzip", &[][..]),
        (&long, "identity", &[]),
        (&long, "gzip", &[("cache-control", "private, No-Transform")]),
        (&long, "gzip", &[("content-range", "bytes 0-99/200")]),
        (&long, "gzip", &[("content-type", "application/grpc+proto")]),
    ] {
        assert_eq!(compressed(text, coding, headers), (None, text.as_bytes().to_vec()), "{coding} {headers:?}");
    }
    let (encoding, body) = compressed(&long, "gzip", &[("content-encoding", "br")]);
    assert_eq!((encoding.as_deref(), &body[..]), (Some("br"), long.as_bytes()));
}

fn unpacked(coding: &str, body: Vec<u8>) -> Result<Vec<u8>, Rejection> {
    let mut exchange = request("POST", "/prod/a", &[("content-encoding", coding)]);
    exchange.body = Body::full(body);
    run(decode(&mut exchange))?;
    assert_eq!(exchange.headers.contains_key(CONTENT_ENCODING), coding == "identity");
    Ok(run(exchange.body.collect(1 << 24)).unwrap().to_vec())
}

#[test]
fn requests_are_unpacked_within_the_limit() {
    let gzip = |bytes: &[u8]| {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let text = b"{\"hello\": 1}".repeat(50_000);
    assert_eq!(unpacked("gzip", gzip(&text)), Ok(text.clone()));
    assert_eq!(unpacked("X-Gzip", gzip(&text)), Ok(text.clone()));
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(&text).unwrap();
    assert_eq!(unpacked("deflate", zlib.finish().unwrap()), Ok(text.clone()));
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
    raw.write_all(&text).unwrap();
    assert_eq!(unpacked("deflate", raw.finish().unwrap()), Ok(text.clone()));
    assert_eq!(unpacked("identity", text.clone()), Ok(text));
    assert_eq!(unpacked("gzip", Vec::new()), Ok(Vec::new()));

    let most = vec![b'x'; MAX_BODY];
    assert_eq!(unpacked("gzip", gzip(&most)).map(|body| body.len()), Ok(MAX_BODY));
    let bomb = vec![b'x'; MAX_BODY + 1];
    assert_eq!(unpacked("gzip", gzip(&bomb)), Err(Rejection::RequestTooLarge));
    for (coding, body) in [
        ("br", b"x".to_vec()),
        ("gzip, gzip", gzip(b"x")),
        ("gzip", b"plain".to_vec()),
        ("gzip", gzip(b"0123456789")[..15].to_vec()),
        ("deflate", b"plain".to_vec()),
    ] {
        assert_eq!(unpacked(coding, body), Err(Rejection::UnsupportedMediaType), "{coding}");
    }
}
