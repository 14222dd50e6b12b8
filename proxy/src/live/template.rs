//! Parsed: template.
