//! Who may call: usage plans, and the API keys that they select.
//!
//! A plan, its keys and the Stages it opens are of one namespace, so a namespace is resolved by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bundle::{ApiKey, Digest, KeyDigest, KeyShard, KeysBundle, PlanBundle, PlanKey, Stamped};
use crds::{Stage, UsagePlan, UsagePlanSpec};

use crate::finding::{Finding, Findings, Reason, Severity};
use crate::gateway::Gateway;
use crate::lower::usage_plan;
use crate::world::{ApiKeys, ObjectKey, World, check_plan};

/// Keys in one bundle, about: a key that changes writes as many anew.
const SHARD: usize = 1_000;

/// Who may call the Stages of one gateway.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// Plans, in the order of their keys.
    pub plans: Vec<Stamped<PlanBundle>>,
    /// Keys, in the order of their shards.
    pub keys: Vec<Stamped<KeysBundle>>,
    /// What plans and keys are at odds about, and what is wrong with keys. [`check_plan`] has what is wrong with a plan
    /// by itself.
    pub findings: Vec<Finding>,
}

/// Who may call the Stages of all namespaces, through one gateway.
pub fn callers(world: &World, gateway: &Gateway) -> Callers {
    let namespaces: BTreeSet<&str> =
        world.usage_plans.keys().chain(world.api_keys.keys()).map(|key| key.namespace.as_str()).collect();
    let mut callers = Callers::default();
    for namespace in namespaces {
        let admission = Admission::of(world, namespace);
        let (plans, keys) = admission.bundles(world, gateway, 0);
        callers.plans.extend(plans);
        callers.keys.extend(keys);
        callers.findings.extend(admission.findings);
    }
    callers
}

/// Who may call the Stages of one namespace, whatever their gateway.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    namespace: String,
    /// Stages that each plan opens, by the plan's name.
    plans: BTreeMap<String, BTreeSet<String>>,
    /// Keys that are enabled and of some plan.
    keys: BTreeMap<KeyDigest, Admitted>,
    /// Number of keys of each plan.
    pub counts: BTreeMap<String, u64>,
    /// Secrets that each plan selects.
    pub secrets: BTreeMap<String, BTreeSet<String>>,
    /// See [`Callers::findings`].
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug)]
struct Admitted {
    id: String,
    /// The oldest first.
    plans: Arc<[String]>,
}

