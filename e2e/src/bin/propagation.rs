//! How long a change takes from the API server's answer to every proxy, and how much memory it all needs.
//!
//! Every API's document is edited in one place, one edit after the other: the body that a random route answers becomes
//! a value of this edit's own. A client per proxy asks for that route every millisecond, from before the PATCH is sent;
//! the time counted is from the PATCH's response to the first answer with the value, and none if that came first. One
//! process, one clock.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use crds::{ApiDefinition, Stage};
use e2e::https::{Https, Trust};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, CustomResourceExt};
use serde_json::{Value, json};

/// Where everything is.
const NAMESPACE: &str = "load";
const SYSTEM: &str = "stagegate";
const BUNDLES: &str = "stagegate-bundles";
const BASE_DOMAIN: &str = "apis.example.com";
/// First port of the proxies: HTTPS, and the admin port after it.
const FIRST_PORT: u16 = 18_400;
/// An edit that takes longer is told by itself.
const SLOW: Duration = Duration::from_millis(100);
/// Longest wait for one change.
const LOST: Duration = Duration::from_secs(30);

/// Measures propagation.
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
    proxies: u16,
    /// Number of edits.
    #[arg(long, default_value_t = 200)]
    edits: usize,
}

/// A process that ends with this one.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).map(drop).unwrap_or(());
    }
}

impl Program {
    fn start(arguments: &Arguments, name: &str, log: &str, with: &[String]) -> anyhow::Result<Self> {
        let file = std::fs::File::create(std::env::temp_dir().join(format!("{log}.log")))?;
        let path = arguments.programs.join(name);
        let child = Command::new(&path).args(with).stdout(Stdio::null()).stderr(file).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {}", path.display()))?))
    }

