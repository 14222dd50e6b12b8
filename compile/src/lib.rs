//! From resources to bundles: pure, total, synchronous.
