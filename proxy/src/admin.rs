//! The admin port: health, readiness, metrics, what is loaded.

/// The latest state of loading.
#[derive(Default)]
pub struct Status {}
