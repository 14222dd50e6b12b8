//! Amazon's routing: literal beats parameter beats greedy per segment, method-aware, with backtracking.

/// Path and verb to a route's index.
#[derive(Default)]
pub struct Router {}
