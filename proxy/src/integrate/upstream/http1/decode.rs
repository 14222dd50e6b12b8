//! The body of an answer, out of its framing.

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::integrate::upstream::http1::Fault;
use crate::integrate::upstream::http1::head::Framing;

/// Digits of a chunk's size, leading zeros among them.
const MAX_DIGITS: u8 = 16;
/// Extensions of all chunks of a body together, which mean nothing to us.
const MAX_EXTENSIONS: u16 = 16 << 10;
/// The trailers of a body.
const MAX_TRAILER_SECTION: usize = 16 << 10;
const MAX_TRAILERS: usize = 64;

/// Takes a body out of its framing, as it comes.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    extensions: u16,
    /// Trailers that have come so far.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This many bytes are missing.
    Length(u64),
    /// All that comes.
    Close,
    /// Within a chunk's size.
    Size {
        size: u64,
        digits: u8,
    },
    /// White space after a chunk's size.
    Space(u64),
    /// Extensions of a chunk.
    Extension(u64),
    /// The line feed after a chunk's size.
    LineFeed(u64),
    /// This many bytes of a chunk are missing.
    Chunk(u64),
    /// What ends a chunk.
    ChunkReturn,
    ChunkFeed,
    Trailers,
    Done,
}

/// What came next.
#[derive(Debug)]
pub enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Nothing without more input.
    More,
    End,
}

impl Decoder {
    /// For a body framed like this.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Upgrade | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
            Framing::Close => State::Close,
        };
        Self { state, extensions: 0, trailers: Vec::new() }
    }

    /// The body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes that are missing, where known.
    pub fn missing(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(length) => Some(length),
            State::Close
            | State::Size { .. }
            | State::Space(_)
            | State::Extension(_)
            | State::LineFeed(_)
            | State::Chunk(_)
            | State::ChunkReturn
            | State::ChunkFeed
            | State::Trailers => None,
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// When the body has not.
    pub fn end(&mut self) -> Result<(), Fault> {
        if !matches!(self.state, State::Close | State::Done) {
            return Err(Fault::Closed);
        }
        self.state = State::Done;
        Ok(())
    }

    /// Takes the next part of the body off the input's beginning. What is left of the input when the body is done does
    /// not belong to it.
    ///
    /// # Errors
    /// When the framing is malformed or too large; nothing can come after that.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Step, Fault> {
        loop {
            match self.state {
                State::Done => return Ok(Step::End),
                _ if input.is_empty() => return Ok(Step::More),
                State::Close => return Ok(Step::Data(std::mem::take(input))),
                State::Length(left) => {
                    let data = up_to(left, input);
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Step::Data(data));
                }
                State::Chunk(left) => {
                    let data = up_to(left, input);
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::ChunkReturn } else { State::Chunk(left) };
                    return Ok(Step::Data(data));
                }
                State::Trailers => {
                    if let Some(trailers) = self.trailers(input)?.filter(|trailers| !trailers.is_empty()) {
                        return Ok(Step::Trailers(trailers));
                    }
                }
                state => self.state = self.within(state, input.get_u8())?,
            }
        }
    }

    /// Finds out whether the body ends with what has come, so that its last part can be handed on as the last.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub fn look_ahead(&mut self, input: &mut Bytes) -> Result<(), Fault> {
        loop {
            match self.state {
                State::Done | State::Close | State::Length(_) | State::Chunk(_) => return Ok(()),
                // With trailers there is something left to hand on.
                State::Trailers if !self.trailers.is_empty() || input.first() != Some(&b'\r') => return Ok(()),
                State::Trailers => {
                    if input.len() < 2 {
                        return Ok(());
                    }
                    self.trailers(input)?;
                }
                _ if input.is_empty() => return Ok(()),
                state => self.state = self.within(state, input.get_u8())?,
            }
        }
    }

    /// One byte of what is between chunks.
    fn within(&mut self, state: State, byte: u8) -> Result<State, Fault> {
        Ok(match (state, byte) {
            (State::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).ok_or(Fault::Chunk("a size is no number"))?;
                if digits == MAX_DIGITS {
                    return Err(Fault::Chunk("a size is too long"));
                }
                // Sixteen digits are 64 bits.
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Fault::Chunk("a size is missing")),
            (State::Size { size, .. } | State::Space(size), b' ' | b'\t') => {
                self.count_extension()?;
                State::Space(size)
            }
            (State::Size { size, .. } | State::Space(size), b';') => State::Extension(size),
            (State::Size { size, .. } | State::Space(size) | State::Extension(size), b'\r') => State::LineFeed(size),
            (State::Size { .. } | State::Space(_), _) => return Err(Fault::Chunk("a size is no number")),
            (State::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => {
                self.count_extension()?;
                State::Extension(size)
            }
            (State::Extension(_), _) => return Err(Fault::Chunk("an extension holds a control character")),
            (State::LineFeed(0), b'\n') => State::Trailers,
            (State::LineFeed(size), b'\n') => State::Chunk(size),
            (State::LineFeed(_), _) => return Err(Fault::Chunk("a size's line does not end")),
            (State::ChunkReturn, b'\r') => State::ChunkFeed,
            (State::ChunkFeed, b'\n') => State::Size { size: 0, digits: 0 },
            (State::ChunkReturn | State::ChunkFeed, _) => return Err(Fault::Chunk("a chunk is longer than its size")),
            (state @ (State::Length(_) | State::Close | State::Chunk(_) | State::Trailers | State::Done), _) => state,
        })
    }

    fn count_extension(&mut self) -> Result<(), Fault> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS {
            return Err(Fault::Chunk("their extensions are too long"));
        }
        Ok(())
    }

    /// Gathers trailers; when they are all there, the body is done.
    fn trailers(&mut self, input: &mut Bytes) -> Result<Option<HeaderMap>, Fault> {
        while !input.is_empty() {
            let line = match memchr::memchr(b'\n', input) {
                Some(end) => input.split_to(end + 1),
                None => std::mem::take(input),
            };
            if self.trailers.len() + line.len() > MAX_TRAILER_SECTION {
                return Err(Fault::Trailers);
            }
            self.trailers.extend_from_slice(&line);
            if self.trailers.ends_with(b"\n") && !self.trailers.ends_with(b"\r\n") {
                return Err(Fault::Trailers);
            }
            if &*self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                self.state = State::Done;
                return fields(&std::mem::take(&mut self.trailers)).map(Some);
            }
        }
        Ok(None)
    }
}

/// At most `most` bytes off the beginning of a non-empty input.
fn up_to(most: u64, input: &mut Bytes) -> Bytes {
    match usize::try_from(most) {
        Ok(most) if most < input.len() => input.split_to(most),
        Ok(_) | Err(_) => std::mem::take(input),
    }
}

/// Trailers as headers. Those that would change the framing are none (RFC 9110, 6.5.1).
fn fields(section: &[u8]) -> Result<HeaderMap, Fault> {
    let mut room = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let Ok(httparse::Status::Complete((length, fields))) = httparse::parse_headers(section, &mut room) else {
        return Err(Fault::Trailers);
    };
    if length != section.len() {
        return Err(Fault::Trailers);
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Fault::Trailers)?;
        if is_trailer(&name) {
            trailers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| Fault::Trailers)?);
        }
    }
    Ok(trailers)
}

/// Whether a field may come after a body.
pub(super) fn is_trailer(name: &HeaderName) -> bool {
    ![CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
}
