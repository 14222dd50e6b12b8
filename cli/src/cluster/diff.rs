//! `stagegate diff`: two contracts, compiled under the same Stage.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use bundle::{StageBundle, Stamped};
use compile::deploy::Snapshot;
use compile::{Contract, Gateway, ObjectKey, StageInputs, World, attach, compile_stage};
use crds::ApiDefinition;
use crds::api_definition::OpenApiFrom;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::changes::changes;
use super::grants::grants;
use super::{Diff, Found, say};

/// One side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The ApiDefinition as it is.
    Now,
    Deployment(u64),
}

pub(super) async fn run(diff: &Diff) -> anyhow::Result<ExitCode> {
    let found = diff.target.find(&diff.stage).await?;
    let live = || {
        let number = found.stage.status.as_ref().and_then(|status| status.deployment);
        number.map(Side::Deployment).context("nothing has been deployed yet: there is nothing to compare with")
    };
    let (before, after) = match (diff.a, diff.b) {
        (None, _) => (live()?, Side::Now),
        (Some(a), None) => (live()?, Side::Deployment(a)),
        (Some(a), Some(b)) => (Side::Deployment(a), Side::Deployment(b)),
    };
    let mut inputs = inputs(&found).await?;
    let (old, new) = (contract(&found, &inputs, before).await?, contract(&found, &inputs, after).await?);
    inputs.grants =
        grants(&found.client, &found.namespace, &found.stage.spec, &[&*old, &*new]).await?.into_iter().collect();
    let (old, new) = (compiled(&inputs, before, old)?, compiled(&inputs, after, new)?);
    let lines = changes(&old, &new);
    if lines.is_empty() {
        say(&format!("{before} and {after} serve the same"));
    } else {
        say(&format!("from {before} to {after}:\n{}", lines.join("\n")));
    }
    Ok(ExitCode::SUCCESS)
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now => f.write_str("the ApiDefinition as it is now"),
            Self::Deployment(number) => write!(f, "deployment {number}"),
        }
    }
}

/// The Stage's inputs, with the ApiDefinition as it is now. Secrets are not read: they make no difference here.
async fn inputs(found: &Found) -> anyhow::Result<StageInputs> {
    let namespace = &found.namespace;
    let name = &found.stage.spec.api_ref.name;
    let definitions: Api<ApiDefinition> = Api::namespaced(found.client.clone(), namespace);
    let definition = definitions
        .get_opt(name)
        .await?
        .with_context(|| format!("there is no ApiDefinition `{name}` in namespace `{namespace}`"))?;
    let mut config_maps = BTreeMap::new();
    if let Some(from) = &definition.spec.openapi_from {
        let OpenApiFrom { config_map_key_ref, config_map_key_refs } = from;
        let maps: Api<ConfigMap> = Api::namespaced(found.client.clone(), namespace);
        for part in config_map_key_ref.iter().chain(config_map_key_refs.iter().flatten()) {
            if let Some(map) = maps.get_opt(&part.name).await? {
                config_maps.insert(ObjectKey::new(namespace, &part.name), Arc::new(map));
            }
        }
    }
    let world = World {
        api_definitions: [(ObjectKey::new(namespace, name), Arc::new(definition))].into(),
        stages: [(ObjectKey::new(namespace, &found.name), Arc::new(found.stage.clone()))].into(),
        config_maps,
        ..World::default()
    };
    attach(&world, &Gateway::dev()).stages.pop().context("the Stage has no ApiDefinition")
}

async fn contract(found: &Found, inputs: &StageInputs, side: Side) -> anyhow::Result<Arc<Contract>> {
    Ok(match side {
        Side::Now => Arc::clone(&inputs.contract),
        Side::Deployment(number) => Arc::new(snapshot(found, number).await?),
    })
}

fn compiled(inputs: &StageInputs, side: Side, contract: Arc<Contract>) -> anyhow::Result<Stamped<StageBundle>> {
    let errors: Vec<String> = compile::check_api(&contract)
        .into_iter()
        .filter(|finding| finding.severity == compile::Severity::Error)
        .map(|finding| format!("  {} {}", finding.object_pointer(), finding.message))
        .collect();
    if !errors.is_empty() {
        bail!("{side} does not compile:\n{}", errors.join("\n"));
    }
    let unit = compile_stage(&StageInputs { contract, ..inputs.clone() });
    unit.bundle.with_context(|| format!("{side} does not compile"))
}

/// The contract of a deployment, from its ConfigMaps.
async fn snapshot(found: &Found, number: u64) -> anyhow::Result<Contract> {
    let api = &found.stage.spec.api_ref.name;
    let maps: Api<ConfigMap> = Api::namespaced(found.client.clone(), &found.namespace);
    let name = format!("{api}-deployment-{number}");
    let Some(map) = maps.get_opt(&name).await? else { bail!("there is no deployment {number} of `{api}`") };
    let parts = map.metadata.annotations.as_ref().and_then(|all| all.get("stagegate.dev/parts"));
    let mut bytes = Vec::new();
    match parts.map(|parts| parts.parse::<usize>()) {
        None => bytes.extend(content(&map).with_context(|| format!("the ConfigMap `{name}` holds no snapshot"))?),
        Some(count) => {
            for index in 0..count.with_context(|| format!("the ConfigMap `{name}` has no number of parts"))? {
                let part = format!("{name}-{index}");
                let map = maps.get_opt(&part).await?.with_context(|| format!("the ConfigMap `{part}` is not there"))?;
                bytes.extend(content(&map).with_context(|| format!("the ConfigMap `{part}` holds no snapshot"))?);
            }
        }
    }
    Snapshot::unpack(ObjectKey::new(&found.namespace, api), &bytes)
        .with_context(|| format!("the ConfigMap `{name}` cannot be read"))
}

fn content(map: &ConfigMap) -> Option<&[u8]> {
    Some(&map.binary_data.as_ref()?.get("snapshot")?.0)
}
