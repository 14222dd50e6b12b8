//! ReferenceGrant of the Gateway API: a namespace consents to being referred to from another one. Its definition comes
//! with the Gateway API; here is what is read of it.

use serde::{Deserialize, Serialize};

/// Its group.
pub const GROUP: &str = "gateway.networking.k8s.io";
/// Versions that are read; they say the same.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// A ReferenceGrant, as far as it is read. Its namespace is the one that consents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceGrant {
    /// Who may refer to what.
    pub spec: ReferenceGrantSpec,
}

/// Each of `from` may refer to each of `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceGrantSpec {
    /// Who may refer.
    pub from: Vec<GrantFrom>,
    /// To what, in the grant's own namespace.
    pub to: Vec<GrantTo>,
}

/// All objects of a kind in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantFrom {
    /// Group of the kind.
    #[serde(default)]
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
}

/// Objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantTo {
    /// Group of the kind; empty for Kubernetes' own.
    #[serde(default)]
    pub group: String,
    /// The kind.
    pub kind: String,
    /// One object; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
