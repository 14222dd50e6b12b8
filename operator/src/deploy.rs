//! Deployments: immutable ConfigMaps. Creating one is the lock on its number.

use std::collections::BTreeMap;

use bundle::object::PART_BYTES;
use compile::deploy::{Snapshot, Take};
use compile::{Contract, ObjectKey};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};

use crate::MANAGER;
use crate::state::{API_LABEL, BY, CREATED, DEPLOYMENT_LABEL, DESCRIPTION, DIGEST, Known, PARTS, known};

/// Label of a part of a snapshot: the snapshot's number.
const PART_LABEL: &str = "stagegate.dev/deployment-part";
const SNAPSHOT: &str = "snapshot";

/// Why a deployment could not be taken or read.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The API server said no.
    #[error("{0}")]
    Kube(#[from] kube::Error),
    /// The snapshot cannot be packed or unpacked.
    #[error("{0}")]
    Snapshot(#[from] compile::deploy::SnapshotError),
    /// A ConfigMap of it is not there or holds nothing.
    #[error("the ConfigMap `{0}` holds no snapshot")]
    Missing(String),
    /// Its content is another one than when it was taken.
    #[error("the ConfigMap `{0}` does not hold what its digest says")]
    Digest(String),
}

/// Takes a deployment. If somebody else has taken the number, what he took.
///
/// # Errors
/// When it cannot be written.
pub async fn take(client: &Client, contract: &Contract, take: &Take, by: Option<&str>) -> Result<Known, DeployError> {
    let api = &contract.api;
    let packed = Snapshot::pack(contract)?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &api.namespace);
    let name = format!("{}-deployment-{}", api.name, take.number);
    let number = take.number.to_string();
    let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let mut annotations =
        BTreeMap::from([(DIGEST.to_owned(), contract.digest.to_string()), (CREATED.to_owned(), crate::now())]);
    annotations.extend(take.description.clone().map(|text| (DESCRIPTION.to_owned(), text)));
    annotations.extend(by.map(|by| (BY.to_owned(), by.to_owned())));
    let mut first = &packed[..];
    if packed.len() > PART_BYTES {
        let chunks: Vec<&[u8]> = packed.chunks(PART_BYTES).collect();
        annotations.insert(PARTS.to_owned(), chunks.len().to_string());
        first = chunks.first().copied().unwrap_or_default();
        for (index, chunk) in chunks.iter().enumerate().skip(1) {
            let labels = [(API_LABEL, api.name.clone()), (PART_LABEL, number.clone())];
            let part = map(&format!("{name}-{index}"), labels, BTreeMap::new(), chunk);
            // One that is there already is what is left of an attempt that failed, maybe of other content.
            if let Err(error) = maps.create(&parameters, &part).await {
                if !matches!(&error, kube::Error::Api(status) if status.code == 409) {
                    return Err(error.into());
                }
                if maps.get_metadata_opt(&name).await?.is_none() {
                    let part_name = format!("{name}-{index}");
                    maps.delete(&part_name, &DeleteParams::default()).await?;
                    maps.create(&parameters, &part).await?;
                }
            }
        }
    }
    let labels = [(API_LABEL, api.name.clone()), (DEPLOYMENT_LABEL, number)];
    let object = map(&name, labels, annotations, first);
    let metadata = match maps.create(&parameters, &object).await {
        Ok(_) => object.metadata,
        Err(kube::Error::Api(status)) if status.code == 409 => maps.get_metadata(&name).await?.metadata,
        Err(error) => return Err(error.into()),
    };
    let (_, _, taken) = known(&api.namespace, &metadata).ok_or(DeployError::Missing(name))?;
    Ok(taken)
}

/// Reads a deployment's contract.
///
/// # Errors
/// When it cannot be read, or is not what was written.
pub async fn read(client: &Client, api: &ObjectKey, number: u64, known: &Known) -> Result<Contract, DeployError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &api.namespace);
    let name = format!("{}-deployment-{number}", api.name);
    let mut bytes = Vec::new();
    for part in 0..known.parts.max(1) {
        let name = if part == 0 { name.clone() } else { format!("{name}-{part}") };
        let object = maps.get(&name).await?;
        let data = object.binary_data.and_then(|mut data| data.remove(SNAPSHOT));
        bytes.extend(data.ok_or(DeployError::Missing(name))?.0);
    }
    let contract = Snapshot::unpack(api.clone(), &bytes)?;
    if contract.digest != known.digest {
        return Err(DeployError::Digest(name));
    }
    Ok(contract)
}

/// Removes a deployment.
pub async fn remove(client: Client, api: ObjectKey, number: u64, parts: usize) {
    let maps: Api<ConfigMap> = Api::namespaced(client, &api.namespace);
    let name = format!("{}-deployment-{number}", api.name);
    for part in 0..parts.max(1) {
        let name = if part == 0 { name.clone() } else { format!("{name}-{part}") };
        match maps.delete(&name, &DeleteParams::default()).await {
            Ok(_) => tracing::info!(%api, number, "a deployment beyond the history limit was removed"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => tracing::warn!(%api, number, %error, "a deployment cannot be removed"),
        }
    }
}

fn map<const N: usize>(
    name: &str,
    labels: [(&str, String); N],
    annotations: BTreeMap<String, String>,
    bytes: &[u8],
) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        },
        binary_data: Some(BTreeMap::from([(SNAPSHOT.to_owned(), ByteString(bytes.to_vec()))])),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}
