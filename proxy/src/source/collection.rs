//! What has come of bundles so far: which are whole, which wait for parts, which cannot be read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bundle::object::{Index, ObjectError, Subject};
use bundle::{Digest, Encoded, HostBundle, KeyShard, KeysBundle, PlanBundle, PlanKey, StageBundle, StageKey, Stamped};

use crate::admin::RejectedBundle;
use crate::live::Offered;
use crate::live::api_key::Offer;
use crate::proxy::{LoadReport, Proxy};

/// What has come so far.
#[derive(Default)]
pub(super) struct Collection {
    /// The gateway after which objects are named; `None`: their names mean nothing.
    gateway: Option<String>,
    /// Indexes, by the names of their objects.
    objects: BTreeMap<String, Object>,
    /// Payloads of parts, by their names. They stay as they came, compressed: the next index may name them again.
    parts: HashMap<String, Box<[u8]>>,
    stages: BTreeMap<StageKey, Held>,
    hosts: BTreeMap<String, Stamped<HostBundle>>,
    plans: BTreeMap<PlanKey, Stamped<PlanBundle>>,
    keys: BTreeMap<KeyShard, Stamped<KeysBundle>>,
    /// Something has changed since it was served last.
    changed: bool,
    /// It has been served.
    served: bool,
}

/// What is known of one index.
#[derive(Default)]
struct Object {
    /// What it is about and has been read.
    served: Option<(Subject, Digest)>,
    /// What it should be and is not yet.
    trouble: Option<Trouble>,
}

/// Why an index is not what is served.
enum Trouble {
    /// Parts are missing.
    Waiting(Index),
    Rejected(RejectedBundle),
}

/// A stage: its bundle until it is live, then only its digest.
enum Held {
    New(Stamped<StageBundle>),
    Live,
}

/// A bundle that has been read, to be kept for bad times.
pub(super) struct Read {
    pub index: Index,
    pub payload: Vec<u8>,
}

/// What came of an index.
pub(super) enum Came {
    Nothing,
    Read(Box<Read>),
    Rejected,
}

enum Content {
    Stage(Box<StageBundle>),
    Host(HostBundle),
    Plan(PlanBundle),
    Keys(KeysBundle),
}

impl Collection {
    /// Objects are named after this gateway.
    pub(super) fn of(gateway: String) -> Self {
        Self { gateway: Some(gateway), ..Self::default() }
    }

