//! Manifests as files, or on standard output.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::print;

/// A manifest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest(pub(crate) Value);

impl Manifest {
    pub(crate) fn new(kind: &str, name: &str, spec: Value) -> Self {
        Self(json!({
            "apiVersion": "stagegate.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }))
    }

    fn is_secret(&self) -> bool {
        self.0.get("kind").and_then(Value::as_str) == Some("Secret")
    }

    fn file(&self) -> String {
        let text = |pointer| self.0.pointer(pointer).and_then(Value::as_str).unwrap_or("manifest");
        format!("{}-{}.yaml", text("/kind").to_ascii_lowercase(), text("/metadata/name"))
    }
}

/// Writes manifests: to a folder, which is made, or as one stream.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(manifests: &[Manifest], folder: Option<&Path>) -> anyhow::Result<()> {
    let Some(folder) = folder else {
        let texts: Result<Vec<_>, _> = manifests.iter().map(|manifest| serde_saphyr::to_string(&manifest.0)).collect();
        print::to_stdout(&texts.context("a manifest cannot be written")?.join("---\n"));
        return Ok(());
    };
    std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    for manifest in manifests {
        let text = serde_saphyr::to_string(&manifest.0).context("a manifest cannot be written")?;
        let path = folder.join(manifest.file());
        save(&path, &text, manifest.is_secret()).with_context(|| format!("{}", path.display()))?;
        print::to_stderr(&format!("wrote {}\n", path.display()));
    }
    Ok(())
}

/// Writes a file; one with secrets is its owner's only.
fn save(path: &Path, text: &str, secret: bool) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mode = if secret { 0o600 } else { 0o644 };
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}

/// A name as Kubernetes takes them.
pub(crate) fn object_name(text: &str) -> String {
    let mut name = String::new();
    let mut before = '-';
    for c in text.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            name.push('-');
        }
        let plain = if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        if plain != '-' || !name.is_empty() && !name.ends_with('-') {
            name.push(plain);
        }
        before = c;
    }
    name.truncate(50);
    let name = name.trim_matches('-');
    if name.is_empty() { "api".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::object_name;

    #[test]
    fn names() {
        for (text, expected) in [
            ("PetStore", "pet-store"),
            ("My API (v2)", "my-api-v2"),
            ("HTTPApi", "httpapi"),
            ("___", "api"),
            ("orders-prod", "orders-prod"),
        ] {
            assert_eq!(object_name(text), expected);
        }
    }
}
