//! Every rule of framing, and that it does not matter where the network cuts.

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;

use super::Fault;
use super::decode::{Decoder, Step};
use super::head::{Asked, Framing, Head, MAX_HEADER_SECTION, parse};

fn read(text: &str) -> Result<Option<(Head, usize, HeaderMap)>, Fault> {
    read_for(Asked::default(), text)
}

fn read_for(asked: Asked, text: &str) -> Result<Option<(Head, usize, HeaderMap)>, Fault> {
    let mut headers = HeaderMap::new();
    let parsed = parse(&Bytes::copy_from_slice(text.as_bytes()), asked, &mut headers)?;
    Ok(parsed.map(|(head, length)| (head, length, headers)))
}

/// The head of an answer with this status and these header lines.
fn head(status: u16, lines: &[&str]) -> Result<Head, Fault> {
    head_for(Asked::default(), status, lines)
}

fn head_for(asked: Asked, status: u16, lines: &[&str]) -> Result<Head, Fault> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let parsed = read_for(asked, &format!("HTTP/1.1 {status} x\r\n{lines}\r\n"))?;
    Ok(parsed.expect("a whole head").0)
}

fn framing(status: u16, lines: &[&str]) -> Framing {
    head(status, lines).expect("a head").framing
}

#[test]
fn a_head_is_status_and_headers_and_ends_where_it_ends() {
    let (head, length, headers) =
        read("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-A:  1 \r\nx-a: 2\r\n\r\nno").unwrap().unwrap();
    assert_eq!(head, Head { status: StatusCode::NOT_FOUND, framing: Framing::Length(2), keep_alive: true });
    assert_eq!(length, 63, "without the body");
    assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn rows_of_framing() {
    let head_method = Asked { head: true, upgrade: false };
    assert_eq!(framing(200, &["content-length: 5"]), Framing::Length(5));
    assert_eq!(framing(200, &["content-length: 0"]), Framing::Length(0));
    assert_eq!(framing(200, &["content-length: 18446744073709551615"]), Framing::Length(u64::MAX));
    assert_eq!(framing(200, &["transfer-encoding: chunked"]), Framing::Chunked);
    assert_eq!(framing(200, &["Transfer-Encoding: CHUNKED"]), Framing::Chunked);
    assert_eq!(framing(200, &[]), Framing::Close);
    for status in [100, 103, 204, 304] {
        assert_eq!(framing(status, &["content-length: 5"]), Framing::Empty, "{status}");
    }
    for line in ["content-length: 5", "transfer-encoding: chunked", "x: 1"] {
        assert_eq!(head_for(head_method, 200, &[line]).unwrap().framing, Framing::Empty, "{line}");
    }
}

#[test]
fn rows_of_lengths_that_are_none() {
    for value in ["", "+5", "-1", "5 5", "5,5", "5, 5", "0x5", "5.0", "18446744073709551616", "５"] {
        let found = head(200, &[&format!("content-length: {value}")]);
        assert!(matches!(found, Err(Fault::ContentLength)), "{value:?}: {found:?}");
    }
    // Twice the same, too: one of the two hops before us may have read the other.
    for second in ["5", "6"] {
        let found = head(200, &["content-length: 5", &format!("Content-Length: {second}")]);
        assert!(matches!(found, Err(Fault::ContentLength)), "{found:?}");
    }
    // Also where no body follows: the client is told this number.
    assert!(matches!(head(304, &["content-length: x"]), Err(Fault::ContentLength)));
}

#[test]
fn rows_of_encodings_that_are_not_understood() {
    for lines in [
        &["transfer-encoding: gzip"][..],
        &["transfer-encoding: gzip, chunked"],
        &["transfer-encoding: chunked, chunked"],
        &["transfer-encoding: chunked", "transfer-encoding: chunked"],
        &["transfer-encoding: identity"],
        &["transfer-encoding: xchunked"],
        &["transfer-encoding:"],
        &["transfer-encoding: chunked", "content-length: 5"],
        &["content-length: 5", "transfer-encoding: chunked"],
    ] {
        let found = head(200, lines);
        assert!(matches!(found, Err(Fault::TransferEncoding)), "{lines:?}: {found:?}");
    }
    let old = read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(matches!(old, Err(Fault::TransferEncoding)), "{old:?}");
}

#[test]
fn rows_of_staying() {
    let stays = |text: &str| read(text).expect("a head").expect("whole").0.keep_alive;
    assert!(stays("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(stays("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x\r\n\r\n"));
    assert!(!stays("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"));
    assert!(!stays("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x,  close\r\n\r\n"));
    assert!(!stays("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n"));
    assert!(!stays("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(stays("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"));
    assert!(!stays("HTTP/1.1 200 OK\r\n\r\n"), "its body ends with the connection");
}

#[test]
fn leaving_http_must_have_been_asked_for() {
    let asked = Asked { head: false, upgrade: true };
    assert_eq!(head_for(asked, 101, &["upgrade: x"]).unwrap().framing, Framing::Upgrade);
    assert!(matches!(head(101, &["upgrade: x"]), Err(Fault::Upgrade)));
    assert_eq!(head_for(asked, 200, &["content-length: 1"]).unwrap().framing, Framing::Length(1));
}

#[test]
fn heads_that_are_malformed() {
    for text in [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc: d\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
    ] {
        assert!(matches!(read(text), Err(Fault::Head(_))), "{text:?}: {:?}", read(text));
    }
}

#[test]
fn heads_are_bounded() {
    let many: Vec<String> = (0..101).map(|number| format!("x{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(head(200, &many[..100]).is_ok());
    assert!(matches!(head(200, &many), Err(Fault::Head(httparse::Error::TooManyHeaders))));
    let long = format!("x: {}", "y".repeat(MAX_HEADER_SECTION));
    assert!(matches!(head(200, &[&long]), Err(Fault::HeadTooLarge)));
}

#[test]
fn a_part_of_a_head_is_none() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    for end in 0..whole.len() {
        assert!(matches!(read(&whole[..end]), Ok(None)), "{:?}", &whole[..end]);
        assert!(!super::head::may_end(&whole.as_bytes()[..end]), "{:?}", &whole[..end]);
    }
    assert!(super::head::may_end(whole.as_bytes()));
    assert!(super::head::may_end(b"\n\r\n"));
    assert!(super::head::may_end(b"x\n\nx"));
}

/// What came out of a body: bytes, trailers, and whether it is complete.
#[derive(Debug, Default, PartialEq)]
struct Decoded {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    done: bool,
    /// What was not the body's.
    left: Vec<u8>,
}

/// Decodes pieces as they come, and says what went wrong.
fn decode<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>, ahead: bool) -> (Decoded, Option<String>) {
    let mut decoder = Decoder::new(framing);
    let mut decoded = Decoded::default();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Step::Data(data)) => {
                    decoded.data.extend_from_slice(&data);
                    if ahead && let Err(fault) = decoder.look_ahead(&mut input) {
                        return (decoded, Some(fault.to_string()));
                    }
                }
                Ok(Step::Trailers(trailers)) => decoded.trailers = Some(trailers),
                Ok(Step::More | Step::End) => break,
                Err(fault) => return (decoded, Some(fault.to_string())),
            }
        }
        decoded.left.extend_from_slice(&input);
    }
    decoded.done = decoder.is_done();
    (decoded, None)
}

fn chunked(text: &str) -> (Decoded, Option<String>) {
    decode(Framing::Chunked, [text.as_bytes()], false)
}

#[test]
fn a_length_is_counted_and_what_follows_is_left() {
    let (decoded, fault) = decode(Framing::Length(5), [&b"he"[..], b"llo, next"], false);
    assert_eq!((&*decoded.data, &*decoded.left, decoded.done, fault), (&b"hello"[..], &b", next"[..], true, None));
    assert_eq!(Decoder::new(Framing::Length(5)).missing(), Some(5));
    assert!(Decoder::new(Framing::Length(0)).is_done());
}

#[test]
fn only_a_body_that_ends_with_its_connection_may_end_with_it() {
    assert!(Decoder::new(Framing::Close).end().is_ok());
    for framing in [Framing::Length(1), Framing::Chunked] {
        assert!(matches!(Decoder::new(framing).end(), Err(Fault::Closed)), "{framing:?}");
    }
    let mut decoder = Decoder::new(Framing::Chunked);
    let mut input = Bytes::from_static(b"0\r\nx: 1\r\n");
    assert!(matches!(decoder.next(&mut input), Ok(Step::More)));
    assert!(matches!(decoder.end(), Err(Fault::Closed)), "within trailers");
}

#[test]
fn rows_of_chunks() {
    for (text, data, left) in [
        ("0\r\n\r\n", "", ""),
        ("5\r\nhello\r\n0\r\n\r\nHTTP", "hello", "HTTP"),
        ("A\r\n0123456789\r\n0000000000000000\r\n\r\n", "0123456789", ""),
        ("2;a=b;c=\"d\"\r\nab\r\n1 \t;x\r\nc\r\n0;last\r\n\r\n", "abc", ""),
        ("2 \r\nab\r\n0\r\n\r\n", "ab", ""),
    ] {
        let (decoded, fault) = chunked(text);
        assert_eq!(fault, None, "{text:?}");
        assert_eq!(
            (&*decoded.data, &*decoded.left, decoded.done),
            (data.as_bytes(), left.as_bytes(), true),
            "{text:?}"
        );
        assert_eq!(decoded.trailers, None, "{text:?}");
    }
}

#[test]
fn rows_of_chunks_that_are_none() {
    for text in [
        "\r\n",
        ";x\r\n",
        " 5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5 5\r\nhello\r\n",
        "5\nhello\r\n",
        "5\rhello\r\n",
        "5;a\nhello\r\n",
        "5;a\0\r\nhello\r\n",
        "00000000000000005\r\nhello\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "-1\r\n",
        "0\r\n\n",
        "0\r\nx: 1\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nx: 1\r\n folded\r\n\r\n",
        "0\r\n\rX: 1\r\n\r\n",
    ] {
        let (decoded, fault) = chunked(text);
        assert!(fault.is_some(), "{text:?}: {decoded:?}");
    }
}

#[test]
fn what_is_between_chunks_is_bounded() {
    let long = format!("1;{}\r\na\r\n", "x".repeat(17 << 10));
    assert!(chunked(&long).1.unwrap().contains("too long"));
    // Together, not each.
    let many = format!("1;{}\r\na\r\n", "x".repeat(1 << 10)).repeat(17);
    assert!(chunked(&many).1.unwrap().contains("too long"));
    let spaces = format!("1{}\r\n", " ".repeat(17 << 10));
    assert!(chunked(&spaces).1.unwrap().contains("too long"));
    let endless = format!("0\r\nx: {}", "y".repeat(17 << 10));
    assert!(chunked(&endless).1.unwrap().contains("trailers"));
    let lines = format!("0\r\n{}\r\n", "x: 1\r\n".repeat(65));
    assert!(chunked(&lines).1.unwrap().contains("trailers"));
}

#[test]
fn trailers_come_last_without_those_that_frame() {
    let text = "1\r\na\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nx-sum: 8\r\n\r\nleft";
    let (decoded, fault) = chunked(text);
    assert_eq!((fault, &*decoded.left), (None, &b"left"[..]));
    let trailers = decoded.trailers.unwrap();
    assert_eq!(trailers.keys_len(), 1);
    assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["7", "8"]);
}

