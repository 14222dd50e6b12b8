//! Deployments: immutable ConfigMaps, numbered per API. Creating one is the lock on its number.

use std::collections::BTreeMap;

use bundle::Digest;
use bundle::object::PART_BYTES;
use compile::deploy::{Snapshot, SnapshotError, Take};
use compile::{Contract, ObjectKey};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};

/// Label: the API's name.
pub const API_LABEL: &str = "stagegate.dev/api";
/// Label: the deployment's number.
pub const NUMBER_LABEL: &str = "stagegate.dev/deployment";
/// Label of parts: the deployment's number.
pub const PART_LABEL: &str = "stagegate.dev/deployment-part";
const DIGEST: &str = "stagegate.dev/digest";
const CREATED: &str = "stagegate.dev/created";
const DESCRIPTION: &str = "stagegate.dev/description";
const BY: &str = "stagegate.dev/by";
const PARTS: &str = "stagegate.dev/parts";
/// Key of the content.
const CONTENT: &str = "snapshot";

/// What is known of a deployment without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Digest of the contract.
    pub digest: Digest,
    /// RFC 3339.
    pub created: String,
    /// For people.
    pub description: Option<String>,
    /// Who took it.
    pub by: Option<String>,
    /// Number of ConfigMaps that hold the content; 0: this one does.
    pub parts: usize,
}

/// Deployments of one API.
pub type Deployments = BTreeMap<u64, Meta>;

/// Why a deployment could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The API server.
    #[error("{}", crate::told::of_kube(.0))]
    Kube(#[from] kube::Error),
    /// It is not there.
    #[error("the ConfigMap `{0}` is not there or holds no snapshot")]
    Missing(String),
    /// It cannot be unpacked.
    #[error(transparent)]
    Content(#[from] SnapshotError),
}

/// Why a deployment could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The API server.
    #[error("{}", crate::told::of_kube(.0))]
    Kube(#[from] kube::Error),
    /// The contract cannot be packed.
    #[error(transparent)]
    Content(#[from] SnapshotError),
}

/// The deployment that a ConfigMap's metadata describes: API, number, and what is known.
pub fn describe(key: &ObjectKey, metadata: &ObjectMeta) -> Option<(ObjectKey, u64, Meta)> {
    let labels = metadata.labels.as_ref()?;
    let (api, number) = (labels.get(API_LABEL)?, labels.get(NUMBER_LABEL)?.parse().ok()?);
    // Somebody else's ConfigMap with our labels is none of ours.
    (key.name == name(api, number)).then_some(())?;
    let annotation = |name: &str| metadata.annotations.as_ref()?.get(name).cloned();
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
    let meta = Meta {
        digest: Digest::parse(&annotation(DIGEST)?)?,
        created: annotation(CREATED).or(created).unwrap_or_default(),
        description: annotation(DESCRIPTION),
        by: annotation(BY),
        parts: annotation(PARTS).and_then(|parts| parts.parse().ok()).unwrap_or(0),
    };
    Some((ObjectKey::new(&key.namespace, api), number, meta))
}

/// The API and number in the name of a ConfigMap that is gone.
pub fn named(key: &ObjectKey) -> Option<(ObjectKey, u64)> {
    let (api, number) = key.name.rsplit_once("-deployment-")?;
    Some((ObjectKey::new(&key.namespace, api), number.parse().ok()?))
}

/// Name of the ConfigMap of a deployment.
pub(crate) fn name(api: &str, number: u64) -> String {
    format!("{api}-deployment-{number}")
}

/// Takes a contract as a deployment. `None`: somebody else has the number.
///
/// # Errors
/// When the API server refuses it, or the contract cannot be packed.
pub async fn take(
    client: &Client,
    contract: &Contract,
    take: &Take,
    by: Option<&str>,
    created: &str,
) -> Result<Option<Meta>, TakeError> {
    let api = &contract.api;
    let content = Snapshot::pack(contract)?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &api.namespace);
    let name = name(&api.name, take.number);
    let mut annotations = BTreeMap::from([
        (DIGEST.to_owned(), contract.digest.as_str().to_owned()),
        (CREATED.to_owned(), created.to_owned()),
    ]);
    annotations.extend(take.description.clone().map(|text| (DESCRIPTION.to_owned(), text)));
    annotations.extend(by.map(|by| (BY.to_owned(), by.to_owned())));
    let mut parts = 0;
    let mut own = content;
    if own.len() > PART_BYTES {
        // Parts first: a deployment that can be seen can be read. Ones that somebody else left are the same or his.
        for (index, part) in own.chunks(PART_BYTES).enumerate() {
            let part_name = format!("{name}-{index}");
            let map = config_map(api, &part_name, PART_LABEL, take.number, BTreeMap::new(), Some(part.to_vec()));
            match maps.create(&PostParams::default(), &map).await {
                Ok(_) => {}
                Err(error) if is_conflict(&error) => {
                    maps.delete(&part_name, &DeleteParams::default()).await?;
                    maps.create(&PostParams::default(), &map).await?;
                }
                Err(error) => return Err(error.into()),
            }
            parts = index + 1;
        }
        annotations.insert(PARTS.to_owned(), parts.to_string());
        own = Vec::new();
    }
    let content = (parts == 0).then_some(own);
    let map = config_map(api, &name, NUMBER_LABEL, take.number, annotations, content);
    match maps.create(&PostParams::default(), &map).await {
        Ok(_) => Ok(Some(Meta {
            digest: contract.digest.clone(),
            created: created.to_owned(),
            description: take.description.clone(),
            by: by.map(str::to_owned),
            parts,
        })),
        Err(error) if is_conflict(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The contract of a deployment.
///
/// # Errors
/// When it is not there, or cannot be read.
pub async fn contract(client: &Client, api: &ObjectKey, number: u64, meta: &Meta) -> Result<Contract, ReadError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &api.namespace);
    let name = name(&api.name, number);
    let names = match meta.parts {
        0 => vec![name],
        parts => (0..parts).map(|index| format!("{name}-{index}")).collect(),
    };
    let mut bytes = Vec::new();
    for name in names {
        let content = maps.get_opt(&name).await?.and_then(|map| map.binary_data?.remove(CONTENT));
        bytes.extend(content.ok_or(ReadError::Missing(name))?.0);
    }
    Ok(Snapshot::unpack(api.clone(), &bytes)?)
}

/// Deletes a deployment. One that is gone already is no error.
///
/// # Errors
/// When the API server refuses it.
pub async fn remove(client: &Client, api: &ObjectKey, number: u64, meta: &Meta) -> Result<(), kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &api.namespace);
    let name = name(&api.name, number);
    // The other way round than it was made: what can be seen can be read.
    let parts = (0..meta.parts).map(|index| format!("{name}-{index}"));
    for name in std::iter::once(name.clone()).chain(parts) {
        match maps.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => drop(other?),
        }
    }
    Ok(())
}

