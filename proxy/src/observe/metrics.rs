//! Counters and histograms.

/// Every core's shards.
#[derive(Default)]
pub struct Registry {}
