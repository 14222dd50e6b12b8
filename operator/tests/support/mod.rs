//! An operator as a process, on a real API server.

#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part, and helpers may panic too")]

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, Depth, Namespace, shared};
use serde_json::Value;

/// A namespace for everything of one test, with operators.
pub(crate) struct Rig {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: Namespace,
    folder: tempfile::TempDir,
    operators: Vec<Child>,
    ports: u16,
}

impl Rig {
    /// `None`: there is no cluster to be had, which was said.
    pub(crate) fn new(name: &str, port: u16) -> Option<Self> {
        let cluster = shared(Depth::ControlPlane)?;
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");
        for file in ["apidefinitions", "stages", "usageplans"] {
            cluster.kubectl(["apply", "--server-side", "-f", &format!("{crds}/{file}.yaml")]).unwrap();
        }
        let namespace = cluster.namespace(name).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "gateways:\n- name: default\n  namespace: {0}\n  selector: {{matchLabels: {{app: proxy}}}}\n  bundleNamespace: {0}\n  baseDomain: apis.example.com\n",
            namespace.name
        );
        std::fs::write(folder.path().join("config.yaml"), config).unwrap();
        Some(Self { cluster, namespace, folder, operators: Vec::new(), ports: port })
    }

    /// Starts an operator for this namespace only.
    pub(crate) fn operator(&mut self, identity: &str) -> usize {
        self.ports += 1;
        let mut command: Command = self.cluster.command(env!("CARGO_BIN_EXE_stagegate-operator"));
        command
            .arg("--config")
            .arg(self.folder.path().join("config.yaml"))
            .args(["--namespace", &self.namespace.name, "--namespaces", &self.namespace.name])
            .args(["--identity", identity, "--listen", &format!("127.0.0.1:{}", self.ports)]);
        self.operators.push(command.spawn().unwrap());
        self.operators.len() - 1
    }

    pub(crate) fn signal(&mut self, operator: usize, signal: &str) {
        let id = self.operators[operator].id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        if signal != "-STOP" {
            self.operators[operator].wait().unwrap();
        }
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let all = ["-n", &self.namespace.name].into_iter().chain(arguments.iter().copied());
        self.cluster.kubectl(all).unwrap()
    }

    pub(crate) fn apply(&self, text: &str) {
        self.cluster.kubectl_with(["-n", &self.namespace.name, "apply", "-f", "-"], text).unwrap();
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", kind, name, "-o", "json"])).unwrap()
    }

    /// All of a kind with these labels.
    pub(crate) fn list(&self, kind: &str, labels: &str) -> Vec<Value> {
        let text = self.kubectl(&["get", kind, "-l", labels, "-o", "json"]);
        serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
    }

    /// `status.deployment` of a Stage, with its conditions as `Accepted=True Accepted`.
    pub(crate) fn stage(&self, name: &str) -> (Option<u64>, Vec<String>, Value) {
        let object = self.get("stage", name);
        let condition = |value: &Value| {
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            format!("{}={} {}", text("type"), text("status"), text("reason"))
        };
        let conditions = object["status"]["conditions"].as_array().map(|all| all.iter().map(condition).collect());
        (object["status"]["deployment"].as_u64(), conditions.unwrap_or_default(), object)
    }

    /// Waits until this is so.
    pub(crate) fn wait(&self, what: &str, mut check: impl FnMut(&Self) -> bool) -> Duration {
        let started = Instant::now();
        while !check(self) {
            assert!(started.elapsed() < Duration::from_secs(20), "{what} does not come to pass");
            std::thread::sleep(Duration::from_millis(50));
        }
        started.elapsed()
    }

    pub(crate) fn wait_live(&self, stage: &str, number: u64) {
        self.wait(&format!("{stage} at {number}"), |rig| rig.stage(stage).0 == Some(number));
    }

    /// Resource versions of all bundles, by name.
    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = self.list("secret", "stagegate.dev/bundle");
        all.iter().map(|it| (text(&it["metadata"]["name"]), text(&it["metadata"]["resourceVersion"]))).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for operator in &mut self.operators {
            // One that has ended already is fine.
            drop(operator.kill());
            drop(operator.wait());
        }
    }
}

pub(crate) fn api(name: &str, path: &str) -> String {
    format!(
        "apiVersion: stagegate.dev/v1alpha1\nkind: ApiDefinition\nmetadata: {{name: {name}}}\nspec:\n  openapi: {{openapi: 3.0.3, info: {{title: t, version: '1'}}, paths: {{{path}: {{get: {{responses: {{'200': {{description: ok}}}}}}}}}}}}\n  backend: {{url: 'http://127.0.0.1:9'}}\n---\n"
    )
}

pub(crate) fn stage(name: &str, api: &str, rest: &str) -> String {
    format!(
        "apiVersion: stagegate.dev/v1alpha1\nkind: Stage\nmetadata: {{name: {name}}}\nspec:\n  apiRef: {{name: {api}}}\n{rest}---\n"
    )
}
