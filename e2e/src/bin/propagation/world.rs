//! What is in the cluster.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use crds::stage::Proxies;
use crds::{ApiDefinition, Stage, UsagePlan};
use e2e::https::Trust;
use futures_util::stream::{self, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, CustomResourceExt};
use serde_json::{Map, Value, json};

use crate::programs::{APP, Programs};
use crate::{BEGINNING, BUNDLES, LOST, NAMESPACE, SYSTEM};

/// What every route answers before it is edited.
pub(crate) const INITIAL: &str = "initial";
/// Writes at a time.
const WRITES: usize = 8;

/// CRDs, namespaces, and pods that stand for the proxies.
pub(crate) async fn prepare(client: &Client, programs: &Programs) -> anyhow::Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in [ApiDefinition::crd(), Stage::crd(), UsagePlan::crd()] {
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
    // A pod needs one; the controller that makes it may be slower, or not there.
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), SYSTEM);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    accounts.patch("default", &PatchParams::apply("propagation"), &Patch::Apply(&account)).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM);
    for (name, address) in programs.pods() {
        // Nobody runs it: what it stands for runs already.
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"app": APP}},
            "spec": {"schedulerName": "none", "containers": [{"name": "proxy", "image": "none"}]},
        }))?;
        pods.create(&PostParams::default(), &pod).await?;
        let address = address.to_string();
        let status = json!({"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    }
    Ok(())
}

/// Name of an API and of its Stage.
pub(crate) fn name(api: usize) -> String {
    format!("api-{api}")
}

/// APIs and their Stages.
pub(crate) async fn create(client: &Client, apis: Range<usize>, routes: usize) -> anyhow::Result<()> {
    let definitions: Api<ApiDefinition> = Api::namespaced(client.clone(), NAMESPACE);
    let stages: Api<Stage> = Api::namespaced(client.clone(), NAMESPACE);
    let (definitions, stages) = (&definitions, &stages);
    stream::iter(apis.map(anyhow::Ok))
        .try_for_each_concurrent(WRITES, |api| async move {
            let name = name(api);
            let paths: Map<String, Value> =
                (0..routes).map(|route| (format!("/r{route}"), json!({"get": mock(INITIAL)}))).collect();
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
pub(crate) fn mock(text: &str) -> Value {
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
pub(crate) async fn trust(client: &Client) -> anyhow::Result<Trust> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    let began = Instant::now();
    loop {
        if let Some(secret) = secrets.get_opt("stagegate-local-ca").await? {
            let data = secret.data.unwrap_or_default();
            return Trust::new(&data.get("ca.crt").context("the CA's Secret has no ca.crt")?.0);
        }
        if began.elapsed() > LOST {
            bail!("the operator has made no local CA within {LOST:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the operator has said of every Stage that all proxies serve it: then it has written what there is to write.
pub(crate) async fn acknowledged(client: &Client, proxies: u8) -> anyhow::Result<()> {
    let stages: Api<Stage> = Api::namespaced(client.clone(), NAMESPACE);
    let all = Some(Proxies { ready: proxies.into(), total: proxies.into() });
    let began = Instant::now();
    loop {
        let listed = stages.list(&ListParams::default()).await?;
        let waiting = listed.items.iter().filter(|stage| stage.status.as_ref().and_then(|it| it.proxies) != all);
        let Some(first) = waiting.map(|stage| stage.metadata.name.clone().unwrap_or_default()).next() else {
            return Ok(());
        };
        if began.elapsed() > BEGINNING {
            bail!("the operator does not see {proxies} proxies serve the Stage {first} within {BEGINNING:?}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
