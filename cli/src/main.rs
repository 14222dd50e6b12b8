//! The stagegate command line.

mod args;
mod authority;
mod collect;
mod deployments;
mod dev;
mod function;
mod lint;
mod print;
mod state;

use std::process::ExitCode;

use args::{Arguments, Command};
use clap::Parser;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Dev(dev) => dev::run(&dev),
        Command::Lint(lint) => lint::run(&lint),
        Command::Function(function) => function::run(function),
    };
    outcome.unwrap_or_else(|error| {
        print::to_stderr(&format!("stagegate: {error:#}\n"));
        ExitCode::FAILURE
    })
}
