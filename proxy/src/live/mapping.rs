//! Parsed: mapping.
