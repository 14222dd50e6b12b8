//! The whole of it on a node: what a user installs, applies, changes and rolls back, and what must not be noticed.
//!
//! Every step that changes something runs under load, and no request may fail.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use e2e::cluster::{Cluster, Depth, shared};
use e2e::https::{Https, Trust};
use e2e::load::{Goal, Load, Tally};
use e2e::program::{command_line, root, run};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const HOST: &str = "shop.shop.apis.example.com";
const PROXIES: &str = "deployment/stagegate-proxy-default";
const OPERATOR: &str = "deployment/stagegate-operator";
/// Clients of the load, and requests a second of each.
const CLIENTS: usize = 8;
const RATE: u32 = 25;

#[test]
fn what_a_user_does_and_what_nobody_notices() {
    // Building them takes minutes, so that is not for a plain `cargo test`.
    let Some(images) = std::env::var_os("STAGEGATE_IMAGES").map(PathBuf::from) else {
        assert!(std::env::var_os("STAGEGATE_E2E").is_none_or(|value| value != "1"), "STAGEGATE_IMAGES is not set");
        eprintln!("skipped: STAGEGATE_IMAGES names no folder; `deploy/images tarballs FOLDER` makes one");
        return;
    };
    let Some(cluster) = shared(Depth::Nodes { count: 1, metrics: true }) else { return };
    cluster.enter().unwrap();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(scenario(cluster, &images))
        .unwrap();
}

async fn scenario(cluster: &'static Cluster, images: &Path) -> anyhow::Result<()> {
    let node = Node::install(cluster, images)?;
    node.applied().await?;
    node.changed_and_rolled_back().await?;
    node.broken().await?;
    node.certificate_rotated().await?;
    node.canary().await?;
    node.deployed_by_hand().await?;
    node.sidecar().await?;
    node.operator_killed().await?;
    node.upgraded().await?;
    node.scaled().await?;
    node.without_api_server().await
}

/// An installation.
struct Node {
    cluster: &'static Cluster,
    stagegate: PathBuf,
}

impl Node {
    fn install(cluster: &'static Cluster, images: &Path) -> anyhow::Result<Self> {
        cluster.load_images(&[&images.join("operator.tar"), &images.join("proxy.tar")])?;
        let chart = |name: &str| root().join("charts").join(name).display().to_string();
        cluster.helm(["install", "stagegate-crds", &chart("stagegate-crds")])?;
        let values = "proxy.service.type=NodePort,proxy.replicas=3,proxy.accessLog=false,clusterRanges={10.96.0.0/16,10.244.0.0/16}";
        let install = [
            "install",
            "stagegate",
            &chart("stagegate"),
            "--namespace",
            "stagegate",
            "--create-namespace",
            "--set",
            values,
        ];
        cluster.helm(install)?;
        let node = Self { cluster, stagegate: command_line()? };
        node.rolled_out(OPERATOR)?;
        node.rolled_out(PROXIES)?;
        step("installed, everything is ready");
        Ok(node)
    }

    async fn applied(&self) -> anyhow::Result<()> {
        let examples = root().join("deploy/examples/kubernetes").display().to_string();
        self.cluster.kubectl(["apply", "-f", &examples])?;
        self.kubectl(&["-n", "shop", "rollout", "status", "deployment/shop", "--timeout=180s"])?;
        self.kubectl(&["-n", "shop", "wait", "--for=condition=Programmed", "stage/shop-prod", "--timeout=90s"])?;
        // What the condition says is so from the first request on.
        self.everywhere("1.0").await?;
        let mut pods = BTreeSet::new();
        for _ in 0..40 {
            let (status, pod) = self.get("/prod/hostname").await?;
            assert_eq!(status, 200, "{pod}");
            pods.insert(pod);
        }
        assert_eq!(pods.len(), 2, "straight to both pods: {pods:?}");
        step("applied, 200 through the Service, requests go to both pods");
        Ok(())
    }