    /// Resident memory in MiB.
    fn memory(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let client = Client::try_default().await?;
    prepare(&client).await?;
    let config = std::env::temp_dir().join("stagegate-propagation.yaml");
    std::fs::write(
        &config,
        format!(
            "gateways: [{{name: default, namespace: {SYSTEM}, selector: {{matchLabels: {{app: stagegate-proxy}}}}, \
             bundleNamespace: {BUNDLES}, baseDomain: {BASE_DOMAIN}}}]\n"
        ),
    )?;
    let operator = Program::start(
        &arguments,
        "stagegate-operator",
        "stagegate-operator",
        &["--config", &config.display().to_string(), "--namespace", SYSTEM, "--listen", "127.0.0.1:18300"]
            .map(str::to_owned),
    )?;
    let proxies: Vec<Program> = (0..arguments.proxies)
        .map(|index| {
            let port = |offset: u16| format!("127.0.0.1:{}", FIRST_PORT + index * 2 + offset);
            let with = [
                "--gateway",
                "default",
                "--bundle-namespace",
                BUNDLES,
                "--https",
                &port(0),
                "--admin",
                &port(1),
                "--workers",
                "1",
                "--access-log",
                "false",
            ];
            Program::start(&arguments, "stagegate-proxy", &format!("stagegate-proxy-{index}"), &with.map(str::to_owned))
        })
        .collect::<anyhow::Result<_>>()?;

    let began = Instant::now();
    create(&client, &arguments).await?;
    let trust = trust(&client).await?;
    for api in 0..arguments.apis {
        for index in 0..arguments.proxies {
            served(proxy(index), api, 0, "initial", &trust).await?;
        }
    }
    let routes = arguments.apis * arguments.routes;
    println!("{routes} routes in {} APIs on {} proxies after {:.1?}", arguments.apis, proxies.len(), began.elapsed());

    let definitions: Api<ApiDefinition> = Api::namespaced(client.clone(), NAMESPACE);
    let mut times = Vec::new();
    // A sequence that is the same in every run and visits everything.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for edit in 0..arguments.edits {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (api, route) = ((state >> 33) as usize % arguments.apis, (state >> 11) as usize % arguments.routes);
        let value = format!("edit-{edit}");
        let watching: Vec<_> = (0..arguments.proxies)
            .map(|index| {
                let (trust, value) = (trust.clone(), value.clone());
                tokio::spawn(async move { served(proxy(index), api, route, &value, &trust).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let path = format!("/r{route}");
        let patch = json!({"spec": {"openapi": {"paths": {path: {"get": mock(&value)}}}}});
        definitions.patch(&format!("api-{api}"), &PatchParams::default(), &Patch::Merge(patch)).await?;
        let answered = Instant::now();
        let mut slowest = Duration::ZERO;
        for task in watching {
            let time = task.await??.saturating_duration_since(answered);
            slowest = slowest.max(time);
            times.push(time);
        }
        if slowest > SLOW {
            println!("edit {edit} took {:.1} ms", milliseconds(slowest));
        }
    }
    report(&mut times);
    println!("memory: operator {:.1} MiB", operator.memory()?);
    for (index, proxy) in proxies.iter().enumerate() {
        println!("memory: proxy {index} {:.1} MiB", proxy.memory()?);
    }
    Ok(())
}

fn proxy(index: u16) -> SocketAddr {
    ([127, 0, 0, 1], FIRST_PORT + index * 2).into()
}

fn report(times: &mut [Duration]) {
    times.sort();
    let count = times.len().max(1);
    let mean = times.iter().sum::<Duration>() / u32::try_from(count).unwrap_or(u32::MAX);
    let at = |share: usize| times.get((count * share / 100).min(count - 1)).copied().unwrap_or_default();
    println!(
        "propagation of {count} changes: mean {:.1} ms, median {:.1}, p99 {:.1}, slowest {:.1}",
        milliseconds(mean),
        milliseconds(at(50)),
        milliseconds(at(99)),
        milliseconds(at(100)),
    );
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// When a proxy first answered a route with a value.
async fn served(address: SocketAddr, api: usize, route: usize, value: &str, trust: &Trust) -> anyhow::Result<Instant> {
    let host = format!("api-{api}.{NAMESPACE}.{BASE_DOMAIN}");
    let path = format!("/prod/r{route}");
    let began = Instant::now();
    let mut connection = None;
    let mut latest = String::new();
    while began.elapsed() < LOST {
        let mut open = match connection.take() {
            Some(open) => open,
            // Until the host is served its certificate is another one.
            None => match Https::connect(address, &host, trust).await {
                Ok(open) => open,
                Err(error) => {
                    latest = format!("{error:#}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let answer = open.get(&path).await?;
        if answer.status == 200 && answer.body == value.as_bytes() {
            return Ok(Instant::now());
        }
        latest = format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
        if !answer.last {
            connection = Some(open);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("{host}{path} on {address} did not answer `{value}` within {} s: {latest}", LOST.as_secs())
}

/// CRDs and namespaces.
async fn prepare(client: &Client) -> anyhow::Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in [ApiDefinition::crd(), Stage::crd(), crds::UsagePlan::crd()] {
        let name = definition.metadata.name.clone().unwrap_or_default();
        let apply = PatchParams::apply("propagation").force();
        definitions.patch(&name, &apply, &Patch::Apply(&definition)).await?;
        let established = kube::runtime::conditions::is_crd_established();
        kube::runtime::wait::await_condition(definitions.clone(), &name, established).await?;
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in [NAMESPACE, SYSTEM, BUNDLES] {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        namespaces.create(&PostParams::default(), &namespace).await?;
    }
    Ok(())
}

/// APIs and their Stages.
async fn create(client: &Client, arguments: &Arguments) -> anyhow::Result<()> {
    let definitions: Api<ApiDefinition> = Api::namespaced(client.clone(), NAMESPACE);
    let stages: Api<Stage> = Api::namespaced(client.clone(), NAMESPACE);
    let (definitions, stages) = (&definitions, &stages);
    stream::iter(0..arguments.apis)
        .map(anyhow::Ok)
        .try_for_each_concurrent(8, |index| async move {
            let name = format!("api-{index}");
            let paths: serde_json::Map<String, Value> =
                (0..arguments.routes).map(|route| (format!("/r{route}"), json!({"get": mock("initial")}))).collect();
            let document = json!({"openapi": "3.0.3", "info": {"title": name, "version": "1"}, "paths": paths});
            let definition = serde_json::from_value(json!({
                "apiVersion": "stagegate.dev/v1alpha1", "kind": "ApiDefinition",
                "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"openapi": document},
            }))?;
            definitions.create(&PostParams::default(), &definition).await?;
            let stage = serde_json::from_value(json!({
                "apiVersion": "stagegate.dev/v1alpha1", "kind": "Stage",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"apiRef": {"name": name}, "stageName": "prod"},
            }))?;
            stages.create(&PostParams::default(), &stage).await?;
            Ok(())
        })
        .await
}

/// A method that answers this text.
fn mock(text: &str) -> Value {
    json!({
        "responses": {"200": {"description": "fine"}},
        "x-amazon-apigateway-integration": {
            "type": "mock",
            "requestTemplates": {"application/json": "{\"statusCode\": 200}"},
            "responses": {"default": {"statusCode": "200", "responseTemplates": {"application/json": text}}},
        },
    })
}

/// The CA that the operator has made.
async fn trust(client: &Client) -> anyhow::Result<Trust> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    let began = Instant::now();
    loop {
        if let Some(secret) = secrets.get_opt("stagegate-local-ca").await? {
            let data = secret.data.unwrap_or_default();
            return Trust::new(&data.get("ca.crt").context("the CA's Secret has no ca.crt")?.0);
        }
        if began.elapsed() > LOST {
            bail!("the operator has made no local CA");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
