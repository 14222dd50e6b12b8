//! The stagegate command line.

mod args;
mod authority;
mod collect;
mod deployments;
mod dev;
mod lint;
mod print;
mod state;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Dev(dev) => dev::run(&dev),
        Command::Lint(lint) => lint::run(&lint),
    };
    outcome.unwrap_or_else(|error| {
        print::to_stderr(&format!("stagegate: {error:#}\n"));
        ExitCode::FAILURE
    })
}
