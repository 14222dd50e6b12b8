//! Bundles as bytes: JSON in zstd, with a format number and a digest beside them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;

/// Format this crate writes. A reader takes this one and the one before.
pub const FORMAT: u32 = 1;

/// Formats that this crate can write, ascending: the newest, and the one before for readers that are not renewed yet.
pub const WRITTEN: &[u32] = &[FORMAT];

/// Largest bundle, unpacked: 32 MiB. The compiler refuses what is larger.
pub const MAX_BYTES: usize = 32 << 20;

/// A bundle ready to travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Format of the payload.
    pub format: u32,
    /// Digest of the unpacked payload.
    pub digest: Digest,
    /// JSON in zstd.
    pub payload: Vec<u8>,
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It is larger than [`MAX_BYTES`].
    #[error("the bundle is {0} bytes, more than the {MAX_BYTES} a proxy reads")]
    TooLarge(usize),
    /// No format of [`WRITTEN`].
    #[error("bundles of format {0} are not written here")]
    Format(u32),
    /// It cannot be JSON.
    #[error("the bundle cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It cannot be compressed.
    #[error("the bundle cannot be compressed: {0}")]
    Compress(#[from] std::io::Error),
}

/// Why a bundle could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by something newer or much older.
    #[error("the bundle has format {0}; this reader knows {FORMAT} and the one before")]
    Format(u32),
    /// Not zstd, or larger than [`MAX_BYTES`] when unpacked.
    #[error("the bundle cannot be unpacked: {0}")]
    Unpack(#[from] std::io::Error),
    /// The payload is not what its digest says.
    #[error("the bundle's content has digest {found}, not {wanted}")]
    Digest {
        /// What stands beside it.
        wanted: Digest,
        /// What it has.
        found: Digest,
    },
    /// Not a bundle of the expected kind.
    #[error("the bundle is malformed: {0}")]
    Json(#[from] serde_json::Error),
}

/// Packs a bundle in a format that its readers know.
///
/// # Errors
/// When the format is not written here, or the bundle is too large or cannot be written.
pub fn encode(bundle: &impl Serialize, format: u32) -> Result<Encoded, EncodeError> {
    if !WRITTEN.contains(&format) {
        return Err(EncodeError::Format(format));
    }
    let json = serde_json::to_vec(bundle)?;
    if json.len() > MAX_BYTES {
        return Err(EncodeError::TooLarge(json.len()));
    }
    Ok(Encoded { format, digest: Digest::of(&json), payload: zstd::bulk::compress(&json, 3)? })
}

/// Unpacks a bundle.
///
/// # Errors
/// When the format is unknown, or the bytes are not what they claim to be.
pub fn decode<T: DeserializeOwned>(encoded: &Encoded) -> Result<T, DecodeError> {
    if !(FORMAT.saturating_sub(1)..=FORMAT).contains(&encoded.format) || encoded.format == 0 {
        return Err(DecodeError::Format(encoded.format));
    }
    let json = zstd::bulk::decompress(&encoded.payload, MAX_BYTES)?;
    let found = Digest::of(&json);
    if found != encoded.digest {
        return Err(DecodeError::Digest { wanted: encoded.digest.clone(), found });
    }
    Ok(serde_json::from_slice(&json)?)
}
