//! One host name: its certificate and which Stage answers under which base path. Hosts are shared by Stages, so
//! a certificate that is rotated rewrites one object.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stage::StageKey;

/// Name of the guard in [`HostBundle::requires`] that asks for client certificates.
pub const CLIENT_CA: &str = "clientCA";

/// One host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostBundle {
    /// Lower case, without port: `api.example.com`, `*.example.com` (one label), or `*` for hosts nobody else claims.
    pub host: String,
    /// What TLS shows for it.
    pub certificate: Certificate,
    /// Set: answers 500 under every path, with this reason, because a setting that decides who may call is not
    /// enforced (fail closed).
    #[serde(default)]
    pub refuse: Option<crate::route::Refusal>,
    /// Names of what a reader must know to serve this host at all, as [`crate::Route::requires`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub requires: BTreeSet<String>,
    /// Certificates, as PEM, of those who certify its clients: whoever has no certificate of theirs gets no connection.
    /// With it `requires` names [`CLIENT_CA`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
    /// Who answers.
    pub table: HostTable,
}

/// What TLS shows for a host.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Certificate {
    /// A leaf of the proxy's own local CA, or its default certificate.
    Local,
    /// From a `kubernetes.io/tls` Secret.
    Pem {
        /// Certificate chain, leaf first.
        chain: String,
        /// Private key. Never printed.
        key: String,
    },
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("Local"),
            Self::Pem { .. } => f.write_str("Pem(redacted)"),
        }
    }
}

/// Who answers under a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HostTable {
    /// A default host: the first path segment names the stage.
    Default {
        /// By stage name.
        stages: BTreeMap<String, StageKey>,
    },
    /// A custom host: the longest base path wins and is cut off.
    Custom {
        /// In any order; no two have the same path.
        base_paths: Vec<BasePath>,
    },
}

/// One base path of a custom host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasePath {
    /// `/` or `/orders/v2`: no trailing slash, ends at a segment.
    pub path: String,
    /// Who answers.
    pub stage: StageKey,
}
