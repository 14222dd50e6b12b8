//! The stagegate command line.

mod args;
mod authority;
mod cluster;
mod collect;
mod deployments;
mod dev;
mod function;
mod import;
mod lint;
mod print;
mod state;
mod template;

use std::process::ExitCode;

use args::{Arguments, Command};
use clap::{CommandFactory, FromArgMatches};
use cluster::Order;
use tracing_subscriber::EnvFilter;

/// A request is many small allocations, and an idle connection a few that stay.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = match arguments().command {
        Command::Dev(dev) => {
            start_log("warn");
            dev::run(&dev)
        }
        Command::Lint(lint) => lint::run(&lint),
        Command::Import(import) => import::run(&import),
        Command::Template(template) => template::run(&template),
        Command::Function(function) => {
            start_log("info");
            function::run(function)
        }
        Command::History(history) => cluster::run(&Order::History(history)),
        Command::Diff(diff) => cluster::run(&Order::Diff(diff)),
        Command::Deploy(deploy) => cluster::run(&Order::Deploy(deploy)),
        Command::Rollback(rollback) => cluster::run(&Order::Rollback(rollback)),
        Command::Promote(promote) => cluster::run(&Order::Promote(promote)),
        Command::Keys(keys) => cluster::run(&Order::Keys(keys)),
    };
    outcome.unwrap_or_else(|error| {
        print::to_stderr(&format!("stagegate: {error:#}\n"));
        ExitCode::FAILURE
    })
}

/// The command line. As a plugin, under the name `kubectl-stagegate`, the program calls itself as its user does.
fn arguments() -> Arguments {
    let plugin = std::env::args_os()
        .next()
        .is_some_and(|name| std::path::Path::new(&name).file_stem().is_some_and(|stem| stem == "kubectl-stagegate"));
    let mut command = Arguments::command();
    if plugin {
        command = command.bin_name("kubectl stagegate");
    }
    Arguments::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// The process's own log goes to standard error; standard output belongs to the access log, or to handlers.
/// `RUST_LOG` says what is logged.
fn start_log(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).compact().init();
}
