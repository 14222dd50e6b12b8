//! The contract between whoever compiles (the operator, `stagegate dev`) and whoever serves (the proxy):
//! wire types, codec, digest.
//!
//! A bundle is data, not behaviour: nothing here parses an expression or opens a socket. Whoever reads one
//! turns it into types of its own that cannot be malformed. Bundles name backends, certificates and hashes of
//! keys, so they travel in Secrets.

#![deny(missing_docs)]

pub mod aws;
pub mod codec;
pub mod cors;
pub mod digest;
pub mod host;
pub mod integration;
pub mod mapping;
pub mod reply;
pub mod route;
pub mod stage;
pub mod subtype;
pub mod validation;

pub use codec::{DecodeError, EncodeError, Encoded, FORMAT, decode, encode};
pub use digest::Digest;
pub use host::{BasePath, Certificate, HostBundle, HostTable};
pub use stage::{ApiIdentity, ApiKind, StageBundle, StageKey};

/// Everything one set of proxies serves: what `link` makes and a proxy loads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BundleSet {
    /// One per Stage, in the order of their keys.
    pub stages: Vec<std::sync::Arc<StageBundle>>,
    /// One per host, in the order of their names.
    pub hosts: Vec<std::sync::Arc<HostBundle>>,
}
