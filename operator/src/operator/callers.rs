//! Who may call: usage plans and API keys, resolved by namespace when anything there changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bundle::object::Subject;
use bundle::{KeyShard, StageKey};
use compile::callers::Admission;
use compile::{Finding, ObjectKey};

use super::{Again, Operator};
use crate::deliver::{Content, Wanted};

/// What is known about callers.
#[derive(Default)]
pub(super) struct Callers {
    /// Namespaces to resolve.
    due: BTreeSet<String>,
    /// What was resolved last, by namespace.
    resolved: BTreeMap<String, Admission>,
    /// Namespaces whose bundles could not be written.
    again: Again,
}

impl Callers {
    /// Plans, keys or Stages of a namespace have changed.
    pub(super) fn changed(&mut self, namespace: &str) {
        if !self.due.contains(namespace) {
            self.due.insert(namespace.to_owned());
        }
    }

    /// Whether a pass would change anything.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Bundles of a namespace could not be written or removed.
    pub(super) fn retry(&mut self, namespace: &str) {
        self.again.later(ObjectKey::new(namespace, ""));
    }

    /// Looks again at those whose time has come.
    pub(super) fn wake(&mut self, now: Instant) {
        self.due.extend(self.again.due(now).into_iter().map(|key| key.namespace));
    }

    /// Number of keys of a plan, and what was found about them and about other plans.
    pub(super) fn of_plan(&self, plan: &ObjectKey) -> Option<(u64, Vec<&Finding>)> {
        let admission = self.resolved.get(&plan.namespace)?;
        let secrets = admission.secrets.get(&plan.name);
        let concerns = |finding: &&Finding| match finding.object.kind {
            "UsagePlan" => finding.object.name == plan.name,
            _ => secrets.is_some_and(|secrets| secrets.contains(&finding.object.name)),
        };
        let count = admission.counts.get(&plan.name).copied().unwrap_or_default();
        Some((count, admission.findings.iter().filter(concerns).collect()))
    }
}

impl Operator {
    /// Every namespace is looked at again.
    pub(super) fn all_callers(&mut self) {
        let world = &self.cluster.world;
        let named = world.usage_plans.keys().chain(world.api_keys.keys()).map(|key| &key.namespace);
        let namespaces: BTreeSet<String> = named.chain(self.callers.resolved.keys()).cloned().collect();
        self.callers.due.extend(namespaces);
    }

    /// What shall be in the cluster of plans and keys.
    pub(super) fn want_callers(&mut self) {
        for namespace in std::mem::take(&mut self.callers.due) {
            self.callers.again.done(&ObjectKey::new(&namespace, ""));
            let admission = Admission::of(&self.cluster.world, &namespace);
            self.wanted.retain(|_, wanted| namespace_of(&wanted.subject) != Some(namespace.as_str()));
            for gateway in &self.config.gateways {
                let digits = self.shard_digits(&gateway.name, &namespace);
                let (plans, keys) = admission.bundles(&self.cluster.world, &gateway.compiler(), digits);
                let plans = plans.into_iter().map(|plan| (Subject::Plan(plan.key.clone()), Content::Plan(plan)));
                let keys = keys.into_iter().map(|keys| (Subject::Keys(keys.shard.clone()), Content::Keys(keys)));
                for (subject, content) in plans.chain(keys) {
                    let object = ObjectKey::new(&gateway.bundle_namespace, subject.object_name(&gateway.name));
                    let gateway = gateway.name.clone();
                    let (deployment, api, pin) = (None, None, None);
                    let (handled_deploy, certificate) = (None, None);
                    self.wanted.insert(
                        object,
                        Wanted { gateway, subject, deployment, api, pin, handled_deploy, certificate, content },
                    );
                }
            }
            let plans = self.cluster.world.usage_plans.keys().filter(|plan| plan.namespace == namespace);
            self.reports.plans(plans);
            self.callers.resolved.insert(namespace, admission);
        }
    }

    /// Bundles of whoever may call one Stage: plans that name it, and the keys of its namespace.
    pub(super) fn callers_of(&self, stage: &StageKey, gateway: &str) -> Vec<&Wanted> {
        let concerns = |wanted: &&Wanted| match &wanted.content {
            Content::Plan(plan) => plan.key.namespace == stage.namespace && plan.stages.contains(&stage.name),
            Content::Keys(keys) => keys.shard.namespace == stage.namespace,
            Content::Stage(_) | Content::Host(_) => false,
        };
        let mut found: Vec<&Wanted> =
            self.wanted.values().filter(|wanted| wanted.gateway == gateway).filter(concerns).collect();
        // Keys alone open nothing.
        if !found.iter().any(|wanted| matches!(wanted.content, Content::Plan(_))) {
            found.clear();
        }
        found
    }

    /// Hexadecimal digits of the shards that are in the cluster.
    fn shard_digits(&self, gateway: &str, namespace: &str) -> usize {
        let digits = |index: &bundle::object::Index| match &index.subject {
            Subject::Keys(KeyShard { namespace: of, prefix }) if of == namespace => Some(prefix.len()),
            Subject::Keys(_) | Subject::Plan(_) | Subject::Stage(_) | Subject::Host(_) => None,
        };
        let known = self.indexes.values().filter(|known| known.gateway == gateway);
        known.filter_map(|known| digits(known.index.as_ref()?)).max().unwrap_or(0)
    }

    /// Namespaces some of whose callers' bundles are not written. What stands in for them stays.
    pub(super) fn unwritten_callers(&self) -> BTreeSet<String> {
        let unwritten = self.wanted.iter().filter(|(key, wanted)| {
            let choice = self.format(&wanted.gateway);
            self.indexes.get(*key).is_none_or(|known| !wanted.is_delivered(known, &choice))
        });
        unwritten.filter_map(|(_, wanted)| namespace_of(&wanted.subject)).map(str::to_owned).collect()
    }
}

/// Namespace of a plan's or of keys' bundle.
pub(super) fn namespace_of(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::Plan(key) => Some(&key.namespace),
        Subject::Keys(shard) => Some(&shard.namespace),
        Subject::Stage(_) | Subject::Host(_) => None,
    }
}
