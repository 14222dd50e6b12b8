//! The contract between whoever compiles (the operator, `stagegate dev`) and whoever serves (the proxy):
//! wire types, codec, digest.
//!
//! A bundle is data, not behaviour: nothing here parses an expression or opens a socket. Whoever reads one
//! turns it into types of its own that cannot be malformed. Bundles name backends, certificates and hashes of
//! keys, so they travel in Secrets.

#![deny(missing_docs)]

pub mod api_key;
pub mod aws;
pub mod codec;
pub mod cors;
pub mod digest;
pub mod host;
pub mod integration;
pub mod mapping;
pub mod object;
pub mod reply;
pub mod route;
pub mod stage;
pub mod subtype;
pub mod usage_plan;
pub mod validation;

use std::sync::Arc;

use serde::Serialize;

pub use api_key::{ApiKey, KeyDigest, KeyShard, KeysBundle};
pub use codec::{DecodeError, EncodeError, Encoded, FORMAT, WRITTEN, decode, encode};
pub use digest::Digest;
pub use host::{BasePath, Certificate, HostBundle, HostTable};
pub use stage::{ApiIdentity, ApiKind, StageBundle, StageKey};
pub use usage_plan::{PlanBundle, PlanKey};

/// Everything one set of proxies serves: what `link` makes and a proxy loads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BundleSet {
    /// One per Stage, in the order of their keys.
    pub stages: Vec<Stamped<StageBundle>>,
    /// One per host, in the order of their names.
    pub hosts: Vec<Stamped<HostBundle>>,
    /// One per UsagePlan that names a Stage, in the order of their keys.
    pub plans: Vec<Stamped<PlanBundle>>,
    /// API keys of these plans, in the order of their shards.
    pub keys: Vec<Stamped<KeysBundle>>,
}

/// A bundle and the digest it was delivered under. A reader that is older or newer than the writer keeps that digest,
/// whatever its own types would make of the content.
#[derive(Debug)]
pub struct Stamped<T> {
    /// Digest of the bundle's JSON as it was written.
    pub digest: Digest,
    /// The bundle.
    pub content: Arc<T>,
}

impl<T: Serialize> Stamped<T> {
    /// Stamps a bundle with the digest of its JSON.
    pub fn new(content: T) -> Self {
        Self { digest: Digest::of_value(&content), content: Arc::new(content) }
    }
}

impl<T> std::ops::Deref for Stamped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.content
    }
}

impl<T> Clone for Stamped<T> {
    fn clone(&self) -> Self {
        Self { digest: self.digest.clone(), content: Arc::clone(&self.content) }
    }
}

/// Equal digests are equal bundles.
impl<T> PartialEq for Stamped<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}
