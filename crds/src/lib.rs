//! Stagegate's resource types: what a user writes.
