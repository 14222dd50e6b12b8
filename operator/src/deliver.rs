//! Bundles to Secrets: written when they are others than before, with the version that was known.

use std::collections::BTreeMap;

use bundle::object::{GATEWAY_LABEL, INDEX_TYPE, Index, KIND_LABEL, PART_TYPE, PAYLOAD_KEY, Packed, Subject};
use bundle::{Encoded, StageBundle, StageKey, Stamped, encode};
use compile::ObjectKey;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde::Serialize;

use crate::MANAGER;
use crate::collect::{Held, held};

/// For people.
const SUBJECT: &str = "stagegate.dev/subject";

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// It cannot be packed.
    #[error("{0}")]
    Encode(#[from] bundle::EncodeError),
    /// The API server said no.
    #[error("{0}")]
    Kube(#[from] kube::Error),
    /// Somebody else wrote it: what there is must be read first.
    #[error("somebody else has written the bundle")]
    Conflict,
}

/// A bundle to write.
pub struct Write {
    /// Where.
    pub key: ObjectKey,
    /// For whom.
    pub gateway: String,
    /// The index, but for its parts.
    pub index: Index,
    /// Version that is replaced; `None`: there is none.
    pub replaces: Option<u64>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// The index and payload of a bundle. Its digest is what it is stamped with.
///
/// # Errors
/// When it is too large.
pub fn pack<T: Serialize>(
    stamped: &Stamped<T>,
    subject: Subject,
    deployment: Option<u64>,
    pin: Option<String>,
) -> Result<(Index, Vec<u8>), DeliverError> {
    let Encoded { format, digest, payload } = encode(&*stamped.content)?;
    Ok((Index { subject, format, digest, deployment, pin, parts: Vec::new() }, payload))
}

/// Writes parts, then the index. What is there afterwards, under its name, and the names of its parts.
///
/// # Errors
/// When it was not written.
pub async fn write(client: &Client, write: Write) -> Result<(ObjectKey, Held), DeliverError> {
    let Write { key, gateway, index, replaces, payload } = write;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let subject = index.subject.clone();
    let Packed { index, parts } = index.pack(payload);
    for (name, bytes) in parts {
        let data = BTreeMap::from([(PAYLOAD_KEY.to_owned(), bytes)]);
        let mut part = secret(&name, &gateway, "part", PART_TYPE, data);
        part.immutable = Some(true);
        match secrets.create(&parameters, &part).await {
            Ok(_) => {}
            // Named by its content: it is the same.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut object = secret(&key.name, &gateway, subject.kind(), INDEX_TYPE, index);
    object.metadata.annotations = Some(BTreeMap::from([(SUBJECT.to_owned(), subject.to_string())]));
    let result = match replaces {
        Some(version) => {
            object.metadata.resource_version = Some(version.to_string());
            secrets.replace(&key.name, &parameters, &object).await
        }
        None => secrets.create(&parameters, &object).await,
    };
    match result {
        Ok(written) => Ok((key, held(&written))),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Err(DeliverError::Conflict),
        Err(error) => Err(error.into()),
    }
}

/// What there is under a name.
///
/// # Errors
/// When that cannot be found out.
pub async fn look(client: &Client, key: &ObjectKey) -> Result<Option<Held>, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    Ok(secrets.get_opt(&key.name).await?.as_ref().map(held))
}

/// Removes a Secret, if it is still the one that was looked at.
pub async fn remove(client: &Client, key: &ObjectKey, version: u64) -> Result<(), kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let preconditions = Preconditions { resource_version: Some(version.to_string()), uid: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match secrets.delete(&key.name, &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The bundle of a Stage as it is delivered; `None` when it cannot be read.
pub async fn found(client: &Client, key: &ObjectKey) -> Option<Stamped<StageBundle>> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let object = secrets.get_opt(&key.name).await.ok()??;
    let data = |name: &str| object.data.as_ref()?.get(name).map(|bytes| bytes.0.as_slice());
    let index = Index::read(data).ok()?;
    let mut parts = BTreeMap::new();
    for name in &index.parts {
        let bytes = secrets.get_opt(name).await.ok()??.data?.remove(PAYLOAD_KEY)?.0;
        parts.insert(name.clone(), bytes);
    }
    let encoded = index.payload(data, |name| parts.get(name).map(Vec::as_slice)).ok()?;
    let content: StageBundle = bundle::decode(&encoded).ok()?;
    Some(Stamped { digest: index.digest, content: std::sync::Arc::new(content) })
}

/// The Secret that a Stage's sidecars mount.
pub fn sidecar_key(stage: &StageKey) -> ObjectKey {
    ObjectKey::new(stage.namespace.clone(), format!("{}-stagegate-bundle", stage.name))
}

/// Writes the bundle of a Stage for its sidecars, when it is another one than there is.
///
/// # Errors
/// When it was not written.
pub async fn sidecar(
    client: &Client,
    stage: &StageKey,
    gateway: &str,
    index: Index,
    payload: Vec<u8>,
) -> Result<(), DeliverError> {
    let key = sidecar_key(stage);
    let before = look(client, &key).await?;
    if before.as_ref().and_then(|held| held.index.as_ref()).is_some_and(|known| known.digest == index.digest) {
        return Ok(());
    }
    let replaces = before.map(|held| held.version);
    write(client, Write { key, gateway: gateway.to_owned(), index, replaces, payload }).await.map(drop)
}

fn secret(name: &str, gateway: &str, kind: &str, type_: &str, data: BTreeMap<String, Vec<u8>>) -> Secret {
    let labels = [(GATEWAY_LABEL, gateway), (KIND_LABEL, kind)];
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
            ..ObjectMeta::default()
        },
        type_: Some(type_.to_owned()),
        data: Some(data.into_iter().map(|(key, bytes)| (key, ByteString(bytes))).collect()),
        ..Secret::default()
    }
}
