//! The control plane: from resources in the cluster to bundles that proxies load.
//!
//! [`collect`] tells what there is, [`operator`] decides, compiles and links what that changed, [`deliver`] writes it for
//! the proxies, [`report`] tells people. Only the leader ([`lease`]) writes.

#![deny(missing_docs)]

pub mod acknowledge;
pub mod certificates;
pub mod collect;
pub mod config;
pub mod deliver;
pub mod deploy;
pub mod lease;
pub mod metrics;
pub mod operator;
pub mod report;
pub mod state;

pub use operator::{Operator, Settings};

/// Who writes, as `managedFields` tells.
pub const MANAGER: &str = "stagegate-operator";

/// This second, as Kubernetes writes it.
pub(crate) fn now() -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    k8s_openapi::jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