    async fn changed_and_rolled_back(&self) -> anyhow::Result<()> {
        let load = self.load("/prod/hostname").await?;
        self.version("1.1")?;
        self.answers("/prod/version", r#"{"version": "1.1"}"#, Duration::from_secs(10)).await?;
        // The pods of the backend are replaced meanwhile, one by one.
        self.kubectl(&["-n", "shop", "rollout", "restart", "deployment/shop"])?;
        self.kubectl(&["-n", "shop", "rollout", "status", "deployment/shop", "--timeout=180s"])?;
        // It has waited until every proxy serves it.
        self.stagegate(&["rollback", "shop-prod", "1", "-n", "shop"])?;
        self.everywhere("1.0").await?;
        self.stagegate(&["rollback", "shop-prod", "--unpin", "-n", "shop"])?;
        self.everywhere("1.1").await?;
        // As a user without our command line does it.
        self.kubectl(&["-n", "shop", "annotate", "stage/shop-prod", "stagegate.dev/rollback-to=previous"])?;
        self.answers("/prod/version", r#"{"version": "1.0"}"#, Duration::from_secs(10)).await?;
        self.kubectl(&["-n", "shop", "annotate", "stage/shop-prod", "stagegate.dev/rollback-to-"])?;
        self.answers("/prod/version", r#"{"version": "1.1"}"#, Duration::from_secs(10)).await?;
        no_failures("change, backend's rollout, rollback, unpin", load.stop().await)
    }

    async fn broken(&self) -> anyhow::Result<()> {
        let patch = r#"[{"op": "replace", "path": "/spec/openapi/paths/~1version/get/x-amazon-apigateway-integration/type", "value": "mok"}]"#;
        self.kubectl(&["-n", "shop", "patch", "apidefinition/shop", "--type=json", "-p", patch])?;
        self.kubectl(&["-n", "shop", "wait", "--for=condition=Accepted=false", "apidefinition/shop", "--timeout=30s"])?;
        let path = "jsonpath={.status.conditions[?(@.type==\"Accepted\")].message}";
        let message = self.kubectl(&["-n", "shop", "get", "apidefinition/shop", "-o", path])?;
        assert!(message.contains("/spec/openapi/paths/~1version/get"), "says where: {message}");
        assert_eq!(self.get("/prod/version").await?.1, r#"{"version": "1.1"}"#);
        self.version("1.2")?;
        self.answers("/prod/version", r#"{"version": "1.2"}"#, Duration::from_secs(10)).await?;
        step("a broken document changes nothing and says where it is broken");
        Ok(())
    }

    async fn certificate_rotated(&self) -> anyhow::Result<()> {
        let host = "api.example.com";
        let first = self.certificate(host)?;
        let patch = r#"{"spec": {"hosts": [{"name": "api.example.com", "tls": {"secretName": "api"}}]}}"#;
        self.kubectl(&["-n", "shop", "patch", "stage/shop-prod", "--type=merge", "-p", patch])?;
        self.trusted(host, &first).await?;
        let mut load = Load::start(
            &Goal { address: self.address()?, host: host.to_owned(), path: "/version".to_owned(), trust: first },
            2,
            RATE,
        );
        load.begun().await;
        let second = self.certificate(host)?;
        let began = Instant::now();
        self.trusted(host, &second).await?;
        let took = began.elapsed();
        // Connections that are open go on; new ones see the new certificate.
        let tally = load.stop().await;
        assert!(tally.answers.values().sum::<u64>() > 0, "{tally:?}");
        step(&format!("a rotated certificate is shown after {took:.1?}"));
        Ok(())
    }

    async fn canary(&self) -> anyhow::Result<()> {
        // Of 1.0, 1.1 and 1.2; what is broken makes none.
        self.live("3")?;
        let patch = r#"{"spec": {"canary": {"deployment": 1, "percent": 10}}}"#;
        self.kubectl(&["-n", "shop", "patch", "stage/shop-prod", "--type=merge", "-p", patch])?;
        self.answers("/prod/version", r#"{"version": "1.0"}"#, Duration::from_secs(10)).await?;
        let mut connection = self.connect().await?;
        let mut canary = 0;
        for _ in 0..3000 {
            canary += u32::from(connection.get("/prod/version").await?.body.ends_with(br#""1.0"}"#));
        }
        // Five standard deviations on either side.
        assert!((218..=382).contains(&canary), "{canary} of 3000 is no tenth");
        self.stagegate(&["promote", "shop-prod", "-n", "shop"])?;
        for _ in 0..50 {
            assert_eq!(self.get("/prod/version").await?.1, r#"{"version": "1.0"}"#);
        }
        self.kubectl(&[
            "-n",
            "shop",
            "patch",
            "stage/shop-prod",
            "--type=json",
            "-p",
            r#"[{"op": "remove", "path": "/spec/canary"}]"#,
        ])?;
        self.kubectl(&["-n", "shop", "annotate", "stage/shop-prod", "stagegate.dev/promote-canary-"])?;
        self.answers("/prod/version", r#"{"version": "1.2"}"#, Duration::from_secs(10)).await?;
        self.live("3")?;
        step(&format!("a canary of 10 % gets {canary} of 3000 requests; promoted it gets all"));
        Ok(())
    }

    async fn deployed_by_hand(&self) -> anyhow::Result<()> {
        let policy = |policy: &str| {
            let patch = format!(r#"{{"spec": {{"deployPolicy": "{policy}"}}}}"#);
            self.kubectl(&["-n", "shop", "patch", "stage/shop-prod", "--type=merge", "-p", &patch])
        };
        policy("Manual")?;
        // Known before the edit is: the two are told by different watches.
        self.observed("stage/shop-prod")?;
        self.version("2.0")?;
        self.observed("apidefinition/shop")?;
        let changes = self.stagegate(&["diff", "shop-prod", "-n", "shop"])?;
        assert!(changes.contains("~ /version GET") && changes.contains("2.0"), "{changes}");
        assert_eq!(self.get("/prod/version").await?.1, r#"{"version": "1.2"}"#, "it waits for a word");
        self.stagegate(&["deploy", "shop-prod", "by hand", "-n", "shop"])?;
        self.everywhere("2.0").await?;
        let history = self.stagegate(&["history", "shop-prod", "-n", "shop"])?;
        let newest = history.lines().nth(1).unwrap_or_default();
        assert!(newest.contains("live") && newest.ends_with("by hand"), "{history}");
        policy("Automatic")?;
        step("a Manual stage waits until it is deployed by hand; diff and history say so");
        Ok(())
    }

    async fn sidecar(&self) -> anyhow::Result<()> {
        let example = root().join("deploy/examples/sidecar").display().to_string();
        self.cluster.kubectl(["apply", "-f", &example])?;
        let chart = root().join("charts/stagegate").display().to_string();
        let gateways = r#"gateways=[{"name": "default", "baseDomain": "apis.example.com", "bundleNamespace": "stagegate-bundles", "sidecars": [{"namespace": "sidecar", "stage": "shop-prod"}]}]"#;
        let upgrade = ["upgrade", "stagegate", &chart, "-n", "stagegate", "--reuse-values", "--set-json", gateways];
        self.cluster.helm(upgrade)?;
        self.rolled_out(OPERATOR)?;
        self.rolled_out(PROXIES)?;
        // The node tries the Secret's mount again after up to two minutes.
        self.kubectl(&["-n", "sidecar", "rollout", "status", "deployment/app", "--timeout=240s"])?;
        let name = ["-n", "sidecar", "get", "pods", "-l", "app=app", "-o", "jsonpath={.items[0].metadata.name}"];
        let process = proxy_of(&self.kubectl(&name)?)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = within(process, || plain("127.0.0.1:8080", "/prod/version"))?;
            if answer.as_ref().is_ok_and(|answer| answer.ends_with(r#"{"version": "1.0"}"#)) {
                break;
            }
            if Instant::now() > deadline {
                bail!("the sidecar answers {answer:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        step("a sidecar serves the program beside it from a mounted Secret");
        Ok(())
    }

    async fn operator_killed(&self) -> anyhow::Result<()> {
        let load = self.load("/prod/version").await?;
        self.kubectl(&[
            "-n",
            "stagegate",
            "delete",
            "pods",
            "-l",
            "app.kubernetes.io/name=stagegate-operator",
            "--force",
            "--grace-period=0",
        ])?;
        self.version("1.3")?;
        let began = Instant::now();
        self.answers("/prod/version", r#"{"version": "1.3"}"#, Duration::from_secs(90)).await?;
        let took = began.elapsed();
        self.rolled_out(OPERATOR)?;
        no_failures(&format!("every operator killed; the next change is live after {took:.1?}"), load.stop().await)
    }

    async fn upgraded(&self) -> anyhow::Result<()> {
        let load = self.load("/prod/hostname").await?;
        for what in [PROXIES, OPERATOR] {
            self.kubectl(&["-n", "stagegate", "rollout", "restart", what])?;
            self.rolled_out(what)?;
        }
        self.drained().await?;
        no_failures("rolling upgrade of the proxies and of the operator", load.stop().await)
    }

    async fn scaled(&self) -> anyhow::Result<()> {
        let load = self.load("/prod/hostname").await?;
        for replicas in ["1", "3", "1", "3"] {
            self.kubectl(&["-n", "stagegate", "scale", PROXIES, &format!("--replicas={replicas}")])?;
            self.rolled_out(PROXIES)?;
            self.drained().await?;
        }
        no_failures("3 → 1 → 3 → 1 → 3 replicas", load.stop().await)?;
        // The same by an autoscaler, which measures with metrics-server.
        let chart = root().join("charts/stagegate").display().to_string();
        let values = "proxy.autoscaling.enabled=true,proxy.autoscaling.minReplicas=1,proxy.autoscaling.maxReplicas=4,proxy.autoscaling.cpuPercent=1,proxy.resources.requests.cpu=20m";
        self.cluster.helm([
            "upgrade",
            "stagegate",
            &chart,
            "--namespace",
            "stagegate",
            "--reuse-values",
            "--set",
            values,
        ])?;
        self.rolled_out(PROXIES)?;
        let load = self.load("/prod/hostname").await?;
        let replicas = || self.kubectl(&["-n", "stagegate", "get", PROXIES, "-o", "jsonpath={.status.readyReplicas}"]);
        let deadline = Instant::now() + Duration::from_secs(240);
        while replicas()? != "4" {
            if Instant::now() > deadline {
                bail!("the autoscaler made {} of 4 replicas", replicas()?);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        no_failures("an autoscaler that measures makes 4 replicas", load.stop().await)
    }

    async fn without_api_server(&self) -> anyhow::Result<()> {
        let pods = self.proxies()?;
        let (restarted, others) = pods.split_first().context("there are proxies")?;
        let trust = self.trust()?;
        let goal = |ip: &str| -> anyhow::Result<Goal> {
            let address = format!("{ip}:8443").parse()?;
            Ok(Goal { address, host: HOST.to_owned(), path: "/prod/version".to_owned(), trust: trust.clone() })
        };
        let mut loads: Vec<Load> =
            others.iter().map(|(_, ip)| Ok(Load::start(&goal(ip)?, 2, RATE))).collect::<anyhow::Result<_>>()?;
        for load in &mut loads {
            load.begun().await;
        }
        let down = Instant::now();
        let api_server = ApiServer::stop(self.cluster)?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        kill_container(&restarted.0)?;
        let killed = Instant::now();
        // From the moment that it runs again: how soon the node starts it is the node's matter.
        let cold = goal(&restarted.1)?;
        let mut reachable = None;
        loop {
            if tokio::net::TcpStream::connect(cold.address).await.is_ok() {
                reachable.get_or_insert_with(Instant::now);
            }
            if let Ok(mut connection) = Https::connect(cold.address, HOST, &trust).await
                && let Ok(answer) = connection.get("/prod/version").await
                && answer.status == 200
            {
                break;
            }
            if killed.elapsed() > Duration::from_secs(90) {
                bail!("a proxy that starts while the API server is down does not serve");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = reachable.map_or(Duration::ZERO, |since| since.elapsed());
        assert!(took < Duration::from_secs(5), "served {took:?} after it was reachable");
        tokio::time::sleep(Duration::from_secs(60).saturating_sub(down.elapsed())).await;
        drop(api_server);
        for load in loads {
            no_failures("the API server is away for a minute", load.stop().await)?;
        }
        step(&format!("a proxy restarted meanwhile serves {took:.1?} after it can be reached"));
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.version("1.4").is_err() {
            if Instant::now() > deadline {
                bail!("the API server does not come back");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.answers("/prod/version", r#"{"version": "1.4"}"#, Duration::from_secs(120)).await?;
        step("the API server is back, and the next change goes through");
        Ok(())
    }

    /// Sets the version that the document answers.
    fn version(&self, version: &str) -> anyhow::Result<()> {
        let path = "/spec/openapi/paths/~1version/get/x-amazon-apigateway-integration";
        let patch = format!(
            r#"[{{"op": "replace", "path": "{path}/type", "value": "mock"}},
                {{"op": "replace", "path": "{path}/responses/default/responseTemplates/application~1json", "value": "{{\"version\": \"{version}\"}}"}}]"#
        );
        self.kubectl(&["-n", "shop", "patch", "apidefinition/shop", "--type=json", "-p", &patch]).map(drop)
    }

    /// A new key and certificate for a host, in the Secret `api`; who trusts it.
    fn certificate(&self, host: &str) -> anyhow::Result<Trust> {
        let folder = tempfile::tempdir()?;
        let (key, certificate) = (folder.path().join("tls.key"), folder.path().join("tls.crt"));
        let subject = format!("/CN={host}");
        let names = format!("subjectAltName=DNS:{host}");
        run(
            Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
                .args([
                    "-subj",
                    &subject,
                    "-addext",
                    &names,
                    "-addext",
                    "basicConstraints=critical,CA:FALSE",
                    "-keyout",
                ])
                .arg(&key)
                .arg("-out")
                .arg(&certificate),
            "",
        )?;
        let text = |path: &PathBuf| std::fs::read_to_string(path);
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "api", "namespace": "shop"},
            "stringData": {"tls.crt": text(&certificate)?, "tls.key": text(&key)?},
        });
        self.cluster.kubectl_with(["apply", "-f", "-"], &secret.to_string())?;
        Trust::new(text(&certificate)?.as_bytes())
    }

    /// Waits until every proxy shows a certificate that is trusted.
    async fn trusted(&self, host: &str, trust: &Trust) -> anyhow::Result<()> {
        for (pod, ip) in self.proxies()? {
            let address: SocketAddr = format!("{ip}:8443").parse()?;
            let deadline = Instant::now() + Duration::from_secs(30);
            while let Err(error) = Https::connect(address, host, trust).await {
                if Instant::now() > deadline {
                    bail!("{pod} does not show the certificate: {error:#}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// Waits until the status says that this deployment is live: it is told after it is so.
    fn live(&self, number: &str) -> anyhow::Result<()> {
        let live = format!("--for=jsonpath={{.status.deployment}}={number}");
        self.kubectl(&["-n", "shop", "wait", &live, "stage/shop-prod", "--timeout=30s"]).map(drop)
    }

    /// Waits until the operator has seen an object as it is now.
    fn observed(&self, object: &str) -> anyhow::Result<()> {
        let generation = self.kubectl(&["-n", "shop", "get", object, "-o", "jsonpath={.metadata.generation}"])?;
        let seen = format!("--for=jsonpath={{.status.observedGeneration}}={generation}");
        self.kubectl(&["-n", "shop", "wait", &seen, object, "--timeout=30s"]).map(drop)
    }

    /// Every proxy answers this version, at the first time of asking.
    async fn everywhere(&self, version: &str) -> anyhow::Result<()> {
        let (trust, want) = (self.trust()?, format!(r#"{{"version": "{version}"}}"#));
        for (pod, ip) in self.proxies()? {
            let address = format!("{ip}:8443").parse()?;
            let answer = Https::connect(address, HOST, &trust).await?.get("/prod/version").await?;
            if (answer.status, &answer.body[..]) != (200, want.as_bytes()) {
                bail!("{pod} was said to serve {version}, and answers {answer:?}");
            }
        }
        Ok(())
    }

    /// Waits until no proxy is ending any more.
    async fn drained(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let pods = ["-n", "stagegate", "get", "pods", "-l", "app.kubernetes.io/name=stagegate-proxy"];
            let ending = ["-o", "jsonpath={.items[*].metadata.deletionTimestamp}"];
            let ending = self.kubectl(&[&pods[..], &ending[..]].concat())?;
            if ending.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("proxies that were told to end at {ending} still run");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Names and addresses of the proxies that serve and stay: not of those that start, or that a rollout or the autoscaler has ended.
    fn proxies(&self) -> anyhow::Result<Vec<(String, String)>> {
        let pods = ["-n", "stagegate", "get", "pods", "-l", "app.kubernetes.io/name=stagegate-proxy", "-o", "json"];
        let list: serde_json::Value = serde_json::from_str(&self.kubectl(&pods)?)?;
        let serves = |pod: &&serde_json::Value| {
            let ready = pod["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            ready && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        Ok(list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(serves)
            .filter_map(|pod| Some((text(&pod["metadata"]["name"])?, text(&pod["status"]["podIP"])?)))
            .collect())
    }

    /// The Service of the proxies.
    fn address(&self) -> anyhow::Result<SocketAddr> {
        let ip = self.kubectl(&[
            "-n",
            "stagegate",
            "get",
            "service/stagegate-proxy-default",
            "-o",
            "jsonpath={.spec.clusterIP}",
        ])?;
        Ok(format!("{ip}:443").parse()?)
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        let path = "jsonpath={.data.ca\\.crt}";
        let text = self.kubectl(&["-n", "stagegate", "get", "secret/stagegate-local-ca", "-o", path])?;
        Trust::new(run(Command::new("base64").arg("-d"), &text)?.as_bytes())
    }

    async fn connect(&self) -> anyhow::Result<Https> {
        Https::connect(self.address()?, HOST, &self.trust()?).await
    }

    async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let answer = self.connect().await?.get(path).await?;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// Waits until a path answers a text.
    async fn answers(&self, path: &str, body: &str, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        let (address, trust) = (self.address()?, self.trust()?);
        loop {
            let answer = async { Https::connect(address, HOST, &trust).await?.get(path).await }.await;
            match &answer {
                Ok(answer) if answer.status == 200 && answer.body == body => return Ok(()),
                _ if Instant::now() > deadline => bail!("{path} does not answer {body}, but {answer:?}"),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn load(&self, path: &str) -> anyhow::Result<Load> {
        let goal =
            Goal { address: self.address()?, host: HOST.to_owned(), path: path.to_owned(), trust: self.trust()? };
        let mut load = Load::start(&goal, CLIENTS, RATE);
        load.begun().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(load)
    }

    fn rolled_out(&self, what: &str) -> anyhow::Result<()> {
        let outcome = self.kubectl(&["-n", "stagegate", "rollout", "status", what, "--timeout=240s"]);
        if outcome.is_err() {
            // What is needed to see why.
            eprintln!("{}", self.kubectl(&["-n", "stagegate", "get", "pods", "-o", "wide"]).unwrap_or_default());
            eprintln!("{}", self.kubectl(&["-n", "stagegate", "logs", what, "--tail=30"]).unwrap_or_default());
        }
        outcome.map(drop)
    }

    fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.cluster.kubectl(arguments)
    }

    fn stagegate(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let said = run(self.cluster.command(&self.stagegate.display().to_string()).args(arguments), "")?;
        eprint!("  {said}");
        Ok(said)
    }
}

/// The API server, stopped until this is dropped.
struct ApiServer(&'static Cluster);

impl ApiServer {
    fn stop(cluster: &'static Cluster) -> anyhow::Result<Self> {
        cluster.signal("kube-apiserver", "STOP")?;
        Ok(Self(cluster))
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.0.signal("kube-apiserver", "CONT").ok();
    }
}

fn signal(process: i32, signal: &str) -> anyhow::Result<()> {
    run(Command::new("kill").args([&format!("-{signal}"), &process.to_string()]), "").map(drop)
}

/// Does something where the loopback is that of a process, as the program beside a sidecar does.
fn within<T: Send>(process: i32, what: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    let namespace = std::fs::File::open(format!("/proc/{process}/ns/net"))?;
    // On a thread of its own, which is moved there and ends there.
    std::thread::scope(|scope| {
        let there = scope.spawn(move || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).map(|()| what())
        });
        Ok(there.join().map_err(|_| anyhow::anyhow!("it panicked"))??)
    })
}

/// The answer to a request in clear text, as it stands on the wire.
fn plain(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Ends a pod's program as a crash would; the node starts it again by itself.
fn kill_container(pod: &str) -> anyhow::Result<()> {
    signal(proxy_of(pod)?, "KILL")
}

/// The process of a pod's proxy.
fn proxy_of(pod: &str) -> anyhow::Result<i32> {
    // The pod's name is in the environment of its program.
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let named = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let program = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let hostname = format!("HOSTNAME={pod}");
        if program.starts_with(b"/stagegate-proxy")
            && named.split(|byte| *byte == 0).any(|line| line == hostname.as_bytes())
        {
            return Ok(process);
        }
    }
    bail!("no process is the proxy of {pod}")
}

fn no_failures(what: &str, tally: Tally) -> anyhow::Result<()> {
    if tally.failed() > 0 {
        bail!("{what}: {} of {} requests failed: {:?}", tally.failed(), tally.total(), tally.failures);
    }
    step(&format!("{what}: {} requests, none failed, slowest {:.0?}", tally.total(), tally.slowest));
    Ok(())
}

fn step(text: &str) {
    eprintln!("- {text}");
}
