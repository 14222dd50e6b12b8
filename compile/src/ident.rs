//! Ids that are derived, so that they are the same everywhere and after every restart.

use sha2::{Digest as _, Sha256};

const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// `$context.apiId`: ten lower-case letters and digits.
pub fn api_id(namespace: &str, name: &str) -> String {
    letters(&format!("{namespace}/{name}"), 10)
}

/// `$context.resourceId`: six lower-case letters and digits.
pub fn resource_id(path: &str) -> String {
    letters(path, 6)
}

fn letters(text: &str, count: usize) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(count).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_amazons_form_and_do_not_change() {
        assert_eq!(api_id("shop", "orders").len(), 10);
        assert_ne!(api_id("shop", "orders"), api_id("shop", "order"));
        assert_eq!(resource_id("/"), resource_id("/"));
        assert!(resource_id("/pets").bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    }
}
