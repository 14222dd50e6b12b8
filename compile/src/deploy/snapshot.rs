//! What a deployment keeps: the source, not what was compiled of it. A rollback compiles it again, a diff is readable.

use crds::backend::Backend;
use serde_json::{Value, json};

use crate::world::{Contract, ObjectKey};

/// Largest snapshot, unpacked.
const MAX_BYTES: usize = bundle::codec::MAX_BYTES;

/// Codec of snapshots: zstd of `{"backend": …, "document": …}`.
#[derive(Debug)]
pub struct Snapshot;

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The contract has no document.
    #[error("the contract has no document")]
    NoDocument,
    /// It is larger than what is read again.
    #[error("the snapshot has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    /// Not zstd, or too large when unpacked.
    #[error("the snapshot cannot be packed or unpacked: {0}")]
    Pack(#[from] std::io::Error),
    /// Not JSON of the expected form.
    #[error("the snapshot is malformed: {0}")]
    Json(#[from] serde_json::Error),
}

impl Snapshot {
    /// Packs a contract.
    ///
    /// # Errors
    /// When it has no document, or is too large.
    pub fn pack(contract: &Contract) -> Result<Vec<u8>, SnapshotError> {
        let document = contract.document.as_deref().ok_or(SnapshotError::NoDocument)?;
        let bytes = serde_json::to_vec(&json!({"backend": contract.backend, "document": document}))?;
        if bytes.len() > MAX_BYTES {
            return Err(SnapshotError::TooLarge(bytes.len()));
        }
        Ok(zstd::bulk::compress(&bytes, 3)?)
    }

    /// The contract of an API's snapshot. Its digest is that of the content, as when it was taken.
    ///
    /// # Errors
    /// When the bytes are no snapshot.
    pub fn unpack(api: ObjectKey, bytes: &[u8]) -> Result<Contract, SnapshotError> {
        let json = zstd::bulk::decompress(bytes, MAX_BYTES)?;
        let mut whole: serde_json::Map<String, Value> = serde_json::from_slice(&json)?;
        let backend: Option<Backend> = serde_json::from_value(whole.remove("backend").unwrap_or_default())?;
        let document = whole.remove("document").ok_or(SnapshotError::NoDocument)?;
        Ok(Contract::of(api, backend, document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_the_contract() {
        let api = ObjectKey::new("shop", "orders");
        let backend: Backend = serde_json::from_value(json!({"url": "http://a"})).unwrap();
        let contract = Contract::of(api.clone(), Some(backend), json!({"openapi": "3.0.3", "paths": {}}));
        let read = Snapshot::unpack(api.clone(), &Snapshot::pack(&contract).unwrap()).unwrap();
        assert_eq!((read.digest, read.backend), (contract.digest, contract.backend));
        assert!(Snapshot::unpack(api, b"nothing").is_err());
    }
}