#[test]
fn looking_ahead_finds_the_end_but_no_trailers() {
    let ahead = |text: &'static str| {
        let mut decoder = Decoder::new(Framing::Chunked);
        let mut input = Bytes::from_static(text.as_bytes());
        assert!(matches!(decoder.next(&mut input), Ok(Step::Data(_))), "{text:?}");
        decoder.look_ahead(&mut input).map(|()| decoder.is_done())
    };
    assert!(ahead("1\r\na\r\n0\r\n\r\n").unwrap());
    for text in ["1\r\na", "1\r\na\r\n0\r\n", "1\r\na\r\n0\r\n\r", "1\r\na\r\n0\r\nx: 1\r\n\r\n", "1\r\na\r\n1\r\nb"] {
        assert!(!ahead(text).unwrap(), "{text:?}");
    }
    assert!(ahead("1\r\naX").is_err());
}

/// A body in chunks, as bytes and as what it says.
fn bodies() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, bool)> {
    let extension = prop_oneof![3 => Just(String::new()), 1 => " ?;[a-z=\" ]{0,9}"];
    let chunk = (prop::collection::vec(any::<u8>(), 1..40), extension);
    (prop::collection::vec(chunk, 0..6), any::<bool>()).prop_map(|(chunks, trailers)| {
        let (mut wire, mut data) = (Vec::new(), Vec::new());
        for (bytes, extension) in chunks {
            wire.extend_from_slice(format!("{:X}{extension}\r\n", bytes.len()).as_bytes());
            wire.extend_from_slice(&bytes);
            wire.extend_from_slice(b"\r\n");
            data.extend_from_slice(&bytes);
        }
        wire.extend_from_slice(if trailers { b"0\r\na: 1\r\nb: 2\r\n\r\n" } else { b"0\r\n\r\n" });
        (wire, data, trailers)
    })
}

