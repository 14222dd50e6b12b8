//! With the chart's Roles in two namespaces, and no right beyond.

use std::process::Command;

use e2e::program::{helm, root, run};
use serde_json::{Value, json};

use crate::support::{Rig, api, certificate, stage};

#[test]
fn the_charts_roles_are_enough_for_the_namespaces_that_are_served() {
    let Some(mut rig) = Rig::new("roles", 19300) else { return };
    let Some(helm) = helm() else {
        eprintln!("skipped: no helm");
        return;
    };
    let (one, two) = (rig.serve("roles-one"), rig.serve("roles-two"));
    let own = rig.namespace.name.clone();
    let bundles = rig.cluster.namespace("roles-bundles").unwrap();
    let gateways = json!([{"name": "default", "baseDomain": "apis.example.com", "bundleNamespace": bundles.name}]);
    let rendered = run(
        Command::new(helm).current_dir(root()).args([
            "template",
            "stagegate",
            "charts/stagegate",
            "--namespace",
            &own,
            "--show-only",
            "templates/operator-rbac.yaml",
            "--set-json",
            &format!("operator.namespaces={}", json!([one.name, two.name])),
            "--set-json",
            &format!("gateways={gateways}"),
        ]),
        "",
    );
    let rendered = rendered.unwrap();
    assert!(!rendered.contains("ClusterRole"), "{rendered}");
    rig.cluster.kubectl_with(["apply", "-f", "-"], &rendered).unwrap();
    rig.kubectl(&["create", "serviceaccount", "stagegate-operator"]);
    let token = rig.kubectl(&["create", "token", "stagegate-operator", "--duration", "1h"]);
    let text = rig.cluster.kubectl(["config", "view", "--raw", "--flatten", "-o", "json"]).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    let user = kubeconfig["contexts"][0]["context"]["user"].clone();
    kubeconfig["users"] = json!([{"name": user, "user": {"token": token.trim()}}]);
    rig.become_user(&kubeconfig.to_string());
    rig.configure(
        &rig.gateway("default", "")
            .replace(&format!("bundleNamespace: {own}"), &format!("bundleNamespace: {}", bundles.name)),
    );
    // It serves the two, and has its Lease, its CA and the proxies in its own.
    rig.serve_only(&[&one.name, &two.name]);
    rig.operator("a");

    for namespace in [&one.name, &two.name] {
        let hosts = "  hosts: [{name: NAME.example.com, tls: {secretName: cert}}]\n".replace("NAME", namespace);
        rig.apply_in(
            namespace,
            &(certificate("cert", "own") + &api("orders", "/a") + &stage("prod", "orders", &hosts)),
        );
    }
    // Not served: nothing is said about it.
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", "")));
    for namespace in [&one.name, &two.name] {
        rig.wait("a deployment", |rig| {
            let said = rig.conditions_in(namespace, "prod");
            ["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs", "Programmed=False NoProxies"]
                .iter()
                .all(|one| said.iter().any(|said| said == one))
        });
        rig.wait("Events to be told", |rig| {
            !rig.cluster.kubectl(["-n", namespace, "get", "events", "-o", "name"]).unwrap().is_empty()
        });
    }
    let written = ["-n", &bundles.name, "get", "secrets", "-l", "stagegate.dev/bundle", "-o", "name"];
    rig.wait("all bundles", |rig| rig.cluster.kubectl(written).unwrap().lines().count() == 6);
    rig.cluster.kubectl(["-n", &own, "get", "secret", "stagegate-local-ca"]).unwrap();
    assert!(rig.stage("prod").1.is_empty());
    // It cannot read what is not served.
    let allowed = rig.cluster.kubectl([
        "auth",
        "can-i",
        "list",
        "stages",
        "-n",
        &own,
        "--as",
        &format!("system:serviceaccount:{own}:stagegate-operator"),
    ]);
    assert!(allowed.is_err());
    // One change, one deletion.
    rig.apply_in(&one.name, &api("orders", "/b"));
    rig.wait("the second deployment", |rig| {
        let number = ["-n", &one.name, "get", "stage", "prod", "-o", "jsonpath={.status.deployment}"];
        rig.cluster.kubectl(number).unwrap() == "2"
    });
    rig.cluster.kubectl(["-n", &two.name, "delete", "stage", "prod"]).unwrap();
    rig.wait("the sweep", |rig| {
        let secrets = ["-n", &bundles.name, "get", "secrets", "-l", "stagegate.dev/bundle", "-o", "name"];
        rig.cluster.kubectl(secrets).unwrap().lines().count() == 3
    });
}
