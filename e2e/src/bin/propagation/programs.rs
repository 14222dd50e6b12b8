//! The operator and the proxies, as processes that end with this one.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::report::Resident;
use crate::{BASE_DOMAIN, BUNDLES, SYSTEM};

/// Ports of the proxies, each on a loopback address of its own, as pods have addresses of their own.
const HTTPS: u16 = 18_443;
pub(crate) const ADMIN: u16 = 18_444;
/// Label of the pods.
pub(crate) const APP: &str = "stagegate-proxy";
/// Lines of a log that are shown when something fails.
const TAIL: usize = 5;

/// Everything that runs.
pub(crate) struct Programs {
    pub(crate) operator: Program,
    proxies: Vec<Program>,
    /// Configuration, logs, and the proxies' copies of the bundles.
    folder: TempDir,
}

impl Programs {
    /// Starts an operator and so many proxies, as the chart does.
    pub(crate) fn start(programs: &Path, proxies: u8) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("stagegate-propagation-")?;
        let config = folder.path().join("config.yaml");
        let gateway = format!(
            "gateways: [{{name: default, namespace: {SYSTEM}, selector: {{matchLabels: {{app: {APP}}}}}, \
             adminPort: {ADMIN}, bundleNamespace: {BUNDLES}, baseDomain: {BASE_DOMAIN}}}]\n"
        );
        std::fs::write(&config, gateway)?;
        let start = |program: &str, name: String, arguments: &[String]| {
            Program::start(&programs.join(program), name, folder.path(), arguments)
        };
        let config = config.display().to_string();
        let operator = ["--config", &config, "--namespace", SYSTEM, "--listen", "127.0.0.1:18300"].map(str::to_owned);
        let operator = start("stagegate-operator", "operator".to_owned(), &operator)?;
        let proxy = |index: u8| {
            let (address, name) = (address(index), format!("proxy-{index}"));
            let arguments = [
                "--gateway=default".to_owned(),
                format!("--bundle-namespace={BUNDLES}"),
                format!("--https={address}:{HTTPS}"),
                format!("--admin={address}:{ADMIN}"),
                format!("--cache={}", folder.path().join(&name).join("cache").display()),
                "--access-log=false".to_owned(),
            ];
            start("stagegate-proxy", name, &arguments)
        };
        let proxies = (0..proxies).map(proxy).collect::<anyhow::Result<_>>()?;
        Ok(Self { operator, proxies, folder })
    }

    /// Where the proxies serve.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.pods().map(|(_, address)| (address, HTTPS).into())
    }

    /// Names and addresses of the proxies, for the pods that the operator sees.
    pub(crate) fn pods(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        (0..).zip(&self.proxies).map(|(index, proxy)| (proxy.name.as_str(), address(index)))
    }

    pub(crate) fn memory_of_proxies(&self) -> anyhow::Result<Vec<Resident>> {
        self.proxies.iter().map(Program::memory).collect()
    }

    /// Tells what the programs said last.
    pub(crate) fn explain(&self) {
        for program in std::iter::once(&self.operator).chain(&self.proxies) {
            let text = std::fs::read_to_string(self.folder.path().join(&program.name).join("log")).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("the last of the log of {}, which {}:", program.name, program.state());
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                eprintln!("  {line}");
            }
        }
    }
}

fn address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, index.saturating_add(1))
}

/// A process that ends with this one.
pub(crate) struct Program {
    name: String,
    child: Child,
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Program {
    fn start(program: &Path, name: String, folder: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        let own = folder.join(&name);
        std::fs::create_dir_all(own.join("cache"))?;
        let log = std::fs::File::create(own.join("log"))?;
        let mut command = Command::new(program);
        // A process group of its own: an interrupt at the terminal ends this process, whose end is theirs.
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name, child })
    }

    /// Resident memory.
    pub(crate) fn memory(&self) -> anyhow::Result<Resident> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
            let Some(kibibytes) = kibibytes else { bail!("{} has ended", self.name) };
            Ok(kibibytes.trim().parse::<f64>()? / 1024.0)
        };
        Ok(Resident { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    fn state(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let ended = stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'));
        if ended { "has ended".to_owned() } else { "runs".to_owned() }
    }
}
