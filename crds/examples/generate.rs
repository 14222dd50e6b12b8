//! Writes the CustomResourceDefinitions: `cargo run -p stagegate-crds --example generate`.

use std::path::{Path, PathBuf};

use crds::{ApiDefinition, Stage, UsagePlan};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

const NOTE: &str = "# Generated: cargo run -p stagegate-crds --example generate\n";

/// Every file that belongs beside this crate, with its text.
pub(crate) fn files() -> Vec<(PathBuf, String)> {
    written(Path::new(env!("CARGO_MANIFEST_DIR")), |_| {})
}

/// Every file of the chart that installs them. As templates, an upgrade upgrades them; an uninstall leaves them, since
/// they would take every API along.
pub(crate) fn templates() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/stagegate-crds/templates");
    written(&folder, |crd| {
        let keep = ("helm.sh/resource-policy".to_owned(), "keep".to_owned());
        crd.metadata.annotations = Some([keep].into());
    })
}

fn written(folder: &Path, change: fn(&mut CustomResourceDefinition)) -> Vec<(PathBuf, String)> {
    [ApiDefinition::crd(), Stage::crd(), UsagePlan::crd()]
        .into_iter()
        .map(|mut crd| {
            change(&mut crd);
            let text = serde_saphyr::to_string(&crd).expect("a CRD is plain data");
            (folder.join(format!("{}.yaml", crd.spec.names.plural)), format!("{NOTE}{text}"))
        })
        .collect()
}

#[allow(dead_code, reason = "the test that compares shares the rest of this file")]
fn main() -> std::io::Result<()> {
    files().iter().chain(&templates()).try_for_each(|(path, text)| std::fs::write(path, text))
}