impl Admission {
    /// Resolves the plans of a namespace.
    pub fn of(world: &World, namespace: &str) -> Self {
        let mut admission = Self { namespace: namespace.to_owned(), ..Self::default() };
        let mut plans: Vec<_> = within(&world.usage_plans, namespace).collect();
        // The oldest first, and of equally old ones the first by name: no restart changes who counts.
        plans.sort_by_cached_key(|(key, plan)| {
            let created = plan.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created.is_none(), created, key.name.clone())
        });
        // A plan with an error opens nothing: what its author meant is not known.
        let fine = |(key, plan): &(&ObjectKey, &Arc<UsagePlan>)| {
            check_plan(world, key, plan).iter().all(|finding| finding.severity != Severity::Error)
        };
        plans.retain(fine);
        for (key, plan) in &plans {
            let stages = plan.spec.stages.iter().map(|stage| stage.name.clone());
            let there = |stage: &String| world.stages.contains_key(&ObjectKey::new(namespace, stage));
            admission.plans.insert(key.name.clone(), stages.filter(there).collect());
            admission.counts.insert(key.name.clone(), 0);
        }
        let mut secrets: Vec<_> = within(&world.api_keys, namespace).collect();
        secrets.sort_by_cached_key(|(key, keys)| (keys.created.is_none(), keys.created.clone(), key.name.clone()));
        let mut known = Known::default();
        let mut rivals = Rivals::new();
        for (key, keys) in secrets {
            let of: Vec<String> = plans
                .iter()
                .filter(|(_, plan)| selects(&plan.spec, &keys.labels))
                .map(|(key, _)| key.name.clone())
                .collect();
            admission.secret(key, keys, of.into(), &mut known, &mut rivals);
        }
        admission.conflicts(&rivals, &plans);
        admission.findings.sort();
        admission
    }

    /// Takes the keys of one Secret, which these plans select.
    fn secret(
        &mut self,
        key: &ObjectKey,
        keys: &ApiKeys,
        plans: Arc<[String]>,
        known: &mut Known,
        rivals: &mut Rivals,
    ) {
        let mut findings = Findings::new(key.object("Secret"));
        for plan in plans.iter() {
            self.secrets.entry(plan.clone()).or_default().insert(key.name.clone());
        }
        if keys.enabled.as_deref().is_some_and(|mark| !matches!(mark, "true" | "false")) {
            let text = format!(
                "`{}` is neither true nor false: the keys of the Secret `{}` are off",
                crds::annotation::ENABLED,
                key.name
            );
            findings.object(Severity::Warning, Reason::InvalidApiKey, "/metadata/annotations", text);
        }
        if keys.entries.is_empty() {
            let text = format!("the Secret `{}` holds no key", key.name);
            findings.object(Severity::Warning, Reason::InvalidApiKey, "", text);
        } else if plans.is_empty() && keys.is_enabled() {
            let text = format!("no UsagePlan selects the Secret `{}`: its keys open nothing", key.name);
            findings.object(Severity::Warning, Reason::KeyWithoutPlan, "/metadata/labels", text);
        }
        for (id, entry, digest) in keys.keys(&key.name) {
            let at = format!("/stringData/{}", crate::read::escape(entry));
            let digest = match digest {
                Ok(digest) => *digest,
                Err(fault) => {
                    let text = format!("the entry `{entry}` of the Secret `{}` {fault}", key.name);
                    findings.object(Severity::Error, Reason::InvalidApiKey, at, text);
                    continue;
                }
            };
            if let Some(other) = known.digests.get(&digest).or_else(|| known.ids.get(&id)) {
                let what = if known.digests.contains_key(&digest) { "key" } else { "id" };
                let text =
                    format!("the entry `{entry}` of the Secret `{}` has the {what} of {other}, which counts", key.name);
                findings.object(Severity::Error, Reason::DuplicateApiKey, at, text);
                findings.help("make another one: `stagegate keys create`");
                continue;
            }
            let title = format!("the entry `{entry}` of the Secret `{}`", key.name);
            known.digests.insert(digest, title.clone());
            known.ids.insert(id.clone(), title);
            if !keys.is_enabled() || plans.is_empty() {
                continue;
            }
            for (place, plan) in plans.iter().enumerate() {
                *self.counts.entry(plan.clone()).or_default() += 1;
                for older in &plans[..place] {
                    let ids = rivals.entry((plan.clone(), older.clone())).or_insert_with(|| (id.clone(), 0));
                    ids.1 += 1;
                }
            }
            self.keys.insert(digest, Admitted { id, plans: Arc::clone(&plans) });
        }
        self.findings.extend(findings.into_sorted());
    }

    /// Plans that give one key the same Stage: the older one counts.
    fn conflicts(&mut self, rivals: &Rivals, plans: &[(&ObjectKey, &Arc<UsagePlan>)]) {
        for ((name, older), (id, count)) in rivals {
            let Some((key, plan)) = plans.iter().find(|(key, _)| key.name == *name) else { continue };
            let mut findings = Findings::new(key.object("UsagePlan"));
            for (index, stage) in plan.spec.stages.iter().enumerate() {
                if !self.plans.get(older).is_some_and(|stages| stages.contains(&stage.name)) {
                    continue;
                }
                let more = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
                let text = format!(
                    "the older plan `{older}` has the Stage `{}` for the key `{id}`{more} too, and counts for it",
                    stage.name
                );
                findings.object(Severity::Warning, Reason::PlanConflict, format!("/spec/stages/{index}/name"), text);
            }
            self.findings.extend(findings.into_sorted());
        }
    }

    /// Bundles for the proxies of one gateway: plans of Stages that it serves, and their keys. `digits` is how many
    /// hexadecimal digits the shards have that are there already, so that a key more or less does not make others of
    /// them.
    pub fn bundles(
        &self,
        world: &World,
        gateway: &Gateway,
        digits: usize,
    ) -> (Vec<Stamped<PlanBundle>>, Vec<Stamped<KeysBundle>>) {
        let serves = |stage: &String| {
            let stage = world.stages.get(&ObjectKey::new(&self.namespace, stage));
            stage.is_some_and(|stage| serves(gateway, stage))
        };
        let mut plans: BTreeMap<&str, PlanBundle> = BTreeMap::new();
        for (name, stages) in &self.plans {
            let stages: BTreeSet<String> = stages.iter().filter(|stage| serves(stage)).cloned().collect();
            if !stages.is_empty() {
                let key = PlanKey { namespace: self.namespace.clone(), name: name.clone() };
                plans.insert(name, PlanBundle { key, stages, requires: BTreeSet::new() });
            }
        }
        let mut keys: Vec<(KeyDigest, ApiKey)> = Vec::new();
        for (digest, admitted) in &self.keys {
            let of: Vec<String> =
                admitted.plans.iter().filter(|plan| plans.contains_key(plan.as_str())).cloned().collect();
            if !of.is_empty() {
                keys.push((*digest, ApiKey { id: admitted.id.clone(), plans: of, requires: BTreeSet::new() }));
            }
        }
        let digits = shard_digits(keys.len(), digits);
        let mut shards: BTreeMap<String, BTreeMap<KeyDigest, ApiKey>> = BTreeMap::new();
        for (digest, key) in keys {
            shards.entry(digest.prefix(digits)).or_default().insert(digest, key);
        }
        let shard = |(prefix, keys)| {
            let shard = KeyShard { namespace: self.namespace.clone(), prefix };
            Stamped::new(KeysBundle { shard, keys })
        };
        (plans.into_values().map(Stamped::new).collect(), shards.into_iter().map(shard).collect())
    }

    /// Names its content: equal ones have equal bundles.
    pub fn digest(&self) -> Digest {
        let keys: Vec<_> = self.keys.iter().map(|(digest, key)| (digest, &key.id, &*key.plans)).collect();
        Digest::of_value(&(&self.plans, keys))
    }
}

