//! Durations and quantities.
