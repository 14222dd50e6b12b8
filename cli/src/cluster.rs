//! Commands that ask something of a cluster: history, diff, deploy, rollback, promote, keys.
//!
//! They need no more rights than `kubectl annotate` does: what a Stage shall serve is an annotation, what it serves is
//! in its status. API keys are Secrets.

mod annotate;
mod changes;
mod diff;
mod grants;
mod history;
mod keys;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use crds::Stage;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::print;
pub(crate) use keys::Keys;

/// Which cluster, and where in it.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Namespace of the Stage, or of the keys. Default: the context's.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Context of the kubeconfig. Default: the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig. Default: $KUBECONFIG, else ~/.kube/config, else the pod's own account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// How long to wait for the proxies.
#[derive(Debug, Args)]
pub(crate) struct Patience {
    /// Returns at once instead of waiting until every proxy serves it.
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Seconds to wait until every proxy serves it.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Waits until every proxy serves it; the default.
    #[arg(long, hide = true, conflicts_with = "no_wait")]
    wait: bool,
}

/// Deployments of a Stage's API, newest first, and which of them the Stage serves.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The Stage.
    #[arg(value_name = "STAGE")]
    stage: String,
    /// A table for people, or JSON.
    #[arg(short, long, value_name = "table|json", default_value = "table", hide_possible_values = true)]
    output: Output,
    #[command(flatten)]
    target: Target,
}

/// How a history is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// What a deployment would change: routes, integrations, who may call, limits.
///
/// Without a number: from what is live to the ApiDefinition as it is now. With one: from what is live to that
/// deployment, as a rollback would. With two: from the first to the second.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The Stage.
    #[arg(value_name = "STAGE")]
    stage: String,
    /// A deployment's number.
    #[arg(value_name = "A")]
    a: Option<u64>,
    /// Another one.
    #[arg(value_name = "B")]
    b: Option<u64>,
    #[command(flatten)]
    target: Target,
}

/// Deploys a Stage's ApiDefinition as it is now, whatever the Stage's `deployPolicy`.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The Stage.
    #[arg(value_name = "STAGE")]
    stage: String,
    /// What is said of the deployment in the history.
    #[arg(value_name = "DESCRIPTION")]
    description: Option<String>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    target: Target,
}

/// Pins a Stage to an earlier deployment, until it is unpinned.
///
/// The contract of that deployment comes back; the Stage's own settings (variables, limits, hosts) stay as they are.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The Stage.
    #[arg(value_name = "STAGE")]
    stage: String,
    /// Number of the deployment. Default: the one before the live one.
    #[arg(value_name = "DEPLOYMENT")]
    deployment: Option<u64>,
    /// Takes the pin away: the Stage follows its API again.
    #[arg(long, conflicts_with = "deployment")]
    unpin: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    target: Target,
}

/// Sends all traffic of a Stage to its canary's deployment, with the canary's variables.
///
/// Take `canary` out of the Stage's spec when it suits; the deployment stays live.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The Stage.
    #[arg(value_name = "STAGE")]
    stage: String,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    target: Target,
}

/// A command that needs a cluster.
#[derive(Debug)]
pub(crate) enum Order {
    History(History),
    Diff(Diff),
    Deploy(Deploy),
    Rollback(Rollback),
    Promote(Promote),
    Keys(Keys),
}

/// Carries out a command.
pub(crate) fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Whoever else has installed one has installed the same.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    runtime.block_on(async {
        match order {
            Order::History(history) => history::run(history).await,
            Order::Diff(diff) => diff::run(diff).await,
            Order::Deploy(deploy) => annotate::deploy(deploy).await,
            Order::Rollback(rollback) => annotate::rollback(rollback).await,
            Order::Promote(promote) => annotate::promote(promote).await,
            Order::Keys(keys) => keys::run(keys).await,
        }
    })
}

/// A Stage in a cluster.
struct Found {
    client: Client,
    stages: Api<Stage>,
    namespace: String,
    name: String,
    stage: Stage,
}

impl Target {
    async fn find(&self, name: &str) -> anyhow::Result<Found> {
        let (client, namespace) = self.connect().await?;
        let stages: Api<Stage> = Api::namespaced(client.clone(), &namespace);
        // `stage/orders-prod`, as kubectl takes it.
        let name = name.strip_prefix("stage/").or_else(|| name.strip_prefix("stages/")).unwrap_or(name).to_owned();
        let found = stages.get_opt(&name).await.with_context(|| format!("cannot read the Stage {namespace}/{name}"))?;
        let Some(stage) = found else { bail!("there is no Stage `{name}` in namespace `{namespace}`") };
        Ok(Found { client, stages, namespace, name, stage })
    }

    /// The cluster, and the namespace there.
    async fn connect(&self) -> anyhow::Result<(Client, String)> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(file) => {
                let kubeconfig =
                    Kubeconfig::read_from(file).with_context(|| format!("cannot read {}", file.display()))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await?
            }
            None if self.context.is_some() => Config::from_kubeconfig(&options).await?,
            None => Config::infer().await.context("no cluster is configured: set KUBECONFIG or give --kubeconfig")?,
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok((Client::try_from(config)?, namespace))
    }
}

impl Patience {
    fn limit(&self) -> Option<Duration> {
        (!self.no_wait).then(|| Duration::from_secs(self.timeout))
    }
}

impl Found {
    /// Sets an annotation of the Stage, or removes it.
    async fn annotate(&self, annotation: &str, value: Option<&str>) -> anyhow::Result<()> {
        let patch = serde_json::json!({"metadata": {"annotations": {annotation: value}}});
        let parameters = kube::api::PatchParams::default();
        self.stages
            .patch_metadata(&self.name, &parameters, &kube::api::Patch::Merge(patch))
            .await
            .with_context(|| format!("cannot annotate the Stage {}/{}", self.namespace, self.name))?;
        Ok(())
    }
}

/// Rows of cells, each column as wide as its widest.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            line.push_str(&format!("{cell:width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn say(text: &str) {
    print::to_stdout(&format!("{text}\n"));
}
