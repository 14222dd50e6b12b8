//! `stagegate function`: runs a Lambda handler. It serves Lambda's Invoke API to callers and Lambda's Runtime API
//! to the processes it starts, one process for each call in flight.
//!
//! A call's way is the order of the modules: `invoke_api` → `pool` → `environment` → `runtime_api` → back.

mod settings;

mod failure;
mod invocation;

mod event_queue;
mod event_stream;
mod invoke_api;
mod refusal;

mod environment;
mod output;
mod pool;
mod process;
mod runtime_api;

mod body;
mod serve;

use std::net::SocketAddr;
use std::process::ExitCode;

use settings::Settings;

/// Runs a Lambda handler: any program that speaks Lambda's Runtime API, such as Amazon's runtime clients and images.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// How many calls run at once, each in a process of its own. Processes are started when they are needed.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,

    /// Seconds a call may take; after that its process is killed and replaced.
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=900))]
    timeout: u32,

    /// Where the Invoke API is served. It asks for no credentials: keep it inside the pod, or let only the gateway in.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// How many calls may wait for a process, on top of those that run; a further one is answered 429.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    queue: u16,

    /// How many asynchronous calls (invocation type `Event`) may wait or be under way; a further one is answered 429.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    event_queue: u32,

    /// How often an asynchronous call that failed is tried again.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=10))]
    event_retries: u32,

    /// Seconds before the first of those retries; each further one waits twice as long as the one before.
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=3600))]
    event_retry_delay: u32,

    /// Seconds a new process may take until it asks for its first call.
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=900))]
    init_timeout: u32,

    /// Seconds that calls under way are given when this program is told to stop.
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=3600))]
    grace: u32,

    /// The handler's program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Serves until it is told to stop (SIGTERM or an interrupt), then lets calls under way finish.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let settings = Settings::new(args, |name| std::env::var(name).ok());
    // One thread is plenty: the work is the handler's. Nothing here needs a lock for it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve::serve(settings))?;
    // A handler's descendant may hold an output pipe open; nothing is left to wait for.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}
