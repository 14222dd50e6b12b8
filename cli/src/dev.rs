//! `stagegate dev`
mod watch;
pub(crate) fn run(_: &crate::args::Dev) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("later")
}
