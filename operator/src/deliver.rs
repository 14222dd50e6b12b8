//! Bundles to the proxies: Secrets, written only when their content changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bundle::object::{GATEWAY_LABEL, INDEX_TYPE, Index, KIND_LABEL, PART_TYPE, PAYLOAD_KEY, Packed, Subject};
use bundle::{
    DecodeError, Digest, EncodeError, HostBundle, KeysBundle, PlanBundle, StageBundle, Stamped, decode, encode,
};
use compile::ObjectKey;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use crate::collect::KnownIndex;
use crate::format::Choice;
use crate::history::is_conflict;

/// Annotation of an index: what it is about, for people.
const SUBJECT: &str = "stagegate.dev/subject";

/// End of the name of a Secret for sidecars; before it stands the Stage's.
pub const BESIDE: &str = "-stagegate-bundle";
/// Label of a Secret for sidecars: the gateway in whose configuration they are.
pub const SIDECAR_LABEL: &str = "stagegate.dev/sidecar";

/// A bundle that shall be in the cluster.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The gateway whose proxies load it.
    pub gateway: String,
    /// What it is about.
    pub subject: Subject,
    /// Number of the live deployment, of a Stage.
    pub deployment: Option<u64>,
    /// Name of the ApiDefinition that is of.
    pub api: Option<String>,
    /// What the pin's annotation said.
    pub pin: Option<String>,
    /// Digest of the value of `stagegate.dev/deploy` that was acted upon last.
    pub handled_deploy: Option<Digest>,
    /// Namespace and name of the Secret that a host's certificate is from.
    pub certificate: Option<String>,
    /// The bundle.
    pub content: Content,
}

/// A bundle.
#[derive(Clone, Debug)]
pub enum Content {
    /// Of a Stage.
    Stage(Stamped<StageBundle>),
    /// Of a host.
    Host(Stamped<HostBundle>),
    /// Of a usage plan.
    Plan(Stamped<PlanBundle>),
    /// Of API keys.
    Keys(Stamped<KeysBundle>),
}

/// Why a bundle could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The API server.
    #[error("{}", crate::told::of_kube(.0))]
    Kube(#[from] kube::Error),
    /// It cannot be packed.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// This operator leads no longer.
    #[error("another operator leads")]
    Deposed,
    /// The Secret is another one than was seen: it is looked at again.
    #[error("the Secret changed meanwhile")]
    Conflict,
}

/// Why a delivered bundle could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// The API server.
    #[error("{}", crate::told::of_kube(.0))]
    Kube(#[from] kube::Error),
    /// A Secret is missing or malformed.
    #[error(transparent)]
    Object(#[from] bundle::object::ObjectError),
    /// The payload is malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Content {
    /// Digest of the bundle.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Stage(bundle) => &bundle.digest,
            Self::Host(bundle) => &bundle.digest,
            Self::Plan(bundle) => &bundle.digest,
            Self::Keys(bundle) => &bundle.digest,
        }
    }
}

impl Wanted {
    /// Whether this is what an index says, in a format that can stay.
    pub fn is_delivered(&self, known: &KnownIndex, choice: &Choice) -> bool {
        let Some(index) = &known.index else { return false };
        known.gateway == self.gateway
            && index.digest == *self.content.digest()
            && index.deployment == self.deployment
            && index.api == self.api
            && index.pin == self.pin
            && index.handled_deploy == self.handled_deploy
            && index.certificate == self.certificate
            && choice.reads(index.format)
    }

    /// The index and parts.
    fn pack(&self, format: u32) -> Result<(Index, Packed), EncodeError> {
        let encoded = match &self.content {
            Content::Stage(bundle) => encode(&*bundle.content, format)?,
            Content::Host(bundle) => encode(&*bundle.content, format)?,
            Content::Plan(bundle) => encode(&*bundle.content, format)?,
            Content::Keys(bundle) => encode(&*bundle.content, format)?,
        };
        let index = Index {
            subject: self.subject.clone(),
            format: encoded.format,
            digest: encoded.digest,
            deployment: self.deployment,
            api: self.api.clone(),
            pin: self.pin.clone(),
            handled_deploy: self.handled_deploy.clone(),
            certificate: self.certificate.clone(),
            parts: Vec::new(),
        };
        let packed = index.clone().pack(encoded.payload);
        let parts = packed.parts.keys().cloned().collect();
        Ok((Index { parts, ..index }, packed))
    }

    /// Writes it; parts first, the index last. What the cluster has of it now.
    ///
    /// # Errors
    /// When the API server refuses it, or the Secret is another one than `known`.
    pub async fn write(
        &self,
        client: &Client,
        key: &ObjectKey,
        known: Option<&KnownIndex>,
        format: u32,
    ) -> Result<KnownIndex, DeliverError> {
        let (index, packed) = self.pack(format)?;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
        for (name, payload) in packed.parts {
            let data = BTreeMap::from([(PAYLOAD_KEY.to_owned(), payload)]);
            let part = Secret { immutable: Some(true), ..self.secret(&key.namespace, &name, "part", PART_TYPE, data) };
            match secrets.create(&PostParams::default(), &part).await {
                // Named by its content: it is the same.
                Err(error) if is_conflict(&error) => {}
                other => drop(other?),
            }
        }
        let mut secret = self.secret(&key.namespace, &key.name, self.subject.kind(), INDEX_TYPE, packed.index);
        let about = BTreeMap::from([(SUBJECT.to_owned(), self.subject.to_string())]);
        secret.metadata.annotations = Some(about);
        let written = match known {
            Some(known) => {
                secret.metadata.resource_version = Some(known.version.clone());
                secrets.replace(&key.name, &PostParams::default(), &secret).await
            }
            None => secrets.create(&PostParams::default(), &secret).await,
        };
        match written {
            Ok(secret) => Ok(KnownIndex {
                gateway: self.gateway.clone(),
                version: secret.metadata.resource_version.unwrap_or_default(),
                index: Some(index),
            }),
            Err(error) if is_conflict(&error) => Err(DeliverError::Conflict),
            Err(error) => Err(error.into()),
        }
    }

