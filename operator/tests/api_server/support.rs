//! An operator as a process, on a real API server.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use bundle::object::{Index, PAYLOAD_KEY};
use e2e::cluster::{Cluster, Depth, Namespace, shared};
use k8s_openapi::api::core::v1::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Until something that is waited for has failed: long, since the machine may be busy with other things.
const LONGEST: Duration = Duration::from_secs(120);

/// Tests share the machine, but for those that measure time.
static MACHINE: RwLock<()> = RwLock::new(());

/// A test's part of the machine.
enum Share {
    Some(#[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
    All(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
}

/// A namespace for everything of one test, with operators.
pub(crate) struct Rig {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: Namespace,
    folder: tempfile::TempDir,
    /// Operators, with the ports that they listen on.
    operators: Vec<(Child, u16)>,
    ports: u16,
    /// Namespaces that operators serve: the first one has everything else too.
    served: Vec<String>,
    /// The kubeconfig of operators; the cluster's own otherwise.
    kubeconfig: Option<PathBuf>,
    /// Given back when the operators have ended.
    _share: Share,
}

impl Rig {
    /// `None`: there is no cluster to be had, which was said.
    pub(crate) fn new(name: &str, port: u16) -> Option<Self> {
        // A test that failed says so itself.
        Self::with(name, port, Share::Some(MACHINE.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// As [`Self::new`], while no other test runs.
    pub(crate) fn alone(name: &str, port: u16) -> Option<Self> {
        Self::with(name, port, Share::All(MACHINE.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn with(name: &str, port: u16, share: Share) -> Option<Self> {
        let cluster = shared(Depth::ControlPlane)?;
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");
        let files = ["apidefinitions", "stages", "usageplans"].map(|file| format!("{crds}/{file}.yaml"));
        let files: Vec<&str> = files.iter().flat_map(|file| ["-f", file]).collect();
        cluster.kubectl(["apply", "--server-side"].iter().chain(&files)).unwrap();
        // Until then nobody serves them, and an object that is applied at once is of no kind that is known.
        let established = ["wait", "--for=condition=Established", "--timeout=60s"];
        cluster.kubectl(established.iter().chain(&files)).unwrap();
        let namespace = cluster.namespace(name).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let served = vec![namespace.name.clone()];
        let rig = Self {
            cluster,
            namespace,
            folder,
            operators: Vec::new(),
            ports: port,
            served,
            kubeconfig: None,
            _share: share,
        };
        rig.configure(&rig.gateway("default", ""));
        Some(rig)
    }

    /// A gateway of the configuration, in the first namespace; more of it is lines with an indent of two.
    pub(crate) fn gateway(&self, name: &str, more: &str) -> String {
        format!(
            "- name: {name}\n  namespace: {0}\n  selector: {{matchLabels: {{app: proxy}}}}\n  bundleNamespace: {0}\n  baseDomain: apis.example.com\n{more}",
            self.namespace.name
        )
    }

    /// Writes the configuration of all operators.
    pub(crate) fn configure(&self, gateways: &str) {
        std::fs::write(self.folder.path().join("config.yaml"), format!("gateways:\n{gateways}")).unwrap();
    }

    /// One more namespace, which operators that are started from now on serve too.
    pub(crate) fn serve(&mut self, name: &str) -> Namespace {
        let namespace = self.cluster.namespace(name).unwrap();
        self.served.push(namespace.name.clone());
        namespace
    }

    /// Operators that are started from now on serve these namespaces, and not the rig's own.
    pub(crate) fn serve_only(&mut self, namespaces: &[&str]) {
        self.served = namespaces.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Operators that are started from now on have these rights only.
    pub(crate) fn become_user(&mut self, kubeconfig: &str) {
        let path = self.folder.path().join("kubeconfig");
        std::fs::write(&path, kubeconfig).unwrap();
        self.kubeconfig = Some(path);
    }

    /// Stops operators.
    pub(crate) fn stop(&mut self, operator: usize) {
        self.signal(operator, "-TERM");
    }

    /// Resident memory of an operator in bytes.
    pub(crate) fn memory(&self, operator: usize) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.operators[operator].0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Starts an operator for this namespace only.
    pub(crate) fn operator(&mut self, identity: &str) -> usize {
        self.ports += 1;
        let mut command: Command = self.cluster.command(env!("CARGO_BIN_EXE_stagegate-operator"));
        command
            .arg("--config")
            .arg(self.folder.path().join("config.yaml"))
            .args(["--namespace", &self.namespace.name, "--namespaces", &self.served.join(",")])
            .args(["--identity", identity, "--listen", &format!("127.0.0.1:{}", self.ports)]);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("CLUSTER_KUBECONFIG", kubeconfig).env("KUBECONFIG", kubeconfig);
        }
        self.operators.push((command.spawn().unwrap(), self.ports));
        self.operators.len() - 1
    }

    pub(crate) fn signal(&mut self, operator: usize, signal: &str) {
        let id = self.operators[operator].0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        if !matches!(signal, "-STOP" | "-CONT") {
            self.operators[operator].0.wait().unwrap();
        }
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let all = ["-n", &self.namespace.name].into_iter().chain(arguments.iter().copied());
        self.cluster.kubectl(all).unwrap()
    }

    pub(crate) fn apply(&self, text: &str) {
        self.apply_in(&self.namespace.name, text);
    }

    pub(crate) fn apply_in(&self, namespace: &str, text: &str) {
        self.cluster
            .kubectl_with(["-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-"], text)
            .unwrap();
    }

    /// The conditions of a Stage in any namespace, as `Accepted=True Accepted`.
    pub(crate) fn conditions_in(&self, namespace: &str, stage: &str) -> Vec<String> {
        let text = self.cluster.kubectl(["-n", namespace, "get", "stage", stage, "-o", "json"]).unwrap();
        conditions(&serde_json::from_str(&text).unwrap())
    }

    /// The bundle of a Stage or a host as it is delivered.
    pub(crate) fn bundle<T: DeserializeOwned>(&self, subject: &str) -> Option<T> {
        let all = self.list("secret", "stagegate.dev/bundle");
        let of = |it: &&Value| it["metadata"]["annotations"]["stagegate.dev/subject"] == subject;
        let secret: Secret = serde_json::from_value(all.iter().find(of)?.clone()).unwrap();
        let data = secret.data.unwrap();
        let entry = |name: &str| data.get(name).map(|bytes| bytes.0.as_slice());
        let index = Index::read(entry).unwrap();
        let parts: BTreeMap<String, Vec<u8>> = index
            .parts
            .iter()
            .map(|name| {
                let part: Secret = serde_json::from_value(self.get("secret", name)).unwrap();
                (name.clone(), part.data.unwrap().remove(PAYLOAD_KEY).unwrap().0)
            })
            .collect();
        let encoded = index.payload(entry, |name| parts.get(name).map(Vec::as_slice)).unwrap();
        Some(bundle::decode(&encoded).unwrap())
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
        (object["status"]["deployment"].as_u64(), conditions(&object), object)
    }

    pub(crate) fn wait_condition(&self, stage: &str, condition: &str) {
        self.wait(&format!("{stage}: {condition}"), |rig| rig.stage(stage).1.iter().any(|one| one == condition));
    }

    /// Waits until an operator has read the whole cluster.
    pub(crate) fn wait_ready(&self, operator: usize) {
        let (cluster, port) = (self.cluster, self.operators[operator].1);
        // On a thread of its own, since this one stays outside of the cluster's network.
        let asking = std::thread::spawn(move || {
            cluster.enter().unwrap();
            let began = Instant::now();
            while !is_ready(port) {
                assert!(began.elapsed() < LONGEST, "the operator does not become ready");
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        asking.join().unwrap();
    }

    /// Waits until the operator of this identity holds the Lease, and had time to do what it would do then.
    pub(crate) fn wait_leads(&self, identity: &str) {
        let holder = ["get", "lease", "stagegate-operator", "-o", "jsonpath={.spec.holderIdentity}"];
        self.wait(&format!("{identity} to lead"), |rig| rig.kubectl(&holder) == identity);
        std::thread::sleep(Duration::from_secs(2));
    }

    /// Waits until nothing is written any more: what `kubectl get` says of these kinds stays the same for five seconds.
    pub(crate) fn wait_quiet(&self, kinds: &str) -> String {
        let versions = |rig: &Self| rig.kubectl(&["get", kinds, "-o", "jsonpath={.items[*].metadata.resourceVersion}"]);
        let (mut last, mut since) = (versions(self), Instant::now());
        self.wait("quiet", |rig| {
            let now = versions(rig);
            if now != last {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() >= Duration::from_secs(5)
        });
        versions(self)
    }

    /// Waits until this is so.
    pub(crate) fn wait(&self, what: &str, mut check: impl FnMut(&Self) -> bool) -> Duration {
        let started = Instant::now();
        while !check(self) {
            assert!(started.elapsed() < LONGEST, "{what} does not come to pass");
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
        for (operator, _) in &mut self.operators {
            // One that has ended already is fine.
            drop(operator.kill());
            drop(operator.wait());
        }
    }
}

/// Whether the operator at this port says that it is ready.
fn is_ready(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

fn conditions(object: &Value) -> Vec<String> {
    let condition = |value: &Value| {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        format!("{}={} {}", text("type"), text("status"), text("reason"))
    };
    object["status"]["conditions"].as_array().map(|all| all.iter().map(condition).collect()).unwrap_or_default()
}

/// A Secret that an API server takes for a certificate; nobody looks into it here.
pub(crate) fn certificate(name: &str, content: &str) -> String {
    let pem = |label: &str| format!("-----BEGIN {label}-----\n    {content}\n    -----END {label}-----\n");
    format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: {name}}}\nstringData:\n  tls.crt: |\n    {}  tls.key: |\n    {}---\n",
        pem("CERTIFICATE"),
        pem("PRIVATE KEY")
    )
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
