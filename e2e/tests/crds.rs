//! The resource types on a real API server: it takes what is right and says of everything else which field is wrong.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

use e2e::cluster::{Cluster, Depth, shared};
use e2e::program::root;

fn cluster() -> Option<&'static Cluster> {
    let cluster = shared(Depth::ControlPlane)?;
    let crds = root().join("crds");
    // Server-side, so that tests at the same time do not meet.
    cluster.kubectl(["apply", "--server-side", "-f", &crds.to_string_lossy()]).unwrap();
    cluster.kubectl(["wait", "--for=condition=Established", "--timeout=60s", "-f", &crds.to_string_lossy()]).unwrap();
    Some(cluster)
}

#[test]
fn examples_are_accepted() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace("examples").unwrap();
    let mut count = 0;
    for folder in std::fs::read_dir(root().join("deploy/examples")).unwrap() {
        let folder = folder.unwrap().path();
        // Two of the examples have objects of their own for namespaces of their own.
        if !folder.is_dir() || folder.ends_with("kubernetes") || folder.ends_with("sidecar") {
            continue;
        }
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "yaml") {
                let file = file.to_string_lossy().into_owned();
                cluster.kubectl(["apply", "--dry-run=server", "-n", &namespace.name, "-f", &file]).unwrap();
                count += 1;
            }
        }
    }
    assert!(count >= 8, "where are the examples?");
}

#[test]
fn mistakes_are_refused_with_the_field() {
    let Some(cluster) = cluster() else { return };
    let text = std::fs::read_to_string(root().join("e2e/tests/crds/refused.yaml")).unwrap();
    let cases: Vec<&str> = text.split("\n---\n").skip(1).collect();
    assert!(cases.len() > 60, "where are the cases?");
    let mut wrong = Vec::new();
    for case in cases {
        let want = case.lines().next().and_then(|line| line.strip_prefix("# refused: ")).unwrap();
        match cluster.kubectl_with(["create", "--dry-run=server", "-f", "-"], case) {
            Ok(_) => wrong.push(format!("accepted: {case}")),
            Err(error) if error.to_string().contains(want) => {}
            Err(error) => wrong.push(format!("want {want}\ngot {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn people_find_their_way() {
    let Some(cluster) = cluster() else { return };
    let explained = cluster.kubectl(["explain", "stage.spec.canary"]).unwrap();
    assert!(explained.contains("Share of the traffic, 0 to 100."), "{explained}");
    for short in ["apidef", "stg", "uplan", "stagegate"] {
        cluster.kubectl(["get", short, "--all-namespaces"]).unwrap();
    }
    let namespace = cluster.namespace("columns").unwrap();
    let stage = "{apiVersion: stagegate.dev/v1alpha1, kind: Stage, metadata: {name: orders-prod}, spec: {apiRef: {name: orders}, hosts: [{name: a.example}]}}";
    cluster.kubectl_with(["apply", "-n", &namespace.name, "-f", "-"], stage).unwrap();
    let table = cluster.kubectl(["get", "stg", "-n", &namespace.name]).unwrap();
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "API", "DEPLOYMENT", "PROGRAMMED", "URL", "AGE"]);
    // Half of the key of a host in the list, so the server writes it out.
    let path = cluster.kubectl(["get", "stg", "-n", &namespace.name, "-o", "jsonpath={..hosts[0].basePath}"]).unwrap();
    assert_eq!(path, "/");
}

/// The harness itself: what this process opens after `enter` is inside the cluster's network.
#[test]
fn this_process_can_enter_the_network() {
    let Some(cluster) = cluster() else { return };
    cluster.enter().unwrap();
    cluster.enter().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let version = runtime.block_on(async { cluster.client().await?.apiserver_version().await.map_err(Into::into) });
    let version: anyhow::Result<_> = version;
    assert_eq!(version.unwrap().major, "1");
}
