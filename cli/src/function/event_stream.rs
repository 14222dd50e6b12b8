//! `application/vnd.amazon.eventstream`, the framing of streamed answers: big-endian lengths, typed headers, and a
//! CRC-32 over the prelude and another over the whole message.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;

use super::failure::Failure;

pub(super) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// Larger chunks are split: readers buffer a whole message before they use any of it.
const MAX_CHUNK: usize = 128 * 1024;

/// The messages that carry `payload`.
pub(super) fn payload_chunks(mut payload: Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + 128 * (payload.len() / MAX_CHUNK + 1));
    while !payload.is_empty() {
        let chunk = payload.split_to(payload.len().min(MAX_CHUNK));
        put_message(&mut out, "PayloadChunk", "application/octet-stream", &chunk);
    }
    out.freeze()
}

/// The last message: how the call ended. `log` is base64 already.
pub(super) fn invoke_complete(failure: Option<&Failure>, request_id: &str, log: Option<&str>) -> Bytes {
    let mut complete = serde_json::Map::new();
    if let Some(failure) = failure {
        let details = failure.body(request_id);
        complete.insert("ErrorCode".into(), json!(failure.error_type()));
        complete.insert("ErrorDetails".into(), json!(String::from_utf8_lossy(&details)));
    }
    if let Some(log) = log {
        complete.insert("LogResult".into(), json!(log));
    }
    let mut out = BytesMut::new();
    put_message(
        &mut out,
        "InvokeComplete",
        "application/json",
        serde_json::Value::Object(complete).to_string().as_bytes(),
    );
    out.freeze()
}

fn put_message(out: &mut BytesMut, event_type: &str, content_type: &str, payload: &[u8]) {
    let headers = [(":event-type", event_type), (":content-type", content_type), (":message-type", "event")];
    // A header is its name's length (1), the name, its type (1), its value's length (2) and the value.
    let headers_length: usize = headers.iter().map(|(name, value)| 4 + name.len() + value.len()).sum();
    // Two lengths and the prelude's CRC before the headers, the message's CRC after the payload.
    let total = 12 + headers_length + payload.len() + 4;
    let start = out.len();
    out.put_u32(u32::try_from(total).expect("chunks are split and a log is 4 KB, so a message fits"));
    out.put_u32(u32::try_from(headers_length).expect("three short headers"));
    out.put_u32(crc32(&out[start..]));
    for (name, value) in headers {
        out.put_u8(u8::try_from(name.len()).expect("the names are above"));
        out.put_slice(name.as_bytes());
        out.put_u8(STRING);
        out.put_u16(u16::try_from(value.len()).expect("the values are above"));
        out.put_slice(value.as_bytes());
    }
    out.put_slice(payload);
    out.put_u32(crc32(&out[start..]));
}

/// The type tag of a string header.
const STRING: u8 = 7;

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ CRC_TABLE[usize::from(crc as u8 ^ byte)])
}

/// For CRC-32 as Ethernet and gzip have it (reflected polynomial 0xEDB88320).
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_has_its_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    /// Byte for byte what botocore's encoder makes of the same headers and payload.
    #[test]
    fn a_message_is_framed_byte_for_byte() {
        let message = payload_chunks(Bytes::from_static(b"hi"));
        let (prelude, rest) = message.split_at(12);
        assert_eq!(prelude[..4], u32::try_from(message.len()).unwrap().to_be_bytes());
        assert_eq!(prelude[8..], crc32(&prelude[..8]).to_be_bytes());
        assert!(rest.starts_with(b"\x0b:event-type\x07\x00\x0cPayloadChunk"));
        assert_eq!(rest[rest.len() - 6..rest.len() - 4], *b"hi");
        assert_eq!(message[message.len() - 4..], crc32(&message[..message.len() - 4]).to_be_bytes());
    }

    #[test]
    fn large_payloads_are_split_and_empty_ones_say_nothing() {
        assert!(payload_chunks(Bytes::new()).is_empty());
        let messages = payload_chunks(Bytes::from(vec![b'x'; MAX_CHUNK + 1]));
        let first = usize::try_from(u32::from_be_bytes(messages[..4].try_into().unwrap())).unwrap();
        let second = u32::from_be_bytes(messages[first..first + 4].try_into().unwrap());
        assert_eq!(messages.len(), first + usize::try_from(second).unwrap());
    }

    #[test]
    fn the_end_tells_what_went_wrong() {
        let end = invoke_complete(Some(&Failure::Truncated), "id-1", Some("bG9n"));
        let text = String::from_utf8_lossy(&end);
        assert!(text.contains(r#""ErrorCode":"Runtime.TruncatedResponse""#), "{text}");
        assert!(text.contains(r#""LogResult":"bG9n""#), "{text}");
        assert!(String::from_utf8_lossy(&invoke_complete(None, "id-1", None)).contains("{}"));
    }
}
