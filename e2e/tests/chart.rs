//! What the charts render, beside what they rendered when somebody looked:
//! `BLESS=1 cargo test -p stagegate-e2e --test chart` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::program::{helm, root, run};

/// Helm with these arguments, in the checkout. `None`: there is no Helm, which was said.
fn run_helm(arguments: &[&str]) -> Option<anyhow::Result<String>> {
    let Some(helm) = helm() else {
        assert!(std::env::var_os("STAGEGATE_E2E").is_none(), "STAGEGATE_E2E=1 demands Helm");
        drop(writeln!(std::io::stderr(), "skipped: no helm on the PATH, and e2e/cluster/up has not built one"));
        return None;
    };
    Some(run(Command::new(helm).args(arguments).current_dir(root()), ""))
}

const TEMPLATE: [&str; 7] =
    ["template", "stagegate", "charts/stagegate", "--namespace", "stagegate", "--kube-version", "1.34.0"];

fn template(more: &[&str]) -> Option<anyhow::Result<String>> {
    run_helm(&[&TEMPLATE, more].concat())
}

fn compare(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    let differs = || found.lines().zip(text.lines()).position(|(old, new)| old != new).map_or(0, |line| line + 1);
    assert!(
        found == text,
        "{} differs in line {}: BLESS=1 cargo test -p stagegate-e2e --test chart",
        path.display(),
        differs()
    );
}

#[test]
fn templates() {
    for entry in std::fs::read_dir(root().join("charts/stagegate/tests/values")).unwrap() {
        let values = entry.unwrap().path();
        let Some(text) = template(&["--values", &values.to_string_lossy()]) else { return };
        let golden = root().join("charts/stagegate/tests/golden").join(values.file_name().unwrap());
        compare(&golden, &text.unwrap());
    }
}

/// For people without Helm: the same, with the namespace that `helm install --create-namespace` makes.
#[test]
fn the_plain_manifests_are_fresh() {
    let Some(text) = template(&[]) else { return };
    let head = "\
# Stagegate without Helm: kubectl apply --server-side -f crds/ -f deploy/stagegate.yaml
# Rendered from charts/stagegate with its default values: BLESS=1 cargo test -p stagegate-e2e --test chart
---
apiVersion: v1
kind: Namespace
metadata:
  name: stagegate
  labels:
    pod-security.kubernetes.io/enforce: restricted
";
    compare(&root().join("deploy/stagegate.yaml"), &format!("{head}{}", text.unwrap()));
}

#[test]
fn lint_finds_nothing() {
    let values: Vec<PathBuf> = std::fs::read_dir(root().join("charts/stagegate/tests/values"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for values in values {
        let Some(said) = run_helm(&[
            "lint",
            "--strict",
            "charts/stagegate",
            "--values",
            &values.to_string_lossy(),
            "--kube-version",
            "1.34.0",
        ]) else {
            return;
        };
        said.unwrap();
    }
    run_helm(&["lint", "--strict", "charts/stagegate-crds"]).unwrap().unwrap();
}

#[test]
fn values_that_mean_nothing_are_refused() {
    for (set, want) in [
        ("proxy.replica=3", "'replica' not allowed"),
        ("proxy.kind=StatefulSet", "/proxy/kind"),
        ("proxy.replicas=many", "/proxy/replicas"),
        ("proxy.service.type=ExternalName", "/proxy/service/type"),
        ("proxy.service.https.port=70000", "/proxy/service/https/port"),
        ("proxy.cache.sizeLimit=lots", "/proxy/cache/sizeLimit"),
        ("operator.namespaces[0]=Shop", "/operator/namespaces/0"),
        ("clusterRanges[0]=10.0.0.0", "/clusterRanges/0"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("gateways=null", "gateways"),
        ("gateways[0].name=Default", "/gateways/0"),
        ("gateways[0].proxy.kind=Pod", "/gateways/0/proxy/kind"),
        ("podMonitor.interval=often", "/podMonitor/interval"),
    ] {
        let Some(rendered) = template(&["--set", set]) else { return };
        let said = rendered.map_or_else(|error| error.to_string(), |_| "rendered".to_owned());
        assert!(said.contains(want), "{set}: {said}");
    }
    let gateway =
        |rest: &str| format!("{{\"name\": \"a\", \"baseDomain\": \"a.example\", \"bundleNamespace\": \"b\"{rest}}}");
    let own = r#"[{"name": "a", "baseDomain": "a.example", "bundleNamespace": "stagegate"}]"#.to_owned();
    let one = |rest: &str| format!("[{}]", gateway(rest));
    for (gateways, namespaces, want) in [
        (own, "[]", "must not be the release's namespace"),
        (one(r#", "accountId": "12""#), "[]", "/gateways/0/accountId"),
        (one(r#", "proxy": {"enabled": false}"#), "[]", "namespace is needed"),
        (format!("[{0}, {0}]", gateway("")), "[]", "there are two of the name a"),
        (one(r#", "defaultTls": {"secretName": "a", "namespace": "c"}"#), r#"["d"]"#, "may not read the namespace c"),
        (one(r#", "sidecars": [{"namespace": "c", "stage": "s"}]"#), r#"["d"]"#, "does not serve the namespace c"),
    ] {
        let set = format!("gateways={gateways}");
        let namespaces = format!("operator.namespaces={namespaces}");
        let Some(rendered) = template(&["--set-json", &set, "--set-json", &namespaces]) else { return };
        let said = rendered.map_or_else(|error| error.to_string(), |_| "rendered".to_owned());
        assert!(said.contains(want), "{set}: {said}");
    }
}