    /// A sidecar's Secret beside the Stage: its index and payload, those of its callers, and those of hosts for which it
    /// must not answer, under names of their own. Its resource version.
    ///
    /// # Errors
    /// When the bundle is too large for one Secret, or the API server refuses it.
    pub async fn write_beside(
        &self,
        client: &Client,
        stage: &ObjectKey,
        callers: &[&Self],
        closed: &[HostBundle],
        format: u32,
    ) -> Result<String, DeliverError> {
        let name = format!("{}{BESIDE}", stage.name);
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &stage.namespace);
        let mut data = BTreeMap::new();
        for wanted in std::iter::once(&self).chain(callers) {
            let (_, packed) = wanted.pack(format)?;
            if !packed.parts.is_empty() {
                return Err(EncodeError::TooLarge(packed.parts.values().map(Vec::len).sum()).into());
            }
            let name = match &wanted.subject {
                Subject::Stage(_) => "stage".to_owned(),
                other @ (Subject::Host(_) | Subject::Plan(_) | Subject::Keys(_)) => other.object_name(&wanted.gateway),
            };
            data.extend(packed.index.into_iter().map(|(entry, bytes)| (format!("{name}.{entry}"), bytes)));
        }
        for (number, host) in closed.iter().enumerate() {
            let encoded = encode(host, format)?;
            let index = Index::new(Subject::Host(host.host.clone()), format, encoded.digest);
            let packed = index.pack(encoded.payload);
            data.extend(packed.index.into_iter().map(|(entry, bytes)| (format!("host-{number}.{entry}"), bytes)));
        }
        let mut secret = self.secret(&stage.namespace, &name, self.subject.kind(), INDEX_TYPE, data);
        // The proxies of gateways do not look here, and their label would tell them to.
        secret.metadata.labels = Some(BTreeMap::from([(SIDECAR_LABEL.to_owned(), self.gateway.clone())]));
        let known = secrets.get_opt(&name).await?;
        let same = |known: &Secret| known.data == secret.data && known.metadata.labels == secret.metadata.labels;
        if let Some(known) = known.as_ref().filter(|known| same(known)) {
            return Ok(known.metadata.resource_version.clone().unwrap_or_default());
        }
        let written = match known.and_then(|known| known.metadata.resource_version) {
            Some(version) => {
                secret.metadata.resource_version = Some(version);
                secrets.replace(&name, &PostParams::default(), &secret).await
            }
            None => secrets.create(&PostParams::default(), &secret).await,
        };
        match written {
            Ok(secret) => Ok(secret.metadata.resource_version.unwrap_or_default()),
            Err(error) if is_conflict(&error) => Err(DeliverError::Conflict),
            Err(error) => Err(error.into()),
        }
    }

    fn secret(&self, namespace: &str, name: &str, kind: &str, type_: &str, data: BTreeMap<String, Vec<u8>>) -> Secret {
        let labels = [(GATEWAY_LABEL, self.gateway.as_str()), (KIND_LABEL, kind)];
        Secret {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                labels: Some(labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            type_: Some(type_.to_owned()),
            data: Some(data.into_iter().map(|(entry, bytes)| (entry, ByteString(bytes))).collect()),
            ..Secret::default()
        }
    }
}

/// Deletes a Secret, if it is the one that was seen. One that is gone already is no error.
///
/// # Errors
/// When the API server refuses it, or the Secret is another one.
pub async fn remove(client: &Client, key: &ObjectKey, version: &str) -> Result<(), kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let seen = Preconditions { resource_version: Some(version.to_owned()), uid: None };
    let parameters = DeleteParams { preconditions: Some(seen), ..DeleteParams::default() };
    match secrets.delete(&key.name, &parameters).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

/// A bundle as it was delivered: what goes on being served while nothing better can be made.
///
/// # Errors
/// When it is not there whole.
pub async fn read_back<T: DeserializeOwned>(
    client: &Client,
    key: &ObjectKey,
) -> Result<Option<Stamped<T>>, ReadBackError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let Some(secret) = secrets.get_opt(&key.name).await? else { return Ok(None) };
    let data = secret.data.unwrap_or_default();
    let entry = |name: &str| data.get(name).map(|bytes| bytes.0.as_slice());
    let index = Index::read(entry)?;
    let mut parts = BTreeMap::new();
    for name in &index.parts {
        let part = secrets.get_opt(name).await?.and_then(|part| part.data?.remove(PAYLOAD_KEY));
        parts.extend(part.map(|part| (name.clone(), part.0)));
    }
    let encoded = index.payload(entry, |name| parts.get(name).map(Vec::as_slice))?;
    let content = Arc::new(decode::<T>(&encoded)?);
    Ok(Some(Stamped { digest: encoded.digest, content }))
}
