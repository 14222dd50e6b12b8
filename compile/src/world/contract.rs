//! The contract: what a deployment snapshots.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, OnceLock};

use bundle::Digest;
use crds::ApiDefinitionSpec;
use crds::api_definition::OpenApiFrom;
use crds::backend::Backend;
use crds::reference::ConfigMapKeyRef;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::ObjectKey;
use crate::finding::{Finding, Findings, Reason, Severity};
use crate::lower::api::Api;
use crate::source;

/// Largest document, unpacked.
const MAX_BYTES: usize = bundle::codec::MAX_BYTES;

/// Amazon's bound of a definition file.
const IMPORT_BYTES: usize = 6_000_000;

/// `kubectl apply` keeps the object in an annotation of at most this size.
const ANNOTATION_BYTES: usize = 256 << 10;

/// The API server's bound of one object.
const OBJECT_BYTES: usize = 1 << 20;

/// Where a document comes from: findings in it are located there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `spec.openapi` of the object.
    Inline,
    /// Keys of ConfigMaps in the same namespace, joined in order.
    ConfigMaps(Vec<(String, String)>),
}

/// The contract: the document and the fields that go with it.
#[derive(Clone, Debug)]
pub struct Contract {
    /// The ApiDefinition.
    pub api: ObjectKey,
    /// For people.
    pub description: Option<String>,
    /// Where operations go without an integration of their own.
    pub backend: Option<Backend>,
    /// The document; `None` when it could not be read, and then `findings` says why.
    pub document: Option<Arc<Value>>,
    /// Where it comes from.
    pub origin: Origin,
    /// Names document and backend, whatever the order of keys: equal contracts are one deployment.
    pub digest: Digest,
    /// What was found while it was read.
    pub findings: Vec<Finding>,
    /// What it compiles to, the same for every Stage: made when it is first asked for.
    compiled: OnceLock<Arc<CompiledApi>>,
}

/// A contract, compiled.
#[derive(Debug)]
pub(crate) struct CompiledApi {
    /// `None` when nothing could be served.
    pub(crate) api: Option<Api>,
    /// Everything found, sorted.
    pub(crate) findings: Vec<Finding>,
}

impl Contract {
    /// Whether it compiles without an error, so that it may become a deployment.
    pub fn is_sound(&self) -> bool {
        self.compiled().findings.iter().all(|finding| finding.severity != Severity::Error)
    }

    /// Number of its routes.
    pub fn routes(&self) -> usize {
        self.compiled().api.as_ref().map_or(0, |api| api.routes.len())
    }

    pub(crate) fn compiled(&self) -> &CompiledApi {
        self.compiled.get_or_init(|| {
            let mut findings = Findings::new(self.api.object("ApiDefinition"));
            findings.extend(self.findings.iter().cloned());
            let api = crate::lower::api::lower(self, &mut findings);
            Arc::new(CompiledApi { api, findings: findings.into_sorted() })
        })
    }

    /// Reads the contract of an ApiDefinition.
    pub fn read(api: &ObjectKey, spec: &ApiDefinitionSpec, config_maps: &BTreeMap<ObjectKey, Arc<ConfigMap>>) -> Self {
        let ApiDefinitionSpec { description, openapi, openapi_from, backend } = spec;
        let mut findings = Findings::new(api.object("ApiDefinition"));
        let (document, origin) = match (openapi, openapi_from) {
            (Some(value), None) => (Some(Arc::new(value.clone())), Origin::Inline),
            (None, Some(from)) => from_config_maps(api, from, config_maps, &mut findings),
            _ => {
                let text = "exactly one of `openapi` and `openapiFrom` is needed";
                findings.object(Severity::Error, Reason::DocumentMissing, "/spec", text);
                (None, Origin::Inline)
            }
        };
        if let (Some(document), Origin::Inline) = (&document, &origin) {
            check_size(json_length(document), true, &mut findings);
        }
        Self::new(api.clone(), description.clone(), backend.clone(), document, origin, findings.into_sorted())
    }

    /// A contract whose document is already at hand: a snapshot, a bare OpenAPI file.
    pub fn of(api: ObjectKey, backend: Option<Backend>, document: Value) -> Self {
        Self::new(api, None, backend, Some(Arc::new(document)), Origin::Inline, Vec::new())
    }

    fn new(
        api: ObjectKey,
        description: Option<String>,
        backend: Option<Backend>,
        document: Option<Arc<Value>>,
        origin: Origin,
        findings: Vec<Finding>,
    ) -> Self {
        let mut hash = Sha256::new();
        hash_sorted(document.as_deref().unwrap_or(&Value::Null), &mut hash);
        hash_sorted(&serde_json::to_value(&backend).unwrap_or_default(), &mut hash);
        let digest = Digest::of(&hash.finalize());
        Self { api, description, backend, document, origin, digest, findings, compiled: OnceLock::new() }
    }
}