fn config_map(
    api: &ObjectKey,
    name: &str,
    label: &str,
    number: u64,
    annotations: BTreeMap<String, String>,
    content: Option<Vec<u8>>,
) -> ConfigMap {
    let labels = [(API_LABEL, api.name.clone()), (label, number.to_string())];
    ConfigMap {
        metadata: ObjectMeta {
            namespace: Some(api.namespace.clone()),
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        binary_data: content.map(|content| [(CONTENT.to_owned(), ByteString(content))].into()),
        ..ConfigMap::default()
    }
}

/// Whether the object is there already, or another one than was seen.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_describe_a_deployment() {
        let digest = Digest::of(b"x");
        let annotations = BTreeMap::from([
            (DIGEST.to_owned(), digest.as_str().to_owned()),
            (CREATED.to_owned(), "2026-01-01T00:00:00Z".to_owned()),
        ]);
        let api = ObjectKey::new("shop", "orders");
        let map = config_map(&api, "orders-deployment-7", NUMBER_LABEL, 7, annotations, None);
        let key = ObjectKey::new("shop", "orders-deployment-7");
        let (of, number, meta) = describe(&key, &map.metadata).unwrap();
        assert_eq!((of, number, &meta.digest, meta.parts), (api.clone(), 7, &digest, 0));
        assert_eq!(named(&key), Some((api, 7)));
        // A ConfigMap that only looks like one.
        assert!(describe(&ObjectKey::new("shop", "other"), &map.metadata).is_none());
        assert!(named(&ObjectKey::new("shop", "orders")).is_none());
    }
}
