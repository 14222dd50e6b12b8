//! Rules about the workspace as a whole that the compiler does not know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crate, and what it must not depend on, directly or not: the table of ARCHITECTURE.md.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("stagegate-crds", &["tokio", "hyper", "stagegate-bundle", "stagegate-compile", "stagegate-proxy"]),
    ("stagegate-bundle", &["kube", "kube-core", "k8s-openapi", "tokio", "hyper", "stagegate-crds"]),
    (
        "stagegate-vtl",
        &["tokio", "hyper", "kube", "stagegate-crds", "stagegate-bundle", "stagegate-compile", "stagegate-proxy"],
    ),
    ("stagegate-compile", &["tokio", "hyper", "kube-client", "stagegate-proxy"]),
    ("stagegate-operator", &["stagegate-proxy", "stagegate"]),
    ("stagegate-proxy", &["stagegate-crds", "stagegate-compile", "stagegate-operator"]),
];

#[test]
fn no_crate_knows_what_it_must_not() {
    for (package, forbidden) in FORBIDDEN {
        let found = dependencies(package);
        let wrong: Vec<_> = forbidden.iter().filter(|name| found.contains(**name)).collect();
        assert!(wrong.is_empty(), "{package} depends on {wrong:?}; `cargo tree -p {package} -i NAME` says how");
    }
}

#[test]
fn files_stay_readable() {
    let long: Vec<String> = tracked()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| {
            let lines = std::fs::read_to_string(root().join(&path)).ok()?.lines().count();
            (lines > 800).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "split these: {long:#?}");
}

fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git").arg("ls-files").current_dir(root()).output().expect("git runs");
    String::from_utf8(output.stdout).expect("names are UTF-8").lines().map(PathBuf::from).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace")
}
