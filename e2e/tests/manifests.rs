//! The plain manifests on a real API server: it takes them, pods are within `restricted`, and nobody may more than needed.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, Depth, shared};
use e2e::program::root;

fn can(cluster: &Cluster, account: &str, verb: &str, resource: &str, namespace: &str) -> bool {
    let subject = format!("--as=system:serviceaccount:stagegate:{account}");
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let subresource = format!("--subresource={subresource}");
    let mut arguments = vec!["auth", "can-i", verb, resource, &subresource, &subject];
    match namespace {
        "" => arguments.push("--all-namespaces"),
        namespace => arguments.extend(["--namespace", namespace]),
    }
    // "no" is a failure to kubectl.
    cluster.kubectl(arguments).is_ok()
}

#[test]
fn they_install_with_the_least_of_rights() {
    let Some(cluster) = shared(Depth::ControlPlane) else { return };
    let path = |path: &str| root().join(path).to_string_lossy().into_owned();
    cluster.kubectl(["apply", "--server-side", "-f", &path("crds"), "-f", &path("deploy/stagegate.yaml")]).unwrap();
    cluster.kubectl(["wait", "--for=condition=Established", "--timeout=60s", "-f", &path("crds")]).unwrap();
    cluster.kubectl(["apply", "--server-side", "-f", &path("deploy/examples/kubernetes")]).unwrap();
    cluster.kubectl(["apply", "--server-side", "-f", &path("deploy/examples/sidecar")]).unwrap();

    // Admitted under PodSecurity `restricted`: the controllers could make them.
    let deadline = Instant::now() + Duration::from_secs(120);
    for (namespace, want) in [("stagegate", 4), ("shop", 2), ("sidecar", 1)] {
        loop {
            let pods = cluster.kubectl(["get", "pods", "-n", namespace, "-o", "name"]).unwrap();
            if pods.lines().count() == want {
                break;
            }
            let events = || cluster.kubectl(["get", "events", "-n", namespace]).unwrap_or_default();
            assert!(Instant::now() < deadline, "{want} pods in {namespace}, not:\n{pods}{}", events());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    let (operator, proxy) = ("stagegate-operator", "stagegate-proxy-default");
    for (account, verb, resource, namespace, want) in [
        (proxy, "list", "secrets", "stagegate-bundles", true),
        (proxy, "watch", "secrets", "stagegate-bundles", true),
        (proxy, "list", "endpointslices.discovery.k8s.io", "", true),
        (proxy, "list", "secrets", "", false),
        (proxy, "get", "secrets", "stagegate", false),
        (proxy, "get", "secrets", "shop", false),
        (proxy, "update", "secrets", "stagegate-bundles", false),
        (proxy, "list", "stages.stagegate.dev", "shop", false),
        (proxy, "list", "configmaps", "stagegate", false),
        (proxy, "list", "pods", "stagegate", false),
        (operator, "watch", "stages.stagegate.dev", "", true),
        (operator, "patch", "stages.stagegate.dev/status", "shop", true),
        (operator, "create", "configmaps", "shop", true),
        (operator, "list", "secrets", "", true),
        (operator, "patch", "secrets", "stagegate-bundles", true),
        (operator, "create", "secrets", "stagegate", true),
        (operator, "update", "leases.coordination.k8s.io", "stagegate", true),
        (operator, "watch", "pods", "stagegate", true),
        (operator, "create", "events", "shop", true),
        (operator, "create", "events.events.k8s.io", "shop", true),
        (proxy, "patch", "stages.stagegate.dev/status", "shop", false),
        (operator, "update", "stages.stagegate.dev", "shop", false),
        (operator, "update", "configmaps", "shop", false),
        (operator, "create", "secrets", "shop", false),
        (operator, "delete", "secrets", "kube-system", false),
        (operator, "list", "pods", "shop", false),
        (operator, "create", "pods", "stagegate", false),
        (operator, "update", "leases.coordination.k8s.io", "kube-system", false),
    ] {
        assert_eq!(can(cluster, account, verb, resource, namespace), want, "{account} {verb} {resource} {namespace}");
    }
}
