//! Deployments: numbered snapshots of each ApiDefinition's contract, kept in the state folder.
//!
//! As in the cluster, a deployment is immutable, creating it is the lock on its number, and what equals the newest
//! makes no new one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bundle::StageKey;
use compile::{Contract, ObjectKey};
use crds::backend::Backend;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::{Readers, State, create_atomically, private_folder, write_atomically};

/// Deployments kept of an API unless a Stage says otherwise.
pub(crate) const HISTORY_LIMIT: u32 = 50;

/// Numbers tried when other processes take them at the same time.
const ATTEMPTS: usize = 100;

/// Every API's deployments.
pub(crate) struct Deployments {
    state: State,
    /// The newest of each API, as this process knows it.
    newest: BTreeMap<ObjectKey, Newest>,
}

#[derive(Clone, Debug)]
struct Newest {
    number: u64,
    digest: String,
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

/// Why a deployment cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("there is no deployment {number} of {api}{}", known(.numbers))]
    Unknown { api: ObjectKey, number: u64, numbers: Vec<u64> },
    #[error("deployment {number} of {api} cannot be read: {source}")]
    Unreadable { api: ObjectKey, number: u64, source: io::Error },
}

fn known(numbers: &[u64]) -> String {
    match numbers {
        [] => ": there is none yet".to_owned(),
        _ => format!("; known: {}", numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
    }
}

impl Deployments {
    pub(crate) fn new(state: State) -> Self {
        Self { state, newest: BTreeMap::new() }
    }

    /// The number that a contract has if it is the newest deployment, or will have once it is taken.
    pub(crate) fn number(&mut self, contract: &Contract) -> io::Result<u64> {
        match self.newest(&contract.api)? {
            Some(newest) if newest.digest == contract.digest.as_str() => Ok(newest.number),
            Some(newest) => Ok(newest.number + 1),
            None => Ok(1),
        }
    }

    /// Takes a contract as a deployment, unless it equals the newest, and returns its number.
    pub(crate) fn take(&mut self, contract: &Contract, created: &str) -> io::Result<u64> {
        let Some(document) = &contract.document else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the contract has no document"));
        };
        for _ in 0..ATTEMPTS {
            let number = self.number(contract)?;
            let digest = contract.digest.as_str().to_owned();
            if self.newest.get(&contract.api).is_some_and(|newest| newest.digest == digest) {
                return Ok(number);
            }
            let snapshot = Snapshot {
                number,
                digest: digest.clone(),
                created: created.to_owned(),
                description: contract.description.clone(),
                backend: contract.backend.clone(),
                document: Value::clone(document),
            };
            private_folder(&self.folder(&contract.api))?;
            match create_atomically(&self.file(&contract.api, number), &serde_json::to_vec(&snapshot)?, Readers::Owner)
            {
                Ok(()) => {
                    self.newest.insert(contract.api.clone(), Newest { number, digest });
                    return Ok(number);
                }
                // Another process took the number; what it holds decides what ours is.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => drop(self.newest.remove(&contract.api)),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("other processes keep taking the numbers"))
    }

    /// The contract of a deployment.
    pub(crate) fn contract(&self, api: &ObjectKey, number: u64) -> Result<Arc<Contract>, SnapshotError> {
        match self.read(api, number) {
            Ok(snapshot) => Ok(Arc::new(Contract::of(api.clone(), snapshot.backend, snapshot.document))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let numbers = self.numbers(api).unwrap_or_default().into_iter().collect();
                Err(SnapshotError::Unknown { api: api.clone(), number, numbers })
            }
            Err(source) => Err(SnapshotError::Unreadable { api: api.clone(), number, source }),
        }
    }

    /// The number before this one.
    pub(crate) fn before(&self, api: &ObjectKey, number: u64) -> Option<u64> {
        self.numbers(api).ok()?.range(..number).next_back().copied()
    }

    /// What `previous` was resolved to for a Stage, once.
    pub(crate) fn pin(&self, stage: &StageKey) -> Option<u64> {
        fs::read_to_string(self.pin_file(stage)).ok()?.trim().parse().ok()
    }

    /// Remembers what `previous` was resolved to; `None` when nothing is pinned any more.
    pub(crate) fn set_pin(&self, stage: &StageKey, number: Option<u64>) -> io::Result<()> {
        let file = self.pin_file(stage);
        match number {
            Some(number) => {
                private_folder(&self.state.path("pins").join(&stage.namespace))?;
                write_atomically(&file, number.to_string().as_bytes(), Readers::Owner)
            }
            None => match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    fn pin_file(&self, stage: &StageKey) -> PathBuf {
        self.state.path("pins").join(&stage.namespace).join(&stage.name)
    }

    /// Forgets the oldest of an API beyond a limit, except those in use.
    pub(crate) fn sweep(&self, api: &ObjectKey, limit: u32, in_use: &BTreeSet<u64>) -> io::Result<()> {
        let numbers = self.numbers(api)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let spare = numbers.len().saturating_sub(limit);
        for number in numbers.into_iter().take(spare).filter(|number| !in_use.contains(number)) {
            fs::remove_file(self.file(api, number))?;
        }
        Ok(())
    }

    /// The newest. Another process may have taken one since, which the names in the folder tell.
    fn newest(&mut self, api: &ObjectKey) -> io::Result<Option<Newest>> {
        let Some(number) = self.numbers(api)?.last().copied() else {
            self.newest.remove(api);
            return Ok(None);
        };
        if self.newest.get(api).is_none_or(|known| known.number != number) {
            let digest = match self.read(api, number) {
                Ok(snapshot) => snapshot.digest,
                // It keeps its number, and equals nothing.
                Err(error) => {
                    tracing::warn!(%api, number, %error, "cannot read a deployment");
                    String::new()
                }
            };
            self.newest.insert(api.clone(), Newest { number, digest });
        }
        Ok(self.newest.get(api).cloned())
    }

    fn read(&self, api: &ObjectKey, number: u64) -> io::Result<Snapshot> {
        Ok(serde_json::from_slice(&fs::read(self.file(api, number))?)?)
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

    #[test]
    fn what_equals_the_newest_makes_no_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut deployments = deployments(&folder);
        assert_eq!(deployments.number(&contract("a")).unwrap(), 1);
        assert_eq!(deployments.take(&contract("a"), NOW).unwrap(), 1);
        assert_eq!(deployments.take(&contract("a"), NOW).unwrap(), 1);
        assert_eq!(deployments.number(&contract("b")).unwrap(), 2);
        assert_eq!(deployments.take(&contract("b"), NOW).unwrap(), 2);
        // Going back to an older text is a deployment of its own.
        assert_eq!(deployments.take(&contract("a"), NOW).unwrap(), 3);
    }

    #[test]
    fn numbers_survive_the_process_and_are_shared_between_processes() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (deployments(&folder), deployments(&folder));
        assert_eq!(one.take(&contract("a"), NOW).unwrap(), 1);
        assert_eq!(other.take(&contract("a"), NOW).unwrap(), 1);
        assert_eq!(other.take(&contract("b"), NOW).unwrap(), 2);
        assert_eq!(one.take(&contract("c"), NOW).unwrap(), 3);
        assert_eq!(deployments(&folder).take(&contract("c"), NOW).unwrap(), 3);
    }

    #[test]
    fn a_deployment_can_be_served_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut deployments = deployments(&folder);
        deployments.take(&contract("a"), NOW).unwrap();
        deployments.take(&contract("b"), NOW).unwrap();
        let api = contract("a").api;
        assert_eq!(deployments.contract(&api, 1).unwrap().digest, contract("a").digest);
        assert_eq!((deployments.before(&api, 2), deployments.before(&api, 1)), (Some(1), None));
        let error = deployments.contract(&api, 7).unwrap_err().to_string();
        assert_eq!(error, "there is no deployment 7 of shop/orders; known: 1, 2");
    }

    #[test]
    fn the_oldest_are_forgotten_except_those_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let mut deployments = deployments(&folder);
        for title in ["a", "b", "c", "d"] {
            deployments.take(&contract(title), NOW).unwrap();
        }
        let api = contract("a").api;
        deployments.sweep(&api, 2, &BTreeSet::from([1])).unwrap();
        assert_eq!(deployments.numbers(&api).unwrap(), BTreeSet::from([1, 3, 4]));
    }
}
