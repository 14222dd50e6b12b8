//! Messages of `application/vnd.amazon.eventstream`: big-endian lengths, typed headers, a CRC-32 over the lengths and
//! another over the whole.

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;

/// Largest message; Amazon's has 128 KiB of payload, and other senders may take more.
const MAX_MESSAGE: usize = 16 << 20;
/// Two lengths and their checksum.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
/// The type of a header that is a string.
const STRING: u8 = 7;

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A piece of what the function wrote.
    Payload(Bytes),
    /// That was all.
    Complete,
    /// The function failed, or its host did.
    Failed(String),
    /// Something that is not for us.
    Other,
}

/// Takes messages out of a stream of bytes.
#[derive(Default)]
pub(super) struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, if it is there as a whole.
    pub(super) fn next(&mut self) -> Result<Option<Message>, &'static str> {
        let Some(mut prelude) = self.buffer.get(..PRELUDE) else { return Ok(None) };
        let lengths = crc32fast::hash(&prelude[..8]);
        let (total, headers) = (prelude.get_u32() as usize, prelude.get_u32() as usize);
        if prelude.get_u32() != lengths {
            return Err("the checksum of a message's lengths is wrong");
        }
        let most = total.checked_sub(PRELUDE + CHECKSUM).ok_or("a message is shorter than its own framing")?;
        if total > MAX_MESSAGE || headers > most {
            return Err("the lengths of a message are impossible");
        }
        if self.buffer.len() < total {
            self.buffer.reserve(total - self.buffer.len());
            return Ok(None);
        }
        let mut message = self.buffer.split_to(total).freeze();
        let checksum = message.split_off(total - CHECKSUM).get_u32();
        if crc32fast::hash(&message) != checksum {
            return Err("the checksum of a message is wrong");
        }
        message.advance(PRELUDE);
        let headers = message.split_to(headers);
        read(&headers, message).map(Some)
    }
}

fn read(headers: &[u8], payload: Bytes) -> Result<Message, &'static str> {
    let (mut kind, mut event) = (None, None);
    each_string(headers, |name, value| match name {
        b":message-type" => kind = Some(value),
        b":event-type" | b":exception-type" => event = Some(value),
        _ => {}
    })
    .ok_or("the headers of a message are cut off, or of an unknown type")?;
    let event = event.unwrap_or_default();
    Ok(match (kind.unwrap_or(b"event"), event) {
        (b"event", b"PayloadChunk") => Message::Payload(payload),
        (b"event", b"InvokeComplete") => complete(&payload),
        (b"event", _) => Message::Other,
        _ => Message::Failed(String::from_utf8_lossy(event).into_owned()),
    })
}

/// Reads headers: name and value each with its length. `None` if they are malformed.
fn each_string<'a>(mut headers: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
    while let Some((&length, rest)) = headers.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (&kind, rest) = rest.split_first()?;
        let fixed = match kind {
            // Booleans have no value; numbers, times and UUIDs have a known length; bytes and strings say theirs.
            0 | 1 => 0,
            2 => 1,
            3 => 2,
            4 => 4,
            5 | 8 => 8,
            9 => 16,
            6 | STRING => {
                let (length, _) = rest.split_first_chunk::<2>()?;
                2 + usize::from(u16::from_be_bytes(*length))
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(fixed)?;
        if kind == STRING {
            each(name, value.get(2..)?);
        }
        headers = rest;
    }
    Some(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InvokeComplete {
    #[serde(default)]
    error_code: Option<String>,
}

fn complete(payload: &[u8]) -> Message {
    match serde_json::from_slice(payload) {
        Ok(InvokeComplete { error_code: Some(code) }) => Message::Failed(format!("the function failed: {code}")),
        Ok(InvokeComplete { error_code: None }) | Err(_) => Message::Complete,
    }
}