/// Keys met so far, with what they are called: by digest and by id.
#[derive(Default)]
struct Known {
    digests: HashMap<KeyDigest, String>,
    ids: HashMap<String, String>,
}

/// Pairs of plans, the younger first, that select the same keys: the first key's id and how many.
type Rivals = BTreeMap<(String, String), (String, usize)>;

/// Whether a plan's keys are those of Secrets with these labels.
pub fn selects(plan: &UsagePlanSpec, labels: &BTreeMap<String, String>) -> bool {
    plan.api_keys.as_ref().is_some_and(|keys| usage_plan::selects(&keys.selector, labels))
}

/// Whether a gateway serves a Stage.
fn serves(gateway: &Gateway, stage: &Stage) -> bool {
    gateway.any_stage || stage.spec.gateway.as_deref().unwrap_or("default") == gateway.name
}

/// Hexadecimal digits of shards for so many keys. They grow at once and shrink late.
fn shard_digits(keys: usize, before: usize) -> usize {
    let wanted = |keys: usize| match keys {
        0..=SHARD => 0,
        _ if keys <= 16 * SHARD => 1,
        _ => 2,
    };
    wanted(keys).max(before.min(wanted(keys.saturating_mul(4))))
}

fn within<'a, T>(map: &'a BTreeMap<ObjectKey, T>, namespace: &'a str) -> impl Iterator<Item = (&'a ObjectKey, &'a T)> {
    map.range(ObjectKey::new(namespace, "")..).take_while(move |(key, _)| key.namespace == namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_grow_at_once_and_shrink_late() {
        for (keys, before, digits) in [
            (0, 0, 0),
            (SHARD, 0, 0),
            (SHARD + 1, 0, 1),
            (SHARD, 1, 1),
            (SHARD / 4, 1, 0),
            (16 * SHARD + 1, 1, 2),
            (16 * SHARD, 2, 2),
            (4 * SHARD, 2, 1),
            (usize::MAX, 0, 2),
        ] {
            assert_eq!(shard_digits(keys, before), digits, "{keys} keys, {before} before");
        }
    }
}