fn from_config_maps(
    api: &ObjectKey,
    from: &OpenApiFrom,
    config_maps: &BTreeMap<ObjectKey, Arc<ConfigMap>>,
    findings: &mut Findings,
) -> (Option<Arc<Value>>, Origin) {
    let OpenApiFrom { config_map_key_ref, config_map_key_refs } = from;
    let refs: &[ConfigMapKeyRef] = match (config_map_key_ref, config_map_key_refs) {
        (Some(one), None) => std::slice::from_ref(one),
        (None, Some(several)) if !several.is_empty() => several,
        _ => {
            let text = "exactly one of `configMapKeyRef` and `configMapKeyRefs` is needed";
            findings.object(Severity::Error, Reason::DocumentMissing, "/spec/openapiFrom", text);
            return (None, Origin::ConfigMaps(Vec::new()));
        }
    };
    let origin = Origin::ConfigMaps(refs.iter().map(|part| (part.name.clone(), part.key.clone())).collect());
    let mut bytes = Vec::new();
    for (index, part) in refs.iter().enumerate() {
        let pointer = match config_map_key_ref {
            Some(_) => "/spec/openapiFrom/configMapKeyRef".to_owned(),
            None => format!("/spec/openapiFrom/configMapKeyRefs/{index}"),
        };
        match entry(api, part, config_maps) {
            Ok(part) => bytes.extend(part),
            Err((reason, text)) => {
                findings.object(Severity::Error, reason, pointer, text);
                return (None, origin);
            }
        }
    }
    // A document that was packed before it was cut is packed as a whole.
    match unpack(bytes).and_then(|bytes| String::from_utf8(bytes).map_err(|_| "the document is not UTF-8".to_owned())) {
        Ok(text) => {
            check_size(text.len(), false, findings);
            (parse(&text, findings), origin)
        }
        Err(text) => {
            findings.object(Severity::Error, Reason::DocumentUnreadable, "/spec/openapiFrom", text);
            (None, origin)
        }
    }
}

fn parse(text: &str, findings: &mut Findings) -> Option<Arc<Value>> {
    let document = source::Document::new("", text);
    for found in document.ambiguities() {
        let message = format!("plain `{}` is a boolean to kubectl; quote it if text is meant", found.text);
        findings.document(Severity::Warning, Reason::AmbiguousScalar, &found.pointer, message);
    }
    match document.value() {
        Ok(value) => Some(Arc::new(value)),
        Err(error) => {
            let text = format!(
                "the document is neither JSON nor YAML: line {}, column {}: {}",
                error.line, error.column, error.message
            );
            findings.document(Severity::Error, Reason::DocumentUnreadable, "", text);
            None
        }
    }
}

fn entry(
    api: &ObjectKey,
    part: &ConfigMapKeyRef,
    config_maps: &BTreeMap<ObjectKey, Arc<ConfigMap>>,
) -> Result<Vec<u8>, (Reason, String)> {
    let ConfigMapKeyRef { name, key } = part;
    let map = config_maps.get(&api.sibling(name)).ok_or_else(|| {
        (Reason::DocumentNotFound, format!("there is no ConfigMap `{name}` in namespace `{}`", api.namespace))
    })?;
    if let Some(text) = map.data.as_ref().and_then(|data| data.get(key)) {
        return Ok(text.clone().into_bytes());
    }
    let bytes = map.binary_data.as_ref().and_then(|data| data.get(key));
    bytes
        .map(|bytes| bytes.0.clone())
        .ok_or_else(|| (Reason::DocumentNotFound, format!("the ConfigMap `{name}` has no key `{key}`")))
}

/// Unpacks gzip; other bytes stay as they are.
fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    flate2::read::MultiGzDecoder::new(&bytes[..])
        .take(limit + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| format!("the document cannot be unpacked: {error}"))?;
    if unpacked.len() > MAX_BYTES {
        return Err(format!("the document unpacks to more than {MAX_BYTES} bytes"));
    }
    Ok(unpacked)
}

fn check_size(bytes: usize, inline: bool, findings: &mut Findings) {
    let (pointer, text, help) = if bytes > IMPORT_BYTES {
        ("/spec", format!("the document has {bytes} bytes; Amazon's import takes {IMPORT_BYTES}"), None)
    } else if inline && bytes > OBJECT_BYTES {
        let text = format!("the document has {bytes} bytes; an API server takes objects of {OBJECT_BYTES}");
        ("/spec/openapi", text, Some("put it into ConfigMaps, packed with gzip, and name them in `openapiFrom`"))
    } else if inline && bytes > ANNOTATION_BYTES {
        let text = format!(
            "the document has {bytes} bytes; `kubectl apply` keeps at most {ANNOTATION_BYTES} in its annotation"
        );
        ("/spec/openapi", text, Some("apply it with `--server-side`"))
    } else {
        return;
    };
    findings.object(Severity::Warning, Reason::DocumentTooLarge, pointer, text);
    if let Some(help) = help {
        findings.help(help);
    }
}

/// Counts what is written instead of keeping it.
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn json_length(value: &Value) -> usize {
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => 0,
    }
}

/// Hashes a value with its keys sorted: API servers reorder keys, and that is no change.
fn hash_sorted(value: &Value, hash: &mut Sha256) {
    let length = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).to_be_bytes();
    match value {
        Value::Object(map) => {
            hash.update(b"{");
            hash.update(length(map.len()));
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in keys {
                hash.update(length(key.len()));
                hash.update(key.as_bytes());
                hash_sorted(value, hash);
            }
        }
        Value::Array(items) => {
            hash.update(b"[");
            hash.update(length(items.len()));
            items.iter().for_each(|item| hash_sorted(item, hash));
        }
        Value::String(text) => {
            hash.update(b"\"");
            hash.update(length(text.len()));
            hash.update(text.as_bytes());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let text = value.to_string();
            hash.update(b"=");
            hash.update(length(text.len()));
            hash.update(text.as_bytes());
        }
    }
}
