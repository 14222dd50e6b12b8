//! Where bundles come from: a cluster's Secrets, a copy of them on disk, or one mounted Secret.

pub mod cluster;
mod collection;
mod disk;
pub mod mounted;
mod patience;
