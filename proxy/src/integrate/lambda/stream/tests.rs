use super::message::{Decoder, Message};
use super::*;

/// A message as Lambda frames it.
fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut named = Vec::new();
    for (name, value) in headers {
        named.push(name.len() as u8);
        named.extend(name.as_bytes());
        named.push(7);
        named.extend((value.len() as u16).to_be_bytes());
        named.extend(value.as_bytes());
    }
    let mut out = Vec::new();
    out.extend((named.len() as u32 + payload.len() as u32 + 16).to_be_bytes());
    out.extend((named.len() as u32).to_be_bytes());
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out.extend(named);
    out.extend(payload);
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

fn event(kind: &str, payload: &[u8]) -> Vec<u8> {
    message(&[(":event-type", kind), (":content-type", "x"), (":message-type", "event")], payload)
}

fn all(bytes: &[u8], step: usize) -> Result<Vec<Message>, &'static str> {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for piece in bytes.chunks(step) {
        decoder.feed(piece);
        while let Some(message) = decoder.next()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

#[test]
fn messages_come_in_pieces_of_any_size() {
    let mut bytes = event("PayloadChunk", b"one");
    bytes.extend(event("Unknown", b"?"));
    bytes.extend(event("PayloadChunk", b""));
    bytes.extend(event("InvokeComplete", b"{}"));
    bytes.extend(event("InvokeComplete", br#"{"ErrorCode": "Boom", "ErrorDetails": "d"}"#));
    bytes.extend(message(&[(":message-type", "exception"), (":exception-type", "Late")], b""));
    let wanted = vec![
        Message::Payload(Bytes::from_static(b"one")),
        Message::Other,
        Message::Payload(Bytes::new()),
        Message::Complete,
        Message::Failed("the function failed: Boom".into()),
        Message::Failed("Late".into()),
    ];
    for step in [1, 7, 1000] {
        assert_eq!(all(&bytes, step).unwrap(), wanted, "{step}");
    }
}

#[test]
fn damage_is_seen() {
    let fine = event("PayloadChunk", b"payload");
    for at in 0..fine.len() {
        let mut bad = fine.clone();
        bad[at] ^= 1;
        assert!(all(&bad, 1000).is_err(), "byte {at}");
    }
    let mut huge = Vec::new();
    huge.extend(u32::MAX.to_be_bytes());
    huge.extend(0u32.to_be_bytes());
    huge.extend(crc32fast::hash(&huge).to_be_bytes());
    assert!(all(&huge, 1000).is_err());
}

async fn begin_with(bytes: Vec<u8>) -> Result<Result<Response<Body>, String>, Rejection> {
    let gates = crate::integrate::lambda::gate::Gates::default();
    let permit = gates.enter(&"f".into()).await.unwrap();
    begin(Answer { body: Body::full(bytes), permit }, Duration::from_secs(1)).await
}

#[tokio::test(flavor = "current_thread")]
async fn a_prelude_may_be_cut_anywhere() {
    let whole = b"{\"statusCode\":201}\0\0\0\0\0\0\0\0body";
    for cut in 1..whole.len() {
        let mut bytes = event("PayloadChunk", &whole[..cut]);
        bytes.extend(event("PayloadChunk", &whole[cut..]));
        bytes.extend(event("InvokeComplete", b"{}"));
        let response = begin_with(bytes).await.unwrap().unwrap();
        assert_eq!(response.status(), 201, "{cut}");
        assert_eq!(response.into_body().collect(100).await.unwrap(), "body", "{cut}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_answer_that_breaks_off_is_no_whole_one() {
    let mut bytes = event("PayloadChunk", b"{}\0\0\0\0\0\0\0\0body");
    let early = begin_with(bytes.clone()).await.unwrap().unwrap();
    assert!(early.into_body().collect(100).await.is_err());
    bytes.extend(event("InvokeComplete", br#"{"ErrorCode": "Boom"}"#));
    let failed = begin_with(bytes).await.unwrap().unwrap();
    assert!(failed.into_body().collect(100).await.is_err());
}

#[tokio::test(flavor = "current_thread")]
async fn without_a_prelude_there_is_no_answer() {
    for bytes in [
        [event("PayloadChunk", br#"{"statusCode": 200}"#), event("InvokeComplete", b"{}")].concat(),
        event("InvokeComplete", br#"{"ErrorCode": "Boom"}"#),
        event("PayloadChunk", &[b'x'; MAX_PRELUDE + 1]),
        event("PayloadChunk", b"text\0\0\0\0\0\0\0\0body"),
    ] {
        assert!(begin_with(bytes).await.unwrap().is_err());
    }
}
