//! How long a change takes from the API server's answer to every proxy, and how much memory it all needs.
//!
//! Every API's document is edited in one place, one edit after the other: the body that a random route answers becomes
//! a value of this edit's own. A client per proxy asks for that route every millisecond, from before the PATCH is sent;
//! the time counted is from the PATCH's response to the first answer with the value, and none if that came first. One
//! process, one clock. The proxies are pods to the operator, so it asks them what they have loaded, as in a cluster.

mod programs;
mod report;
mod watching;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use crds::ApiDefinition;
use e2e::https::Trust;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::programs::Programs;
use crate::report::{Memory, Propagation, missed};
use crate::watching::{Watching, served};

/// Where the APIs are.
const NAMESPACE: &str = "load";
/// Where the operator and the proxies are.
const SYSTEM: &str = "stagegate";
const BUNDLES: &str = "stagegate-bundles";
const BASE_DOMAIN: &str = "apis.example.com";
/// An edit that takes longer is told by itself.
const SLOW: Duration = Duration::from_millis(100);
/// Longest wait for one change, and for everything at the beginning.
const LOST: Duration = Duration::from_secs(30);
const BEGINNING: Duration = Duration::from_secs(300);
/// After the last edit, until memory is looked at.
const SETTLED: Duration = Duration::from_secs(5);

/// Measures propagation and memory. The bars are meant for the defaults.
#[derive(Parser)]
struct Arguments {
    /// Folder of `stagegate-operator` and `stagegate-proxy`.
    #[arg(long)]
    programs: PathBuf,
    /// Number of APIs, each with a Stage.
    #[arg(long, default_value_t = 300)]
    apis: usize,
    /// Routes of each.
    #[arg(long, default_value_t = 10)]
    routes: usize,
    /// Number of proxies.
    #[arg(long, default_value_t = 3)]
    proxies: u8,
    /// Number of edits.
    #[arg(long, default_value_t = 300)]
    edits: usize,
    /// Number of APIs for the memory, which is measured after them.
    #[arg(long, default_value_t = 500)]
    grown_apis: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = async {
        let programs = Programs::start(&arguments.programs, arguments.proxies)?;
        // What the programs said is worth more than what their silence looks like from here.
        measure(&arguments, &programs).await.inspect_err(|_| programs.explain())
    };
    match outcome.await {
        Ok(missed) if missed.is_empty() => {
            println!("every bar is met");
            ExitCode::SUCCESS
        }
        Ok(missed) => {
            println!("missed: {}", missed.join("; "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("propagation: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Bars that are missed.
async fn measure(arguments: &Arguments, programs: &Programs) -> anyhow::Result<Vec<String>> {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let client = Client::try_default().await.context("no cluster is configured")?;
    world::prepare(&client, programs).await?;
    let began = Instant::now();
    world::create(&client, 0..arguments.apis, arguments.routes).await?;
    let trust = world::trust(&client).await?;
    all_served(programs, &trust, 0..arguments.apis).await?;
    say(arguments, arguments.apis, began.elapsed());
    world::acknowledged(&client, arguments.proxies).await?;
    let propagation = edits(&client, arguments, programs, &trust).await?;
    println!("{propagation}");

    let began = Instant::now();
    let grown = arguments.grown_apis.max(arguments.apis);
    world::create(&client, arguments.apis..grown, arguments.routes).await?;
    all_served(programs, &trust, arguments.apis..grown).await?;
    say(arguments, grown, began.elapsed());
    world::acknowledged(&client, arguments.proxies).await?;
    tokio::time::sleep(SETTLED).await;
    let memory = Memory { operator: programs.operator.memory()?, proxies: programs.memory_of_proxies()? };
    println!("{memory}");
    Ok(missed(&propagation, &memory))
}

fn say(arguments: &Arguments, apis: usize, took: Duration) {
    let routes = apis * arguments.routes;
    println!("{routes} routes in {apis} APIs on {} proxies after {took:.1?}", arguments.proxies);
}

/// Waits until every proxy serves all of these.
async fn all_served(programs: &Programs, trust: &Trust, apis: std::ops::Range<usize>) -> anyhow::Result<()> {
    let began = Instant::now();
    for api in apis {
        for address in programs.addresses() {
            let left = BEGINNING.saturating_sub(began.elapsed());
            served(address, api, 0, world::INITIAL, trust, left).await?;
        }
    }
    Ok(())
}

async fn edits(
    client: &Client,
    arguments: &Arguments,
    programs: &Programs,
    trust: &Trust,
) -> anyhow::Result<Propagation> {
    let definitions: Api<ApiDefinition> = Api::namespaced(client.clone(), NAMESPACE);
    let mut times = Vec::new();
    // A sequence that is the same in every run and visits everything.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for edit in 0..arguments.edits {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (api, route) = ((state >> 33) as usize % arguments.apis, (state >> 11) as usize % arguments.routes);
        let value = format!("edit-{edit}");
        let watching = Watching::start(programs.addresses(), api, route, &value, trust).await?;
        let patch = json!({"spec": {"openapi": {"paths": {format!("/r{route}"): {"get": world::mock(&value)}}}}});
        definitions.patch(&world::name(api), &PatchParams::default(), &Patch::Merge(patch)).await?;
        let answered = Instant::now();
        let seen = watching.seen().await?;
        let seen: Vec<Duration> = seen.into_iter().map(|at| at.saturating_duration_since(answered)).collect();
        let slowest = seen.iter().max().copied().unwrap_or_default();
        if slowest > SLOW {
            println!("edit {edit} took {slowest:.1?}");
        }
        times.extend(seen);
    }
    Ok(Propagation::of(times, arguments.edits))
}
