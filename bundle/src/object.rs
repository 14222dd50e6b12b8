//! Bundles as Kubernetes Secrets: names, labels and data of the objects between the operator and the proxies.
//!
//! A bundle is one *index* Secret. It holds the payload itself while that is small, so a change is one write and one
//! watch event; a larger one lists immutable *part* Secrets, which are written before it. Readers act only on an index
//! whose parts are all there.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api_key::KeyShard;
use crate::codec::Encoded;
use crate::digest::Digest;
use crate::stage::StageKey;
use crate::usage_plan::PlanKey;

/// Type of an index Secret.
pub const INDEX_TYPE: &str = "stagegate.dev/bundle";
/// Type of a part Secret.
pub const PART_TYPE: &str = "stagegate.dev/bundle-part";
/// Label with the name of the gateway whose proxies load the bundle; on parts too.
pub const GATEWAY_LABEL: &str = "stagegate.dev/gateway";
/// Label with the kind: `stage`, `host`, `plan`, `keys` or `part`.
pub const KIND_LABEL: &str = "stagegate.dev/bundle";
/// Key of an index Secret's data that holds the [`Index`] as JSON.
pub const INDEX_KEY: &str = "index";
/// Key of a Secret's data that holds a payload or a part of one.
pub const PAYLOAD_KEY: &str = "payload";
/// Largest payload inside an index, and size of a part: 512 KiB.
pub const PART_BYTES: usize = 512 << 10;

/// What a bundle object is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// A [`crate::StageBundle`].
    Stage(StageKey),
    /// A [`crate::HostBundle`], by its host name.
    Host(String),
    /// A [`crate::PlanBundle`].
    Plan(PlanKey),
    /// A [`crate::KeysBundle`].
    Keys(KeyShard),
}

/// What an index Secret says about a bundle; readable without its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// What it is about.
    pub subject: Subject,
    /// Format of the payload.
    pub format: u32,
    /// Digest of the unpacked payload.
    pub digest: Digest,
    /// Number of the live deployment, of a stage: the truth, from which a Stage's status is derived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<u64>,
    /// Name of the ApiDefinition that `deployment` is of: a Stage that is given another one has none of that yet.
    /// Default: unknown, as written before there was this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// What the annotation `stagegate.dev/rollback-to` said when the deployment was chosen: `previous` is resolved
    /// once and kept while it says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// Digest of the value of the annotation `stagegate.dev/deploy` that was acted upon last: it is written with what it
    /// brought about, so that no other leader acts upon it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled_deploy: Option<Digest>,
    /// Namespace and name of the Secret that a host's certificate is from: while that is missing, what it was last goes
    /// on being shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Names of the Secrets that hold the payload, in order; none when it stands beside the index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

/// A bundle as the data of Secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed {
    /// Data of the index Secret.
    pub index: BTreeMap<String, Vec<u8>>,
    /// Part Secrets, by name, to be written before the index: the bytes of their [`PAYLOAD_KEY`].
    pub parts: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} parts)", self.parts.len())
    }
}

/// Why the data of an index Secret could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// A key is missing.
    #[error("the Secret has no `{0}`")]
    Missing(&'static str),
    /// The index is not what it should be.
    #[error("the index is malformed: {0}")]
    Index(#[from] serde_json::Error),
    /// A part is not there yet, or no longer.
    #[error("the part `{0}` is not there")]
    Part(String),
}

impl Subject {
    /// `stage`, `host`, `plan` or `keys`: value of [`KIND_LABEL`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stage(_) => "stage",
            Self::Host(_) => "host",
            Self::Plan(_) => "plan",
            Self::Keys(_) => "keys",
        }
    }

    /// Name of the index Secret: `sg-{kind}-{16 digits}`. It depends on the gateway, since gateways may share a
    /// namespace for bundles and each may serve a host of that name, or a Stage of that plan; only a Stage is served by
    /// one gateway at a time.
    pub fn object_name(&self, gateway: &str) -> String {
        let text = match self {
            Self::Stage(key) => key.to_string(),
            Self::Host(host) => format!("{gateway}/{host}"),
            Self::Plan(key) => format!("{gateway}/{key}"),
            Self::Keys(KeyShard { namespace, prefix }) => format!("{gateway}/{namespace}/{prefix}"),
        };
        format!("sg-{}-{}", self.kind(), hash(text.as_bytes()))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(key) => write!(f, "Stage {key}"),
            Self::Host(host) => write!(f, "host {host}"),
            Self::Plan(key) => write!(f, "UsagePlan {key}"),
            Self::Keys(shard) => shard.fmt(f),
        }
    }
}

