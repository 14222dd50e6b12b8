//! Any bytes as a backend's answer: no panic, bounds hold, and where the network cuts makes no difference.
#![no_main]

use bytes::{Buf, Bytes};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use proxy::integrate::upstream::http1::Fault;
use proxy::integrate::upstream::http1::decode::{Decoder, Step};
use proxy::integrate::upstream::http1::head::{Asked, Framing, MAX_HEADER_SECTION, parse};

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (flags, cut, bytes) = input;
    let asked = Asked { head: flags & 1 > 0, upgrade: flags & 2 > 0 };
    let mut bytes = Bytes::copy_from_slice(bytes);
    let mut headers = HeaderMap::new();
    let framing = loop {
        let Ok(Some((head, length))) = parse(&bytes, asked, &mut headers) else { return };
        assert!(0 < length && length <= bytes.len() && length <= MAX_HEADER_SECTION);
        // Nothing less than all of it is a head.
        let part = bytes.slice(..length - 1);
        assert!(!matches!(parse(&part, asked, &mut HeaderMap::new()), Ok(Some(_))));
        bytes.advance(length);
        if !head.is_informational() {
            assert!(!(asked.head && matches!(head.framing, Framing::Length(_) | Framing::Chunked | Framing::Close)));
            assert!(asked.upgrade || head.framing != Framing::Upgrade);
            break head.framing;
        }
    };
    let whole = decode(framing, bytes.clone(), bytes.len().max(1), false);
    assert_eq!(whole, decode(framing, bytes.clone(), usize::from(cut).max(1), false));
    if whole.fault.is_none() {
        assert_eq!(whole, decode(framing, bytes, usize::from(cut).max(1), true));
    }
});

#[derive(Debug, PartialEq)]
struct Decoded {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    done: bool,
    left: usize,
    fault: Option<String>,
}

/// Decodes a body that comes in pieces of this length.
fn decode(framing: Framing, bytes: Bytes, piece: usize, ahead: bool) -> Decoded {
    let mut decoder = Decoder::new(framing);
    let mut decoded = Decoded { data: Vec::new(), trailers: None, done: false, left: 0, fault: None };
    'pieces: for piece in bytes.chunks(piece) {
        let mut input = bytes.slice_ref(piece);
        loop {
            match step(&mut decoder, &mut input, ahead) {
                Ok(Step::Data(data)) => {
                    assert!(!data.is_empty());
                    decoded.data.extend_from_slice(&data);
                }
                Ok(Step::Trailers(trailers)) => decoded.trailers = Some(trailers),
                Ok(Step::More | Step::End) => break,
                Err(fault) => {
                    decoded.fault = Some(fault.to_string());
                    break 'pieces;
                }
            }
        }
        decoded.left += input.len();
    }
    decoded.done = decoder.is_done();
    assert!(decoded.done || decoded.left == 0);
    decoded
}

fn step(decoder: &mut Decoder, input: &mut Bytes, ahead: bool) -> Result<Step, Fault> {
    let step = decoder.next(input)?;
    if ahead && matches!(step, Step::Data(_)) {
        decoder.look_ahead(input)?;
    }
    Ok(step)
}
