//! `stagegate keys` against a real API server.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

use std::process::Command;

use e2e::cluster::{Cluster, Depth, shared};
use e2e::program::{command_line, root, run};
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

const PLAN: &str = "apiVersion: stagegate.dev/v1alpha1\nkind: UsagePlan\nmetadata: {name: gold}\nspec:\n  stages: [{name: prod}]\n  apiKeys: {selector: {matchLabels: {plan: gold}}}\n";

struct Keys {
    cluster: &'static Cluster,
    namespace: String,
}

impl Keys {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.cluster.command(&command_line().unwrap().to_string_lossy());
        command.arg("keys").args(arguments).args(["-n", &self.namespace]);
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments), "").unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments), "").unwrap_err().to_string()
    }

    fn secret(&self, name: &str) -> Value {
        let text = self.cluster.kubectl(["-n", &self.namespace, "get", "secret", name, "-o", "json"]).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn entry(&self, name: &str, entry: &str) -> String {
        let secret: Secret = serde_json::from_value(self.secret(name)).unwrap();
        String::from_utf8(secret.data.unwrap()[entry].0.clone()).unwrap()
    }

    fn list(&self) -> Value {
        serde_json::from_str(&self.run(&["list", "-o", "json"])).unwrap()
    }
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let Some(cluster) = shared(Depth::ControlPlane) else { return };
    let crds = root().join("crds").to_string_lossy().into_owned();
    cluster.kubectl(["apply", "--server-side", "-f", &crds]).unwrap();
    let namespace = cluster.namespace("keys").unwrap();
    let keys = Keys { cluster, namespace: namespace.name.clone() };
    cluster.kubectl_with(["-n", &namespace.name, "apply", "-f", "-"], PLAN).unwrap();
    assert_eq!(keys.run(&["list"]).trim(), "there are no API keys");

    let made = keys.run(&["create", "acme", "--plan", "gold", "--label", "team=a"]);
    let key = made.trim();
    assert_eq!((key.len(), made.lines().count()), (40, 1), "the key alone, so that it can be taken: {made:?}");
    assert_eq!(keys.entry("acme", "key"), key);
    let secret = keys.secret("acme");
    assert_eq!(secret["type"], "stagegate.dev/api-key");
    assert_eq!(secret["metadata"]["labels"], serde_json::json!({"plan": "gold", "team": "a"}));
    assert!(keys.refused(&["create", "acme"]).contains("--entry"));
    assert!(keys.refused(&["create", "other", "--plan", "lead"]).contains("no UsagePlan `lead`"));

    let second = keys.run(&["create", "acme", "--entry", "second"]);
    assert_eq!(keys.entry("acme", "second"), second.trim());
    assert_eq!(keys.entry("acme", "key"), key, "the first one stays");
    let listed = keys.list();
    let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["acme", "acme.second"]);
    assert_eq!((&listed[0]["plans"], &listed[0]["enabled"]), (&serde_json::json!(["gold"]), &Value::Bool(true)));
    for text in [listed.to_string(), keys.run(&["list"])] {
        assert!(!text.contains(key) && !text.contains(second.trim()), "{text}");
    }

    // Together off; one by one gone.
    assert!(keys.refused(&["revoke", "acme.second"]).contains("--all"));
    keys.run(&["revoke", "acme.second", "--all"]);
    assert_eq!(keys.list()[0]["enabled"], false);
    keys.run(&["revoke", "acme.second", "--delete"]);
    assert_eq!(keys.secret("acme")["data"].as_object().unwrap().len(), 1);
    keys.run(&["revoke", "acme", "--delete"]);
    assert_eq!(keys.list(), serde_json::json!([]));
    assert!(keys.refused(&["revoke", "acme"]).contains("no API key `acme`"));
}
