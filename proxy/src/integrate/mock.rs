//! Integration: mock.