/// `bytes` cut at these places.
fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn chunks_come_out_whole_wherever_they_are_cut(
        (wire, data, trailers) in bodies(),
        next in prop::collection::vec(any::<u8>(), 0..9),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
        ahead in any::<bool>(),
    ) {
        let whole: Vec<u8> = wire.iter().chain(&next).copied().collect();
        let (decoded, fault) = decode(Framing::Chunked, cut(&whole, &cuts), ahead);
        prop_assert_eq!(fault, None);
        prop_assert_eq!(decoded.data, data);
        prop_assert_eq!(decoded.trailers.map_or(0, |trailers| trailers.len()), if trailers { 2 } else { 0 });
        prop_assert!(decoded.done);
        prop_assert_eq!(decoded.left, next);
    }

    /// Also of what is broken: the same bytes come out, and the same fault.
    #[test]
    fn broken_chunks_are_as_broken_wherever_they_are_cut(
        (mut wire, _, _) in bodies(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
    ) {
        let at = at.index(wire.len());
        wire[at] = byte;
        prop_assert_eq!(
            decode(Framing::Chunked, [&*wire], false),
            decode(Framing::Chunked, cut(&wire, &cuts), false)
        );
    }

    #[test]
    fn any_bytes_are_a_head_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let whole = [b"HTTP/1.1 200 OK\r\n", &*bytes, b"\r\n\r\n"].concat();
        for bytes in [bytes, whole] {
            let mut bytes = Bytes::from(bytes);
            let mut headers = HeaderMap::new();
            if let Ok(Some((_, length))) = parse(&bytes, Asked::default(), &mut headers) {
                prop_assert!(length <= bytes.len());
                bytes.advance(length);
            }
        }
    }
}
