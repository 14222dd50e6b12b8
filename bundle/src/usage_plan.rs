//! Usage plans: which Stages their keys open.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What identifies a plan: the object's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlanKey {
    /// Namespace of the UsagePlan.
    pub namespace: String,
    /// Name of the UsagePlan.
    pub name: String,
}

/// One plan. Which keys it has is said by the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBundle {
    /// The UsagePlan object.
    pub key: PlanKey,
    /// Names of the Stages it opens, in its namespace.
    pub stages: BTreeSet<String>,
    /// Names of what a reader must know to go by the plan at all; to one that misses any it opens nothing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub requires: BTreeSet<String>,
}

impl fmt::Display for PlanKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
