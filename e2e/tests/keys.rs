//! `stagegate keys` against a real API server, and what an operator and a proxy there make of the keys.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, Depth, shared};
use e2e::https::{Https, Trust};
use e2e::program::{beside, command_line, root, run};
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
    cluster.kubectl(["wait", "--for=condition=Established", "--timeout=60s", "-f", &crds]).unwrap();
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

/// From the answer of the API server until the proxy refuses the key: within two seconds, and a machine that is busy with
/// other tests is given more.
const SOON: Duration = Duration::from_secs(10);
const HTTPS: &str = "127.0.0.1:18743";

const API: &str = "
apiVersion: stagegate.dev/v1alpha1
kind: ApiDefinition
metadata: {name: orders}
spec:
  openapi:
    openapi: 3.0.3
    info: {title: orders, version: '1'}
    paths:
      /keyed: {get: {security: [{api_key: []}], x-amazon-apigateway-integration: &mock {type: mock, requestTemplates: {application/json: '{\"statusCode\": 200}'}, responses: {default: {statusCode: '200'}}}}}
      /open: {get: {x-amazon-apigateway-integration: *mock}}
---
apiVersion: stagegate.dev/v1alpha1
kind: Stage
metadata: {name: prod}
spec: {apiRef: {name: orders}}
---
";

/// Programs that end with the test.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has ended already is fine.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[test]
fn a_proxy_follows_keys_at_once() {
    let Some(cluster) = shared(Depth::ControlPlane) else { return };
    let crds = root().join("crds").to_string_lossy().into_owned();
    cluster.kubectl(["apply", "--server-side", "-f", &crds]).unwrap();
    cluster.kubectl(["wait", "--for=condition=Established", "--timeout=60s", "-f", &crds]).unwrap();
    let namespace = cluster.namespace("callers").unwrap();
    let keys = Keys { cluster, namespace: namespace.name.clone() };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let text = format!(
        "gateways:\n- name: default\n  namespace: {0}\n  selector: {{matchLabels: {{app: proxy}}}}\n  bundleNamespace: {0}\n  baseDomain: apis.example.com\n",
        namespace.name
    );
    std::fs::write(&config, text).unwrap();
    let start = |program: &str, arguments: &[&str]| {
        let program = beside(program).unwrap();
        cluster.command(&program.to_string_lossy()).args(arguments).spawn().unwrap()
    };
    let name = namespace.name.as_str();
    let config = config.to_string_lossy().into_owned();
    let operator = ["--config", &config, "--namespace", name, "--namespaces", name, "--listen", "127.0.0.1:18741"];
    let proxy = ["--bundle-namespace", name, "--https", HTTPS, "--admin", "127.0.0.1:18744", "--access-log", "false"];
    let _running = Running(vec![start("stagegate-operator", &operator), start("stagegate-proxy", &proxy)]);
    // Before any key, so that the Stage is served without.
    cluster.kubectl_with(["-n", name, "apply", "-f", "-"], API).unwrap();

    cluster.enter().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = format!("orders.{name}.apis.example.com");
    let ca = || {
        let path = "jsonpath={.data.ca\\.crt}";
        let text = cluster.kubectl(["-n", name, "get", "secret", "stagegate-local-ca", "-o", path]).ok()?;
        let text = run(Command::new("base64").arg("-d"), &text).ok()?;
        Trust::new(text.as_bytes()).ok()
    };
    // Asked for once: a look at the proxy shall cost nothing but that.
    let trust = std::cell::OnceCell::new();
    let status = |path: &str, key: &str| {
        if trust.get().is_none() {
            trust.set(ca()?).ok()?;
        }
        runtime.block_on(async {
            let mut client = Https::connect(HTTPS.parse().unwrap(), &host, trust.get()?).await.ok()?;
            Some(client.get_with(path, &[("x-api-key", key)]).await.ok()?.status)
        })
    };
    let wait = |path: &str, key: &str, wanted: u16, limit: Duration| {
        let began = Instant::now();
        let mut last = None;
        while last != Some(wanted) {
            assert!(began.elapsed() < limit, "{path} answers {last:?}, not {wanted}");
            std::thread::sleep(Duration::from_millis(5));
            last = status(path, key);
        }
    };
    wait("/prod/open", "", 200, Duration::from_secs(120));
    assert_eq!(status("/prod/keyed", "a-key-of-nobody-0123456789"), Some(403), "no keys are there: nobody gets in");

    cluster.kubectl_with(["-n", name, "apply", "-f", "-"], PLAN).unwrap();
    let made = keys.run(&["create", "acme", "--plan", "gold"]);
    let key = made.trim();
    wait("/prod/keyed", key, 200, SOON);
    keys.run(&["revoke", "acme"]);
    wait("/prod/keyed", key, 403, SOON);
    cluster.kubectl(["-n", name, "annotate", "secret", "acme", "stagegate.dev/enabled-"]).unwrap();
    wait("/prod/keyed", key, 200, SOON);
    cluster.kubectl(["-n", name, "delete", "usageplan", "gold"]).unwrap();
    wait("/prod/keyed", key, 403, SOON);
    cluster.kubectl_with(["-n", name, "apply", "-f", "-"], PLAN).unwrap();
    wait("/prod/keyed", key, 200, SOON);
    keys.run(&["revoke", "acme", "--delete"]);
    wait("/prod/keyed", key, 403, SOON);
    assert_eq!(status("/prod/open", key), Some(200));
}
