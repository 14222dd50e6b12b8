//! The cluster that tests use: one for all tests of a test binary, started by the first and removed when the process
//! ends, however it ends. Binaries that want one at the same time take turns.
//!
//! Which one, in this order:
//! - `STAGEGATE_E2E_EXISTING=1` and `KUBECONFIG`: that cluster, through the machine's own `kubectl` and `helm`. Nothing is
//!   started or removed; tests clean up their namespaces.
//! - otherwise `e2e/cluster/up` makes one: with kind where that works, through the machine's own `kubectl` and `helm`; else
//!   from the programs in `KUBEBUILDER_ASSETS`, else from ones that it builds. The last two need root, for network
//!   namespaces; with kind root reaches pods and Services too, which tests on nodes need.
//!
//! Where none is to be had, tests say so on stderr and pass; with `STAGEGATE_E2E=1` they fail.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use anyhow::{Context as _, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::program::{on_path, root, run};

/// How much of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// API server, etcd and controller manager: objects are kept and collected, pods never run.
    ControlPlane,
    /// Also nodes, where pods run, and metrics-server where it is asked for.
    Nodes { count: u8, metrics: bool },
}

/// A cluster that is up.
#[derive(Debug)]
pub struct Cluster {
    /// Whose end is the cluster's end; none for one that was there before.
    holder: Option<Mutex<Child>>,
}

/// The cluster of this process, started by the first call; every call must ask for the same depth. `None`: none is to be
/// had, which was said on stderr.
pub fn shared(depth: Depth) -> Option<&'static Cluster> {
    static SHARED: OnceLock<(Depth, Option<Cluster>)> = OnceLock::new();
    let (started, cluster) = SHARED.get_or_init(|| (depth, start(depth)));
    assert_eq!(*started, depth, "one test binary, one depth");
    cluster.as_ref()
}

fn start(depth: Depth) -> Option<Cluster> {
    if existing() {
        return Some(Cluster { holder: None });
    }
    if let Some(missing) = missing() {
        assert!(!is_set("STAGEGATE_E2E"), "STAGEGATE_E2E=1 demands a cluster: {missing}");
        // Past the capture of a test's output, which would hide it.
        drop(writeln!(std::io::stderr(), "skipped: no Kubernetes to test with: {missing}"));
        return None;
    }
    Some(Cluster { holder: Some(Mutex::new(hold(depth).unwrap_or_else(|error| panic!("no cluster: {error:#}")))) })
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

fn existing() -> bool {
    is_set("STAGEGATE_E2E_EXISTING") && std::env::var_os("KUBECONFIG").is_some()
}

/// Why there can be no cluster here.
fn missing() -> Option<&'static str> {
    if std::env::var_os("STAGEGATE_E2E").is_some_and(|value| value == "0") {
        return Some("STAGEGATE_E2E=0");
    }
    let docker = || Command::new("docker").arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if on_path("kind").is_some() && docker().is_ok_and(|status| status.success()) {
        return None;
    }
    if !rustix::process::geteuid().is_root() {
        return Some("root is needed to make one, or KUBECONFIG with STAGEGATE_E2E_EXISTING=1, or kind");
    }
    let built = std::env::var_os("KUBEBUILDER_ASSETS").is_some() || on_path("go").is_some();
    (!built).then_some("Go is needed to build one, or KUBECONFIG with STAGEGATE_E2E_EXISTING=1, or kind")
}

/// Starts it, under a process that removes it when our end of its input is closed.
fn hold(depth: Depth) -> anyhow::Result<Child> {
    let options: Vec<String> = match depth {
        Depth::ControlPlane => vec!["--control-plane".to_owned()],
        Depth::Nodes { count, metrics } => {
            let mut options = vec!["--nodes".to_owned(), count.to_string()];
            options.extend(metrics.then(|| "--metrics".to_owned()));
            options
        }
    };
    // A process group of its own, so that an interrupt at the terminal ends us first and not the removal.
    let mut holder = Command::new(root().join("e2e/cluster/hold"))
        .args(options)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("e2e/cluster/hold")?;
    let mut said = String::new();
    BufReader::new(holder.stdout.take().context("its output is piped")?).read_line(&mut said)?;
    if said.trim() != "ready" {
        bail!("e2e/cluster/up failed, {}", holder.wait()?);
    }
    Ok(holder)
}

impl Cluster {
    /// A command that runs where Services, pods and nodes are reachable, as cluster-admin.
    pub fn command(&self, program: &str) -> Command {
        if self.holder.is_none() {
            return Command::new(program);
        }
        let mut command = Command::new(root().join("e2e/cluster/in-cluster"));
        command.arg(program);
        command
    }

    /// Runs kubectl. Its standard output, or an error with all that it said.
    pub fn kubectl(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> anyhow::Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl with this input, for `-f -`.
    pub fn kubectl_with(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        input: &str,
    ) -> anyhow::Result<String> {
        run(self.command("kubectl").args(arguments), input)
    }

    /// Runs helm.
    pub fn helm(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> anyhow::Result<String> {
        run(self.command("helm").args(arguments), "")
    }

    /// Loads images into every node; a cluster that was there before has to have them.
    pub fn load_images(&self, tarballs: &[&Path]) -> anyhow::Result<()> {
        if self.holder.is_some() {
            run(Command::new(root().join("e2e/cluster/load-image")).args(tarballs), "")?;
        }
        Ok(())
    }

    /// Moves this thread, and those that it starts from now on, to where `command` runs. Call it before the runtime is
    /// built whose tasks talk to the cluster.
    pub fn enter(&self) -> anyhow::Result<()> {
        if self.holder.is_none() {
            return Ok(());
        }
        let script = [". e2e/cluster/lib.sh; inside"];
        let inside = run(Command::new("bash").arg("-c").args(script).current_dir(root()), "")?;
        // With kind, and without the right to enter its node: the API server is reachable from here.
        if inside.trim().is_empty() {
            return Ok(());
        }
        let namespace = File::open(inside.trim())?;
        let device = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        if device(&File::open("/proc/thread-self/ns/net")?)? == device(&namespace)? {
            return Ok(());
        }
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    /// Sends a signal to a component of the control plane, `kube-apiserver`; none to one of a cluster that was there before.
    pub fn signal(&self, component: &str, signal: &str) -> anyhow::Result<()> {
        if self.holder.is_none() {
            bail!("the {component} of this cluster is not ours to halt");
        }
        run(Command::new(root().join("e2e/cluster/signal")).args([signal, component]), "").map(drop)
    }

    /// The kubeconfig of cluster-admin, as text.
    pub fn kubeconfig(&self) -> anyhow::Result<String> {
        self.kubectl(["config", "view", "--raw", "--flatten"])
    }

    /// A client as cluster-admin, for a thread that has entered.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&self.kubeconfig()?)?;
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// A namespace that goes when the guard does.
    pub fn namespace(&'static self, name: &str) -> anyhow::Result<Namespace> {
        let name = format!("e2e-{name}-{}", std::process::id());
        self.kubectl(["create", "namespace", &name])?;
        Ok(Namespace { cluster: self, name })
    }
}

/// A namespace for one test.
#[derive(Debug)]
pub struct Namespace {
    cluster: &'static Cluster,
    /// Its name.
    pub name: String,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.kubectl(["delete", "namespace", &self.name, "--wait=false"]) {
            eprintln!("the namespace stays: {error:#}");
        }
    }
}
