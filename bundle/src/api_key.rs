//! API keys: who is known, by the SHA-256 of what they show. The keys themselves never travel.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Name of this guard in [`crate::route::Route::requires`]: the request shows, in `x-api-key`, a key of a plan that
/// names the Stage.
pub const GUARD: &str = "api-key";

/// Shortest key, in bytes. Amazon's bound.
pub const MIN_LENGTH: usize = 20;
/// Longest key, in bytes. Amazon's bound.
pub const MAX_LENGTH: usize = 128;

/// SHA-256 of a key. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest(pub [u8; 32]);

/// Keys of one namespace whose digests begin alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysBundle {
    /// Which ones.
    pub shard: KeyShard,
    /// By digest.
    pub keys: BTreeMap<KeyDigest, ApiKey>,
}

/// What all keys of a bundle have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyShard {
    /// Namespace of their Secrets: they open Stages of this namespace only.
    pub namespace: String,
    /// First hexadecimal digits of their digests: none, one or two.
    pub prefix: String,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// `$context.identity.apiKeyId`: `{secret}`, or `{secret}.{entry}`.
    pub id: String,
    /// Names of its plans, in the namespace. Of several that name a Stage the first counts.
    pub plans: Vec<String>,
    /// Names of what a reader must know to accept the key at all; one that misses any takes the key for unknown.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub requires: BTreeSet<String>,
}

impl KeyDigest {
    /// Digest of a key.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The first hexadecimal digits, at most two.
    pub fn prefix(&self, digits: usize) -> String {
        format!("{:02x}", self.0[0]).chars().take(digits).collect()
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Not the digest: whoever reads it could try keys against it.
impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(redacted)")
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        parse(text.as_bytes()).map(Self).ok_or_else(|| D::Error::custom("a digest has 64 hexadecimal digits"))
    }
}

impl fmt::Display for KeyShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, prefix } = self;
        write!(f, "API keys {prefix}* of {namespace}")
    }
}

fn parse(text: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_as_hexadecimal_and_never_shown_by_accident() {
        let digest = KeyDigest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(serde_json::to_value(digest).unwrap(), text);
        assert_eq!(serde_json::from_value::<KeyDigest>(text.into()).unwrap(), digest);
        assert_eq!((digest.prefix(0), digest.prefix(1), digest.prefix(2)), ("".into(), "b".into(), "ba".into()));
        assert_eq!(format!("{digest:?}"), "KeyDigest(redacted)");
        for bad in ["", "ba", &text.replace('f', "x")] {
            assert!(serde_json::from_value::<KeyDigest>(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bundle_survives_its_way() {
        let shard = KeyShard { namespace: "shop".to_owned(), prefix: "b".to_owned() };
        let key = ApiKey { id: "acme".to_owned(), plans: vec!["gold".to_owned()], requires: BTreeSet::new() };
        let bundle = KeysBundle { shard, keys: BTreeMap::from([(KeyDigest::of(b"abc"), key)]) };
        let read: KeysBundle = crate::decode(&crate::encode(&bundle, crate::FORMAT).unwrap()).unwrap();
        assert_eq!(read, bundle);
    }
}
