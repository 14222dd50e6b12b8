//! Deployments: numbered snapshots of each ApiDefinition's contract, kept in the state folder.
//!
//! As in the cluster, a deployment is immutable, creating it is the lock on its number, and what equals the newest
//! makes no new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bundle::{Digest, StageKey};
use compile::deploy::Take;
use compile::{Contract, ObjectKey};
use crds::backend::Backend;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::{Readers, State, create_atomically, private_folder, write_atomically};

/// Every API's deployments.
pub(crate) struct Deployments {
    state: State,
    /// Digests of those that have been read: a deployment never changes.
    digests: HashMap<(ObjectKey, u64), Digest>,
}

/// What is remembered of a Stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Record {
    /// Number that was live last.
    pub(crate) live: Option<u64>,
    /// Name of the ApiDefinition that it is of; none: unknown.
    pub(crate) api: Option<String>,
    /// What `stagegate.dev/rollback-to` was then.
    pub(crate) pin: Option<String>,
    /// The value of `stagegate.dev/deploy` that was acted upon last.
    pub(crate) handled_deploy: Option<String>,
}

/// One deployment as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    number: u64,
    digest: String,
    /// RFC 3339.
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backend: Option<Backend>,
    document: Value,
}

impl Deployments {
    pub(crate) fn new(state: State) -> Self {
        Self { state, digests: HashMap::new() }
    }

    /// Numbers and digests of an API's deployments. Another process may have taken some since the last time, which
    /// the names in the folder tell.
    pub(crate) fn known(&mut self, api: &ObjectKey) -> io::Result<BTreeMap<u64, Digest>> {
        let mut known = BTreeMap::new();
        for number in self.numbers(api)? {
            let key = (api.clone(), number);
            if !self.digests.contains_key(&key) {
                // One that cannot be read keeps its number, and equals nothing.
                let digest = self.contract(api, number).map(|contract| contract.digest.clone());
                let digest = digest.unwrap_or_else(|error| {
                    tracing::warn!(%api, number, %error, "cannot read a deployment");
                    Digest::of(b"")
                });
                self.digests.insert(key.clone(), digest);
            }
            known.insert(number, self.digests[&key].clone());
        }
        Ok(known)
    }

    /// Takes a contract as the deployment of this number. False when another process has taken the number.
    pub(crate) fn take(&mut self, contract: &Contract, take: &Take, created: &str) -> io::Result<bool> {
        let Some(document) = &contract.document else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the contract has no document"));
        };
        let snapshot = Snapshot {
            number: take.number,
            digest: contract.digest.as_str().to_owned(),
            created: created.to_owned(),
            description: take.description.clone(),
            backend: contract.backend.clone(),
            document: Value::clone(document),
        };
        private_folder(&self.folder(&contract.api))?;
        let file = self.file(&contract.api, take.number);
        match create_atomically(&file, &serde_json::to_vec(&snapshot)?, Readers::Owner) {
            Ok(()) => {
                self.digests.insert((contract.api.clone(), take.number), contract.digest.clone());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The contract of a deployment.
    pub(crate) fn contract(&self, api: &ObjectKey, number: u64) -> io::Result<Arc<Contract>> {
        let snapshot: Snapshot = serde_json::from_slice(&fs::read(self.file(api, number))?)?;
        Ok(Arc::new(Contract::of(api.clone(), snapshot.backend, snapshot.document)))
    }

    /// Forgets a deployment.
    pub(crate) fn remove(&mut self, api: &ObjectKey, number: u64) -> io::Result<()> {
        self.digests.remove(&(api.clone(), number));
        fs::remove_file(self.file(api, number))
    }

    /// What is remembered of a Stage; nothing if that cannot be read.
    pub(crate) fn record(&self, stage: &StageKey) -> Record {
        fs::read(self.record_file(stage)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Remembers it.
    pub(crate) fn set_record(&self, stage: &StageKey, record: &Record) -> io::Result<()> {
        private_folder(&self.state.path("stages").join(&stage.namespace))?;
        write_atomically(&self.record_file(stage), &serde_json::to_vec(record)?, Readers::Owner)
    }

    fn record_file(&self, stage: &StageKey) -> PathBuf {
        self.state.path("stages").join(&stage.namespace).join(format!("{}.json", stage.name))
    }

    fn numbers(&self, api: &ObjectKey) -> io::Result<BTreeSet<u64>> {
        let entries = match fs::read_dir(self.folder(api)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(error),
        };
        let number = |name: &str| name.strip_suffix(".json")?.parse().ok();
        Ok(entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect())
    }

    fn folder(&self, api: &ObjectKey) -> PathBuf {
        // Names of objects that were read are DNS names, so they are names of folders.
        self.state.path("deployments").join(&api.namespace).join(&api.name)
    }

    fn file(&self, api: &ObjectKey, number: u64) -> PathBuf {
        self.folder(api).join(format!("{number}.json"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn contract(title: &str) -> Contract {
        Contract::of(ObjectKey::new("shop", "orders"), None, json!({"info": {"title": title}}))
    }

    fn deployments(folder: &tempfile::TempDir) -> Deployments {
        Deployments::new(State::open(Some(folder.path())).unwrap())
    }

    fn numbered(number: u64) -> Take {
        Take { number, description: None }
    }

    #[test]
    fn numbers_survive_the_process_and_are_locks_between_processes() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (deployments(&folder), deployments(&folder));
        let api = contract("a").api;
        assert!(one.known(&api).unwrap().is_empty());
        assert!(one.take(&contract("a"), &numbered(1), NOW).unwrap());
        assert!(!other.take(&contract("b"), &numbered(1), NOW).unwrap(), "the number is taken");
        assert_eq!(other.known(&api).unwrap(), BTreeMap::from([(1, contract("a").digest)]));
        assert!(other.take(&contract("b"), &numbered(2), NOW).unwrap());
        assert_eq!(one.known(&api).unwrap().keys().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(one.contract(&api, 2).unwrap().digest, contract("b").digest);
        one.remove(&api, 1).unwrap();
        assert_eq!(other.known(&api).unwrap().keys().copied().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn what_is_remembered_of_a_stage_survives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let key = StageKey { namespace: "shop".to_owned(), name: "prod".to_owned() };
        assert_eq!(deployments(&folder).record(&key), Record::default());
        let record = Record {
            live: Some(3),
            api: Some("orders".to_owned()),
            pin: Some("previous".to_owned()),
            handled_deploy: None,
        };
        deployments(&folder).set_record(&key, &record).unwrap();
        assert_eq!(deployments(&folder).record(&key), record);
    }
}
