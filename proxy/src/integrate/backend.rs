//! Integration: backend.
