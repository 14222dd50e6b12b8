//! The control plane: from resources in the cluster to bundles that proxies load.
//!
//! A change's way is the order of the modules: `collect` (watches) → `deploy` (which deployment) → `program` (compile
//! and link) → `deliver` (Secrets that proxies load) → `report` (conditions and Events). `operator` is the loop that
//! calls them, one change after the other.

pub mod config;
pub mod operator;

pub mod acknowledge;
pub mod certificates;
pub mod collect;
pub mod deliver;
pub mod deploy;
pub mod format;
pub mod history;
pub mod program;
pub mod report;
pub mod told;

pub mod lease;
pub mod serve;
