//! API keys as Secrets bring them.

use std::collections::BTreeMap;

use bundle::KeyDigest;
use bundle::api_key::{MAX_LENGTH, MIN_LENGTH};
use crds::usage_plan::API_KEY_TYPE;
use k8s_openapi::api::core::v1::Secret;

/// The entry whose id is the Secret's name alone.
const MAIN_ENTRY: &str = "key";

/// What counts of a Secret of API keys. The keys themselves are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeys {
    /// `metadata.creationTimestamp`: of two equal keys the older one counts.
    pub created: Option<String>,
    /// By which plans find it.
    pub labels: BTreeMap<String, String>,
    /// What `stagegate.dev/enabled` says, as an annotation or as a label: anything but `true` switches the keys off.
    pub enabled: Option<String>,
    /// By the name of the entry: the digest of its key, or what is wrong with that.
    pub entries: BTreeMap<String, Result<KeyDigest, String>>,
}

impl ApiKeys {
    /// Reads a Secret; `None` for one of another type. `stringData` counts as it does for the API server.
    pub fn read(secret: &Secret) -> Option<Self> {
        if secret.type_.as_deref() != Some(API_KEY_TYPE) {
            return None;
        }
        let metadata = &secret.metadata;
        let labels = metadata.labels.clone().unwrap_or_default();
        let annotations = metadata.annotations.as_ref();
        let marks =
            [annotations.and_then(|all| all.get(crds::annotation::ENABLED)), labels.get(crds::annotation::ENABLED)];
        // Where both stand and differ, the one that switches off counts.
        let enabled = marks.into_iter().flatten().min_by_key(|mark| *mark == "true").cloned();
        let mut entries = BTreeMap::new();
        for (entry, value) in secret.data.iter().flatten() {
            entries.insert(entry.clone(), digest(&value.0));
        }
        for (entry, value) in secret.string_data.iter().flatten() {
            entries.insert(entry.clone(), digest(value.as_bytes()));
        }
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
        Some(Self { created, labels, enabled, entries })
    }

    /// Whether its keys open anything.
    pub fn is_enabled(&self) -> bool {
        self.enabled.as_deref().is_none_or(|mark| mark == "true")
    }

    /// Entries with their keys' ids, the one that has the Secret's name first.
    pub fn keys<'a>(
        &'a self,
        secret: &'a str,
    ) -> impl Iterator<Item = (String, &'a str, &'a Result<KeyDigest, String>)> {
        let main = self.entries.get_key_value(MAIN_ENTRY).into_iter();
        let rest = self.entries.iter().filter(|(entry, _)| *entry != MAIN_ENTRY);
        main.chain(rest).map(move |(entry, digest)| (id(secret, entry), entry.as_str(), digest))
    }
}

/// Id of a key.
pub fn id(secret: &str, entry: &str) -> String {
    if entry == MAIN_ENTRY { secret.to_owned() } else { format!("{secret}.{entry}") }
}

/// What is wrong is said without the key.
fn digest(key: &[u8]) -> Result<KeyDigest, String> {
    let length = key.len();
    if !key.iter().all(u8::is_ascii_graphic) {
        let text = "holds a character that a key cannot have: want visible ASCII, and no line feed at the end";
        return Err(text.to_owned());
    }
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&length) {
        return Err(format!("has {length} characters: a key has {MIN_LENGTH} to {MAX_LENGTH}"));
    }
    Ok(KeyDigest::of(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: serde_json::Value) -> Option<ApiKeys> {
        ApiKeys::read(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn keys_are_known_by_their_digests_alone() {
        let secret = serde_json::json!({
            "type": "stagegate.dev/api-key", "metadata": {"name": "acme"},
            "data": {"key": "b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQ=", "feed": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkK"},
            "stringData": {"key": "a-key-of-twenty-characters", "short": "0123456789012345678", "long": "x".repeat(129)},
        });
        let keys = read(secret).unwrap();
        assert_eq!(keys.entries["key"], Ok(KeyDigest::of(b"a-key-of-twenty-characters")), "stringData goes first");
        let ids: Vec<String> = keys.keys("acme").map(|(id, ..)| id).collect();
        assert_eq!(ids, ["acme", "acme.feed", "acme.long", "acme.short"]);
        assert!(keys.entries["feed"].as_ref().unwrap_err().contains("line feed"));
        assert_eq!(keys.entries["short"], Err("has 19 characters: a key has 20 to 128".to_owned()));
        assert_eq!(keys.entries["long"], Err("has 129 characters: a key has 20 to 128".to_owned()));
        assert!(!format!("{keys:?}").contains("a-key-of"));
        assert_eq!(read(serde_json::json!({"type": "Opaque", "metadata": {}})), None);
    }

    #[test]
    fn anything_but_true_switches_keys_off() {
        let enabled = |metadata: serde_json::Value| {
            read(serde_json::json!({"type": "stagegate.dev/api-key", "metadata": metadata})).unwrap().is_enabled()
        };
        let mark = |text: &str| serde_json::json!({"stagegate.dev/enabled": text});
        assert!(enabled(serde_json::json!({})));
        assert!(enabled(serde_json::json!({"annotations": mark("true")})));
        for off in ["false", "False", "no", ""] {
            assert!(!enabled(serde_json::json!({"annotations": mark(off)})), "{off}");
            assert!(!enabled(serde_json::json!({"labels": mark(off), "annotations": mark("true")})), "{off}");
        }
    }
}
