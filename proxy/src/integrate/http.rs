//! Integration: http.
