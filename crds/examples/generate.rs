//! Writes the CustomResourceDefinitions: `cargo run -p stagegate-crds --example generate`.

use std::path::{Path, PathBuf};

use crds::{ApiDefinition, Stage, UsagePlan};
use kube::CustomResourceExt;

const NOTE: &str = "# Generated: cargo run -p stagegate-crds --example generate\n";

/// Every file that belongs beside this crate, with its text.
pub(crate) fn files() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    [ApiDefinition::crd(), Stage::crd(), UsagePlan::crd()]
        .iter()
        .map(|crd| {
            let text = serde_saphyr::to_string(crd).expect("a CRD is plain data");
            (folder.join(format!("{}.yaml", crd.spec.names.plural)), format!("{NOTE}{text}"))
        })
        .collect()
}

#[allow(dead_code, reason = "the test that compares shares the rest of this file")]
fn main() -> std::io::Result<()> {
    files().iter().try_for_each(|(path, text)| std::fs::write(path, text))
}
