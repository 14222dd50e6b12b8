//! The `stagegate` command line.

mod function;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "stagegate", version, about)]
enum Command {
    Function(function::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .init();
    match Command::parse() {
        Command::Function(args) => function::run(args),
    }
}
