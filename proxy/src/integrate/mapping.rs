//! Integration: mapping.
