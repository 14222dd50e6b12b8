//! The stagegate command line.

mod args;
mod authority;
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
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// A request is many small allocations, and an idle connection a few that stay.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
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
    };
    outcome.unwrap_or_else(|error| {
        print::to_stderr(&format!("stagegate: {error:#}\n"));
        ExitCode::FAILURE
    })
}

/// The process's own log goes to standard error; standard output belongs to the access log, or to handlers.
/// `RUST_LOG` says what is logged.
fn start_log(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).compact().init();
}
