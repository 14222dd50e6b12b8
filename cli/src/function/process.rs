//! One process of the handler: its environment, its Runtime API on a port of its own, its end.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, waitpgid};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::output::{Printer, Stream, Tail, pass_on};
use super::runtime_api::{self, Report};
use super::settings::{Settings, VERSION};

/// How long a process may take to end after it was asked to.
const GOODBYE: Duration = Duration::from_millis(500);

/// How long the output of a process that has ended is still read; its descendants may hold the pipes open for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How often, and after what pause each, the killed descendants of a process are looked for.
const REAPING: u32 = 50;
const REAPING_PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Process {
    pub(super) child: Child,
    /// Its own process group, which its descendants are in too.
    group: Option<Pid>,
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) tail: Tail,
    runtime_api: JoinHandle<()>,
    outputs: Option<[JoinHandle<()>; 2]>,
}

impl Process {
    pub(super) async fn start(settings: &Settings, printer: &Printer) -> std::io::Result<Self> {
        // A port for each process, so that what arrives there belongs to this process and to no other.
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (program, arguments) =
            settings.command.split_first().ok_or_else(|| std::io::Error::other("the command is empty"))?;
        let mut command = Command::new(program);
        command.args(arguments).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("AWS_LAMBDA_RUNTIME_API", address.to_string());
        for (name, value) in defaults(settings) {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        let mut child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let tail = Tail::default();
        let outputs = child.stdout.take().zip(child.stderr.take()).map(|(out, error)| {
            [
                tokio::task::spawn_local(pass_on(out, Stream::Out, tail.clone(), printer.clone())),
                tokio::task::spawn_local(pass_on(error, Stream::Error, tail.clone(), printer.clone())),
            ]
        });
        // Every report waits for its answer and there is one caller, so few are ever queued.
        let (sender, reports) = mpsc::channel(8);
        let runtime_api = tokio::task::spawn_local(runtime_api::serve(listener, Rc::new(sender)));
        Ok(Self { child, group, reports, tail, runtime_api, outputs })
    }

    /// The most memory it used so far, in MB, if the kernel says so.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.div_ceil(1024))
    }

    /// Asks the process to end, and makes it.
    pub(super) async fn stop(mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GOODBYE, self.child.wait()).await.is_err() {
            tracing::debug!("a process did not end when asked to");
        }
        self.kill().await;
    }

    /// Ends the process and all its descendants at once.
    pub(super) async fn kill(mut self) {
        self.signal(Signal::KILL);
        ended(&mut self.child).await;
        if let Some(group) = self.group {
            tokio::task::spawn_local(reap(group));
        }
        self.runtime_api.abort();
        let Some(outputs) = self.outputs.take() else { return };
        let stop = outputs.each_ref().map(JoinHandle::abort_handle);
        let read = async {
            for output in outputs {
                // The task ends by itself or was aborted; either way there is nothing more to read.
                output.await.unwrap_or_default();
            }
        };
        if tokio::time::timeout(LAST_WORDS, read).await.is_err() {
            stop.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // A group that is gone already needs no signal.
            kill_process_group(group, signal).unwrap_or_default();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.runtime_api.abort();
    }
}

/// Descendants that a process leaves behind become our children, and stay as zombies until they are waited for. This
/// is so for the first process of a container in any case.
pub(super) fn adopt_orphans() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        tracing::debug!(%error, "cannot adopt what processes leave behind");
    }
}

/// Waits for the rest of a group that was killed. Its leader has been waited for already.
async fn reap(group: Pid) {
    for _ in 0..REAPING {
        // None are left, or those that are left are about to end or to become ours.
        if !matches!(waitpgid(group, WaitOptions::NOHANG), Ok(Some(_))) {
            tokio::time::sleep(REAPING_PAUSE).await;
        }
    }
}

/// Waits until the process has ended. May be called again.
pub(super) async fn ended(child: &mut Child) -> ExitStatus {
    // Waiting fails only if someone else reaped the process; then its status is lost.
    child.wait().await.unwrap_or_else(|_| ExitStatus::from_raw(0))
}

/// What Lambda sets and whoever starts us did not. `_HANDLER`, `AWS_EXECUTION_ENV` and credentials are theirs alone.
fn defaults(settings: &Settings) -> [(&'static str, String); 11] {
    let function = &settings.function;
    let task_root = if std::path::Path::new("/var/task").is_dir() {
        "/var/task".to_owned()
    } else {
        std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default()
    };
    [
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", VERSION.to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory.clone()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", function.name)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", VERSION.to_owned()),
        ("AWS_REGION", function.region.clone()),
        ("AWS_DEFAULT_REGION", function.region.clone()),
        ("LAMBDA_TASK_ROOT", task_root),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("TZ", ":UTC".to_owned()),
    ]
}
