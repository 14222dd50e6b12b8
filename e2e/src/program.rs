//! Programs that tests run.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Helm: the one that was built for the cluster, else the machine's.
pub fn helm() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    let built = cache.join("stagegate-e2e/bin/helm");
    if built.is_file() { Some(built) } else { on_path("helm") }
}

/// The command line, which was built beside this test.
pub fn command_line() -> anyhow::Result<PathBuf> {
    beside("stagegate")
}

/// A program of ours that was built beside this test; of each package it has the name.
pub fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.ancestors().nth(2).context("a test is in a folder of its own")?.join(name);
    if !program.is_file() {
        bail!("{} is not there: `cargo build --package {name}` makes it", program.display());
    }
    Ok(program)
}

/// A program by its name.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Runs a command with this input. Its standard output, or an error with all that it said.
pub fn run(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("its input is piped")?;
    let input = input.to_owned();
    // On a thread, or a child that answers before it has read all would wait for us while we wait for it.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A child that does not want its input closes it; that is no failure.
    drop(writer.join());
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}\n{stderr}{stdout}", output.status);
    }
    Ok(stdout)
}
