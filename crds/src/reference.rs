//! References from one object to another in the same namespace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// An object by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameRef {
    /// Name of the object, in the same namespace.
    #[schemars(length(max = 253), regex(pattern = pattern::OBJECT))]
    pub name: String,
}

/// A Secret by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Name of the Secret, in the same namespace.
    #[schemars(length(max = 253), regex(pattern = pattern::OBJECT))]
    pub secret_name: String,
}

/// One key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap, in the same namespace.
    #[schemars(length(max = 253), regex(pattern = pattern::OBJECT))]
    pub name: String,
    /// Key in its `data`, or in its `binaryData` (gzip is unpacked).
    #[schemars(length(max = 253), regex(pattern = pattern::KEY))]
    pub key: String,
}