impl Index {
    /// About a subject whose payload this is, and nothing else yet.
    pub fn new(subject: Subject, format: u32, digest: Digest) -> Self {
        Self {
            subject,
            format,
            digest,
            deployment: None,
            api: None,
            pin: None,
            handled_deploy: None,
            certificate: None,
            parts: Vec::new(),
        }
    }

    /// Name of the ApiDefinition that it is of, if that is known and another one than this.
    pub fn of_another(&self, api: &str) -> Option<&str> {
        self.api.as_deref().filter(|own| *own != api)
    }

    /// The index and payload as the data of Secrets. `parts` of the index is set as the payload's size demands.
    pub fn pack(mut self, payload: Vec<u8>) -> Packed {
        let mut parts = BTreeMap::new();
        let mut index = BTreeMap::new();
        self.parts.clear();
        if payload.len() <= PART_BYTES {
            index.insert(PAYLOAD_KEY.to_owned(), payload);
        } else {
            for part in payload.chunks(PART_BYTES) {
                // Named by content: a part that did not change is not written again, and never overwritten.
                let name = format!("sg-part-{}", hash(part));
                self.parts.push(name.clone());
                parts.insert(name, part.to_vec());
            }
        }
        // An index has string keys only, so it always serialises.
        index.insert(INDEX_KEY.to_owned(), serde_json::to_vec(&self).unwrap_or_default());
        Packed { index, parts }
    }

    /// Reads the index of a Secret's data.
    ///
    /// # Errors
    /// When it is missing or malformed.
    pub fn read<'a>(data: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Self, ObjectError> {
        Ok(serde_json::from_slice(data(INDEX_KEY).ok_or(ObjectError::Missing(INDEX_KEY))?)?)
    }

    /// The payload, from the same Secret's data or from its parts.
    ///
    /// # Errors
    /// When something is not there.
    pub fn payload<'a>(
        &self,
        data: impl Fn(&str) -> Option<&'a [u8]>,
        part: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Result<Encoded, ObjectError> {
        let payload = if self.parts.is_empty() {
            data(PAYLOAD_KEY).ok_or(ObjectError::Missing(PAYLOAD_KEY))?.to_vec()
        } else {
            let mut whole = Vec::new();
            for name in &self.parts {
                whole.extend_from_slice(part(name).ok_or_else(|| ObjectError::Part(name.clone()))?);
            }
            whole
        };
        Ok(Encoded { format: self.format, digest: self.digest.clone(), payload })
    }
}

/// The first 16 digits of the SHA-256: enough for a name.
fn hash(bytes: &[u8]) -> String {
    Digest::of(bytes).as_str().get(..16).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let key = StageKey { namespace: "shop".to_owned(), name: "orders-prod".to_owned() };
        let subject = Subject::Stage(key);
        Index { deployment: Some(7), ..Index::new(subject, 1, Digest::of(b"x")) }
    }

    #[test]
    fn a_small_payload_stands_beside_its_index() {
        let packed = index().pack(vec![1, 2, 3]);
        assert!(packed.parts.is_empty());
        let data = |key: &str| packed.index.get(key).map(Vec::as_slice);
        let read = Index::read(data).unwrap();
        assert_eq!(read, index());
        assert_eq!(read.payload(data, |_| None).unwrap().payload, [1, 2, 3]);
    }

    #[test]
    fn a_large_payload_is_cut_into_parts_that_are_joined_in_order() {
        let payload: Vec<u8> = (0..PART_BYTES * 2 + 7).map(|number| (number / 999) as u8).collect();
        let packed = index().pack(payload.clone());
        assert_eq!(packed.parts.len(), 3);
        let data = |key: &str| packed.index.get(key).map(Vec::as_slice);
        let read = Index::read(data).unwrap();
        let part = |name: &str| packed.parts.get(name).map(Vec::as_slice);
        assert_eq!(read.payload(data, part).unwrap().payload, payload);
        let missing = read.payload(data, |_| None).unwrap_err().to_string();
        assert_eq!(missing, format!("the part `{}` is not there", read.parts[0]));
    }

    #[test]
    fn names_are_of_fixed_length_and_hosts_differ_by_gateway() {
        let host = Subject::Host("api.example.com".to_owned());
        assert_eq!(host.object_name("a").len(), "sg-host-".len() + 16);
        assert_ne!(host.object_name("a"), host.object_name("b"));
        let stage = index().subject;
        assert_eq!(stage.object_name("a"), stage.object_name("b"));
    }

    #[test]
    fn an_index_that_is_none_says_so() {
        assert_eq!(Index::read(|_| None).unwrap_err().to_string(), "the Secret has no `index`");
        assert!(Index::read(|_| Some(b"{}".as_slice())).unwrap_err().to_string().starts_with("the index is malformed"));
    }
}
