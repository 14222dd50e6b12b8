//! Payloads as text and as bytes: `binaryMediaTypes` and `contentHandling`.
//!
//! Source: developer guide, "Content type conversions in API Gateway"; the tables were recorded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bundle::integration::ContentHandling;
use bytes::Bytes;

use crate::live::payload::BinaryTypes;
use crate::live::template::media_type;
use crate::rejection::Rejection;

/// What becomes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// It is text: what is no UTF-8 in it is replaced by U+FFFD.
    Text,
    /// It is base64 and becomes bytes.
    Decode,
    /// It stays the bytes it is.
    Bytes,
    /// It is bytes and becomes base64.
    Encode,
}

/// A payload that is one or the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// UTF-8.
    Text(Bytes),
    Bytes(Bytes),
}

/// What becomes of a request's body on its way to the integration.
pub fn of_request(types: &BinaryTypes, content_type: Option<&str>, handling: Option<ContentHandling>) -> Conversion {
    let binary = !types.is_empty() && types.hold(content_type.map(media_type));
    match (binary, handling) {
        (false, None | Some(ContentHandling::ConvertToText)) => Conversion::Text,
        (false, Some(ContentHandling::ConvertToBinary)) => Conversion::Decode,
        (true, None | Some(ContentHandling::ConvertToBinary)) => Conversion::Bytes,
        (true, Some(ContentHandling::ConvertToText)) => Conversion::Encode,
    }
}

/// What becomes of an integration's answer on its way to the client, whose wish is the first type of its `Accept`.
pub fn of_answer(
    types: &BinaryTypes,
    content_type: Option<&str>,
    accept: Option<&str>,
    handling: Option<ContentHandling>,
) -> Conversion {
    if types.is_empty() {
        return match handling {
            None | Some(ContentHandling::ConvertToText) => Conversion::Text,
            Some(ContentHandling::ConvertToBinary) => Conversion::Decode,
        };
    }
    let binary = types.hold(content_type.map(media_type));
    match (binary, handling) {
        (false, None) if wants_bytes(types, accept) => Conversion::Decode,
        (false, None | Some(ContentHandling::ConvertToText)) => Conversion::Text,
        (false, Some(ContentHandling::ConvertToBinary)) => Conversion::Decode,
        (true, None) if !wants_bytes(types, accept) => Conversion::Encode,
        (true, None | Some(ContentHandling::ConvertToBinary)) => Conversion::Bytes,
        (true, Some(ContentHandling::ConvertToText)) => Conversion::Encode,
    }
}

/// Whether a client takes bytes: the first type of its `Accept` is a binary one.
pub fn wants_bytes(types: &BinaryTypes, accept: Option<&str>) -> bool {
    types.hold(accept.and_then(|accept| accept.split(',').next()).map(media_type))
}

impl Conversion {
    /// Converts a payload.
    ///
    /// # Errors
    /// 500 if it should be base64 and is not.
    pub fn apply(self, payload: Bytes) -> Result<Payload, Rejection> {
        Ok(match self {
            Self::Text => Payload::Text(text(payload)),
            Self::Decode => Payload::Bytes(decode(&payload)?),
            // Nothing is text as well, which templates read.
            Self::Bytes if payload.is_empty() => Payload::Text(payload),
            Self::Bytes => Payload::Bytes(payload),
            Self::Encode => Payload::Text(STANDARD.encode(&payload).into()),
        })
    }
}

impl Payload {
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(bytes) | Self::Bytes(bytes) => bytes,
        }
    }
}

fn text(payload: Bytes) -> Bytes {
    match std::str::from_utf8(&payload) {
        Ok(_) => payload,
        Err(_) => String::from_utf8_lossy(&payload).into_owned().into(),
    }
}

/// # Errors
/// 500 if it is no base64.
pub fn decode(text: &[u8]) -> Result<Bytes, Rejection> {
    STANDARD
        .decode(text.trim_ascii())
        .map(Bytes::from)
        .map_err(|_| Rejection::Configuration("Unable to base64 decode the body.".to_owned()))
}

#[cfg(test)]
mod tests {
    use ContentHandling::{ConvertToBinary, ConvertToText};
    use Conversion::{Bytes as AsBytes, Decode, Encode, Text};

    use super::*;

    fn png() -> BinaryTypes {
        BinaryTypes::parse(&["image/png".to_owned()])
    }

    #[test]
    fn requests() {
        let none = BinaryTypes::default();
        for (types, content_type, expected) in [
            (&none, "image/png", [Text, Decode, Text]),
            (&png(), "text/plain", [Text, Decode, Text]),
            (&png(), "image/png; x=1", [AsBytes, AsBytes, Encode]),
        ] {
            let row = [None, Some(ConvertToBinary), Some(ConvertToText)]
                .map(|handling| of_request(types, Some(content_type), handling));
            assert_eq!(row, expected, "{content_type}");
        }
    }

    #[test]
    fn answers() {
        let none = BinaryTypes::default();
        for (types, content_type, accept, expected) in [
            (&none, "image/png", "image/png", [Text, Decode, Text]),
            (&png(), "binary/octet-stream", "text/plain", [Text, Decode, Text]),
            (&png(), "binary/octet-stream", "image/png", [Decode, Decode, Text]),
            (&png(), "image/png", "text/plain", [Encode, AsBytes, Encode]),
            (&png(), "image/png", "text/html, image/png", [Encode, AsBytes, Encode]),
            (&png(), "image/png", "image/png;q=0.9, text/html", [AsBytes, AsBytes, Encode]),
        ] {
            let row = [None, Some(ConvertToBinary), Some(ConvertToText)]
                .map(|handling| of_answer(types, Some(content_type), Some(accept), handling));
            assert_eq!(row, expected, "{content_type} for {accept}");
        }
    }

    #[test]
    fn conversions() {
        let bytes = |text: &'static [u8]| Bytes::from_static(text);
        assert_eq!(Text.apply(bytes(b"a\xffb")), Ok(Payload::Text("a\u{fffd}b".into())));
        assert_eq!(Decode.apply(bytes(b" YQ== \n")), Ok(Payload::Bytes(bytes(b"a"))));
        assert_eq!(Encode.apply(bytes(b"\xff")), Ok(Payload::Text(bytes(b"/w=="))));
        assert_eq!(AsBytes.apply(bytes(b"\xff")), Ok(Payload::Bytes(bytes(b"\xff"))));
        assert_eq!(AsBytes.apply(bytes(b"")), Ok(Payload::Text(bytes(b""))));
        for text in [&b"this is text"[..], b"YQ", b"\xff"] {
            assert!(Decode.apply(Bytes::copy_from_slice(text)).is_err());
        }
    }
}