    /// An index has come, or come again.
    pub(super) fn index<'a>(&mut self, name: &str, data: impl Fn(&str) -> Option<&'a [u8]>) -> Came {
        let index = match Index::read(&data) {
            Ok(index) => index,
            Err(error) => return self.reject(name, None, error.to_string()),
        };
        if self.gateway.as_ref().is_some_and(|gateway| index.subject.object_name(gateway) != name) {
            let message = "the object is not named after what it is about".to_owned();
            return self.reject(name, Some(&index), message);
        }
        let object = self.objects.entry(name.to_owned()).or_default();
        if object.served.as_ref().is_some_and(|(_, digest)| *digest == index.digest) {
            // What was rejected was taken back: that is news too.
            self.changed |= matches!(object.trouble.take(), Some(Trouble::Rejected(_)));
            return Came::Nothing;
        }
        self.complete(name, index, data)
    }

    /// A part has come: every index that waits for it is looked at again.
    pub(super) fn part(&mut self, name: &str, payload: &[u8]) -> Vec<(String, Came)> {
        self.parts.insert(name.to_owned(), payload.into());
        let waiting = self.objects.iter().filter_map(|(object, state)| match &state.trouble {
            Some(Trouble::Waiting(index)) if index.parts.iter().any(|part| part == name) => {
                Some((object.clone(), index.clone()))
            }
            Some(Trouble::Waiting(_) | Trouble::Rejected(_)) | None => None,
        });
        let waiting: Vec<_> = waiting.collect();
        waiting
            .into_iter()
            .map(|(object, index)| {
                let came = self.complete(&object, index, |_| None);
                (object, came)
            })
            .collect()
    }

    /// Reads the payload of an index, if it is all there.
    fn complete<'a>(&mut self, name: &str, index: Index, data: impl Fn(&str) -> Option<&'a [u8]>) -> Came {
        // A closure, so that what it gives need not live longer than the parts.
        let data = |key: &str| data(key);
        let encoded = index.payload(data, |part| self.parts.get(part).map(|part| &**part));
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(ObjectError::Part(_)) => {
                let object = self.objects.entry(name.to_owned()).or_default();
                object.trouble = Some(Trouble::Waiting(index));
                return Came::Nothing;
            }
            Err(error @ (ObjectError::Missing(_) | ObjectError::Index(_))) => {
                return self.reject(name, Some(&index), error.to_string());
            }
        };
        match decode(&index.subject, &encoded) {
            Ok(content) => {
                self.accept(name, &index, content);
                Came::Read(Box::new(Read { index, payload: encoded.payload }))
            }
            Err(message) => self.reject(name, Some(&index), message),
        }
    }

    fn accept(&mut self, name: &str, index: &Index, content: Content) {
        let digest = index.digest.clone();
        let object = self.objects.entry(name.to_owned()).or_default();
        object.trouble = None;
        let before = object.served.replace((index.subject.clone(), digest.clone()));
        if let Some((before, _)) = before.filter(|(before, _)| *before != index.subject) {
            self.drop_subject(&before);
        }
        match content {
            Content::Stage(stage) => {
                let stamped = Stamped { digest, content: Arc::<StageBundle>::from(stage) };
                self.stages.insert(stamped.key.clone(), Held::New(stamped));
            }
            Content::Host(host) => {
                self.hosts.insert(host.host.clone(), Stamped { digest, content: Arc::new(host) });
            }
            Content::Plan(plan) => {
                self.plans.insert(plan.key.clone(), Stamped { digest, content: Arc::new(plan) });
            }
            Content::Keys(keys) => {
                self.keys.insert(keys.shard.clone(), Stamped { digest, content: Arc::new(keys) });
            }
        }
        self.changed = true;
    }

    fn reject(&mut self, name: &str, index: Option<&Index>, message: String) -> Came {
        let object = self.objects.entry(name.to_owned()).or_default();
        let subject = index.map(|index| index.subject.clone());
        let subject = subject.or_else(|| object.served.as_ref().map(|(subject, _)| subject.clone()));
        let wanted = index.map(|index| index.digest.clone());
        let rejected = RejectedBundle { object: name.to_owned(), subject, wanted, message };
        tracing::warn!(%rejected, "a bundle cannot be read; what was there stays");
        object.trouble = Some(Trouble::Rejected(rejected));
        self.changed = true;
        Came::Rejected
    }

    /// A copy of an earlier day; true if it can be used. What is there already is newer.
    pub(super) fn restore(&mut self, name: &str, read: Read) -> bool {
        let Read { index, payload } = read;
        if self.objects.get(name).is_some_and(|object| object.served.is_some()) {
            return false;
        }
        let encoded = Encoded { format: index.format, digest: index.digest.clone(), payload };
        let named = self.gateway.as_ref().is_none_or(|gateway| index.subject.object_name(gateway) == name);
        match decode(&index.subject, &encoded) {
            Ok(content) if named => {
                // What is known of today's goes on: it waits for its parts, or cannot be read.
                let trouble = self.objects.get_mut(name).and_then(|object| object.trouble.take());
                self.accept(name, &index, content);
                if let Some(object) = self.objects.get_mut(name) {
                    object.trouble = trouble;
                }
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(object = name, %error, "a copy cannot be used");
                false
            }
        }
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, name: &str) {
        self.parts.remove(name);
        let Some(object) = self.objects.remove(name) else { return };
        self.changed = true;
        if let Some((subject, _)) = object.served {
            self.drop_subject(&subject);
        }
    }

    fn drop_subject(&mut self, subject: &Subject) {
        match subject {
            Subject::Stage(key) => drop(self.stages.remove(key)),
            Subject::Host(host) => drop(self.hosts.remove(host)),
            Subject::Plan(plan) => drop(self.plans.remove(plan)),
            Subject::Keys(shard) => drop(self.keys.remove(shard)),
        }
    }

    /// Only these objects are there.
    pub(super) fn retain(&mut self, names: &HashSet<String>) {
        let gone: Vec<String> =
            self.objects.keys().chain(self.parts.keys()).filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            self.remove(&name);
        }
    }

    /// Adds a host that no object brings.
    pub(super) fn host(&mut self, host: HostBundle) {
        let stamped = Stamped::new(host);
        if self.hosts.get(&stamped.host) != Some(&stamped) {
            self.hosts.insert(stamped.host.clone(), stamped);
            self.changed = true;
        }
    }

    /// Keys of the stages that can be served.
    pub(super) fn stages(&self) -> impl Iterator<Item = (&StageKey, Option<&StageBundle>)> {
        self.stages.iter().map(|(key, held)| match held {
            Held::New(stage) => (key, Some(&**stage)),
            Held::Live => (key, None),
        })
    }

    /// Whether serving it would change anything.
    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Whether something, or nothing, has been made live.
    pub(super) fn has_served(&self) -> bool {
        self.served
    }

    /// Makes it live. What is then known by its digest is not kept a second time.
    pub(super) fn serve(&mut self, proxy: &Proxy) -> LoadReport {
        let stages = self.stages.iter().map(|(key, held)| match held {
            Held::New(stage) => Offered::Bundle(stage),
            Held::Live => Offered::Known(key),
        });
        let hosts: Vec<Stamped<HostBundle>> = self.hosts.values().cloned().collect();
        let plans: Vec<Stamped<PlanBundle>> = self.plans.values().cloned().collect();
        let keys: Vec<Stamped<KeysBundle>> = self.keys.values().cloned().collect();
        let report = proxy.offer(stages, &hosts, Offer { plans: &plans, keys: &keys });
        for held in self.stages.values_mut() {
            *held = Held::Live;
        }
        let rejected = self.objects.values().filter_map(|object| match &object.trouble {
            Some(Trouble::Rejected(rejected)) => Some(rejected.clone()),
            Some(Trouble::Waiting(_)) | None => None,
        });
        proxy.rejected(rejected.collect());
        self.changed = false;
        self.served = true;
        report
    }
}

/// Reads a payload; what it holds must be what the index says it is about.
fn decode(subject: &Subject, encoded: &Encoded) -> Result<Content, String> {
    let other = || format!("the payload is not about {subject}");
    match subject {
        Subject::Stage(key) => {
            let stage: StageBundle = bundle::decode(encoded).map_err(|error| error.to_string())?;
            if stage.key == *key { Ok(Content::Stage(Box::new(stage))) } else { Err(other()) }
        }
        Subject::Host(name) => {
            let host: HostBundle = bundle::decode(encoded).map_err(|error| error.to_string())?;
            if host.host == *name { Ok(Content::Host(host)) } else { Err(other()) }
        }
        Subject::Plan(key) => {
            let plan: PlanBundle = bundle::decode(encoded).map_err(|error| error.to_string())?;
            if plan.key == *key { Ok(Content::Plan(plan)) } else { Err(other()) }
        }
        Subject::Keys(shard) => {
            let keys: KeysBundle = bundle::decode(encoded).map_err(|error| error.to_string())?;
            if keys.shard == *shard { Ok(Content::Keys(keys)) } else { Err(other()) }
        }
    }
}

#[cfg(test)]
mod tests;
