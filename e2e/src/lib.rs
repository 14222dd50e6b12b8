//! Tests against a real Kubernetes: what they share.

#![allow(clippy::unwrap_used, reason = "tests and their helpers may panic")]

pub mod cluster;
pub mod https;
pub mod load;
pub mod program;
