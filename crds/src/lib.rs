//! Stagegate's resource types: what a user writes. Their docs are what `kubectl explain` prints.

#![deny(missing_docs)]
#![allow(clippy::duplicated_attributes, reason = "every printer column has a type")]
#![allow(unreachable_pub, reason = "the derive of a schema with rules repeats its struct inside a function")]

pub mod api_definition;
pub mod backend;
pub mod methods;
mod pattern;
pub mod reference;
pub mod reference_grant;
pub mod stage;
pub mod usage_plan;

pub use api_definition::{ApiDefinition, ApiDefinitionSpec, ApiDefinitionStatus};
pub use stage::{Stage, StageSpec, StageStatus};
pub use usage_plan::{UsagePlan, UsagePlanSpec, UsagePlanStatus};

/// API group of every resource.
pub const GROUP: &str = "stagegate.dev";
/// Version of every resource.
pub const VERSION: &str = "v1alpha1";

/// Names of annotations on a Stage.
pub mod annotation {
    /// Pins the stage to a deployment's number, or to `previous`.
    pub const ROLLBACK_TO: &str = "stagegate.dev/rollback-to";
    /// Deploys by hand, once per distinct value.
    pub const DEPLOY: &str = "stagegate.dev/deploy";
    /// Sends all traffic to the canary's deployment.
    pub const PROMOTE_CANARY: &str = "stagegate.dev/promote-canary";
    /// `"false"` on an API-key Secret switches its keys off.
    pub const ENABLED: &str = "stagegate.dev/enabled";
}
