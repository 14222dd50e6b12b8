//! Statuses: made when something about their object changed, written when they say something new.

use std::time::Duration;

use bundle::StageKey;
use bundle::object::Index;
use compile::ObjectKey;
use compile::world::api_of;
use crds::{ApiDefinitionStatus, StageStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde_json::Value;
use tokio::time::Instant;

use super::Operator;
use super::pass::stage_key;
use crate::report::{self, About, Identity, Programmed, StageFacts, transitions};
use crate::state::Subjected;

/// Proxies have this long before a status says that they have not loaded it: most have by then.
const GRACE: Duration = Duration::from_millis(150);
/// Between two writes of one status because of its proxies.
const PROXIES: Duration = Duration::from_secs(2);
/// After this long a proxy that has another bundle is named.
const LATE: Duration = Duration::from_secs(5);

impl Operator {
    pub(super) fn report(&mut self) {
        let now = Instant::now();
        let due: Vec<Subjected> =
            self.reports.due.iter().filter(|(_, due)| **due <= now).map(|(subject, _)| subject.clone()).collect();
        for subject in &due {
            self.reports.due.remove(subject);
        }
        let mut subjects = std::mem::take(&mut self.state.unreported);
        subjects.extend(due);
        for subject in subjects {
            if self.reports.in_flight.contains(&subject) {
                continue;
            }
            match &subject {
                Subjected::Api(key) => self.report_api(key),
                Subjected::Stage(key) => self.report_stage(key),
            }
        }
    }

    fn report_api(&mut self, key: &ObjectKey) {
        let Some(api) = self.state.apis.get(key) else { return };
        let Some(contract) = api.contract.as_ref().filter(|_| !api.stale) else { return };
        let generation = api.metadata.generation;
        let status = ApiDefinitionStatus {
            conditions: report::with_times(report::api_conditions(contract), &api.status.conditions, generation),
            observed_generation: generation,
            routes: u32::try_from(contract.routes()).ok(),
            digest: Some(contract.digest.to_string()),
            latest_deployment: self.state.deployments.get(key).and_then(|all| all.keys().next_back().copied()),
        };
        if status == api.status {
            return;
        }
        let news = news(&api.status.conditions, &status.conditions);
        let about = about(Subjected::Api(key.clone()), &api.metadata);
        self.write(about, report::api_patch(&status), news, "ApiDefinition", key);
    }

    fn report_stage(&mut self, key: &ObjectKey) {
        let (Some(stage), Some(served)) =
            (self.state.world.stages.get(key).cloned(), self.state.served.get(&stage_key(key)))
        else {
            return;
        };
        let api = api_of(key, &stage);
        if self.state.dirty.contains(&api) {
            return;
        }
        let own = stage_key(key);
        let old = stage.status.clone().unwrap_or_default();
        let name = stage.spec.gateway.as_deref().unwrap_or("default");
        let gateway = self.gateway(name);
        let programmed = self.programmed(&own, name);
        let conflicts = self.state.hosts.get(name).map(|hosts| hosts.findings.as_slice()).unwrap_or_default();
        let conflicts = conflicts
            .iter()
            .filter(|finding| finding.object.namespace == key.namespace && finding.object.name == key.name)
            .collect();
        let object = self.state.apis.get(&api);
        let told = report::stage_conditions(&StageFacts {
            served,
            missing_api: object.is_none().then_some(api.name.as_str()),
            broken_api: object.is_some_and(|api| api.contract.as_ref().is_some_and(|contract| !contract.is_sound())),
            gateway: name,
            conflicts,
            programmed: programmed.clone(),
        });
        let index = self.index_of(&own).map(|(_, _, index)| index);
        let generation = stage.metadata.generation;
        let url = gateway.zip(served.good.as_ref()).filter(|(_, unit)| unit.default_host).map(|(gateway, unit)| {
            format!("https://{}.{}.{}/{}", api.name, api.namespace, gateway.base_domain, unit.stage_name)
        });
        let known = self.state.deployments.get(&api);
        let status = StageStatus {
            conditions: report::with_times(told, &old.conditions, generation),
            observed_generation: generation,
            deployment: index.and_then(|index| index.deployment),
            pinned: index.map(|index| index.pin.is_some()),
            url,
            history: report::history(known.into_iter().flat_map(|all| all.values().rev()).map(|known| &known.entry)),
            proxies: report::proxies(&programmed),
            handled_deploy: served.handled_deploy.clone(),
        };
        if status == old {
            return;
        }
        let now = Instant::now();
        let delivered = self.delivered.get(&own).copied();
        let subject = Subjected::Stage(key.clone());
        let waiting = matches!(&programmed, Programmed::Loaded { ready, total, .. } if ready < total);
        let mut wait = None;
        if waiting && let Some(delivered) = delivered {
            wait = Some(delivered + GRACE).filter(|due| *due > now);
            let late = delivered + LATE;
            if late > now {
                self.reports.due.insert(subject.clone(), late);
            }
        }
        if only_proxies(&old, &status)
            && let Some(written) = self.reports.written.get(&subject)
        {
            wait = wait.max(Some(*written + PROXIES)).filter(|due| *due > now);
        }
        if let Some(due) = wait {
            self.reports.due.insert(subject, due);
            return;
        }
        let news = news(&old.conditions, &status.conditions);
        self.write(about(subject, &stage.metadata), report::stage_patch(&status), news, "Stage", key);
    }

    fn write(&mut self, about: About, status: Value, news: Vec<News>, kind: &'static str, key: &ObjectKey) {
        let uid = about.metadata.uid.clone().unwrap_or_default();
        self.reports.in_flight.insert(about.subject.clone());
        self.reports.written.insert(about.subject.clone(), Instant::now());
        tokio::spawn(report::write(self.client.clone(), about, status, self.changes.clone()));
        for News { reason, note, warning } in news {
            self.event(kind, key.clone(), uid.clone(), &reason, note, warning);
        }
    }

    /// What proxies say of a Stage.
    fn programmed(&self, key: &StageKey, gateway: &str) -> Programmed {
        if let Some(why) = self.state.served.get(key).and_then(|served| served.undelivered.clone()) {
            return Programmed::Undelivered(why);
        }
        let Some((_, held, index)) = self.index_of(key) else { return Programmed::NotDeployed };
        // A Stage whose gateway is unknown goes on where it was.
        let gateway = self.gateway(gateway).or_else(|| self.gateway(&held.gateway));
        let Some(gateway) = gateway else { return Programmed::NoProxies };
        if gateway.is_sidecar(key) {
            return Programmed::NotObserved;
        }
        let pods = self.state.pods.get(&gateway.name).into_iter().flatten().filter(|(_, pod)| pod.ready);
        let (mut ready, mut total, mut late) = (0, 0, Vec::new());
        let since = self.delivered.get(key);
        for (name, _) in pods {
            total += 1;
            let proxy = self.proxies.get(&(gateway.name.clone(), name.clone()));
            if proxy.and_then(|proxy| proxy.stages.get(key)) == Some(&index.digest) {
                ready += 1;
            } else if since.is_none_or(|since| since.elapsed() >= LATE) {
                late.push(name.clone());
            }
        }
        match total {
            0 => Programmed::NoProxies,
            total => Programmed::Loaded { ready, total, late },
        }
    }

    /// An Event when another deployment is live.
    pub(super) fn announce(&self, key: &StageKey, old: Option<&Index>, new: Option<&Index>) {
        let (Some(number), object) = (new.and_then(|new| new.deployment), ObjectKey::new(&*key.namespace, &*key.name))
        else {
            return;
        };
        let before = old.and_then(|old| old.deployment);
        if before == Some(number) {
            return;
        }
        let uid = self.state.world.stages.get(&object).and_then(|stage| stage.metadata.uid.clone()).unwrap_or_default();
        let stage = self.state.world.stages.get(&object);
        let canary = stage.and_then(|stage| stage.spec.canary.as_ref()).map(|canary| canary.deployment);
        let reason = match new.and_then(|new| new.pin.as_ref()) {
            Some(_) => "RolledBack",
            None if canary == Some(number) && before.is_some() => "Promoted",
            None => "Deployed",
        };
        let from = before.map(|before| format!(", before it {before}")).unwrap_or_default();
        tracing::info!(stage = %key, number, reason, "a deployment is live");
        self.event("Stage", object, uid, reason, format!("deployment {number} is live{from}"), false);
    }
}

/// What becomes an Event.
struct News {
    reason: String,
    note: String,
    warning: bool,
}

fn news(before: &[Condition], after: &[Condition]) -> Vec<News> {
    let news = |condition: &Condition| News {
        reason: condition.reason.clone(),
        note: match condition.message.is_empty() {
            true => format!("{} is {}", condition.type_, condition.status),
            false => condition.message.clone(),
        },
        warning: condition.status == "False" && condition.reason != "Waiting",
    };
    transitions(before, after).into_iter().map(news).collect()
}

/// The two differ in what proxies say and in nothing else.
fn only_proxies(old: &StageStatus, new: &StageStatus) -> bool {
    let rest = |status: &StageStatus| {
        let mut status = status.clone();
        status.proxies = None;
        status.conditions.retain(|condition| condition.type_ != "Programmed");
        status
    };
    rest(old) == rest(new)
}

fn about(subject: Subjected, metadata: &ObjectMeta) -> About {
    About { subject, metadata: Identity { uid: metadata.uid.clone(), version: metadata.resource_version.clone() } }
}
