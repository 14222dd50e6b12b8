//! Conditions: what is said of every object, written only when it differs.

use std::collections::BTreeMap;

use bundle::Digest;
use compile::deploy::ProblemKind;
use compile::{Contract, Finding, Reason, Severity, check_api};
use crds::stage::{Deployment, Proxies, StageStatus};
use crds::usage_plan::UsagePlanStatus;
use crds::{ApiDefinition, ApiDefinitionStatus, Stage, UsagePlan};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::collect::Unreadable;
use crate::config::GatewayConfig;
use crate::history::Deployments;
use crate::program::Program;

/// Longest message of a condition: the API server's own bound.
const MAX_MESSAGE: usize = 32 << 10;

/// Why a Stage is not as it shall be.
#[derive(Clone, Debug)]
pub enum Failure {
    /// It is tried again.
    Retried(String),
    /// The snapshot of this deployment, which it serves, is gone.
    SnapshotMissing(u64),
}

/// What is known about a Stage.
pub struct StageFacts<'a> {
    /// The object.
    pub stage: &'a Stage,
    /// What it serves; `None` while that is unknown.
    pub program: Option<&'a Program>,
    /// Its gateway, if that is configured.
    pub gateway: Option<&'a GatewayConfig>,
    /// The ApiDefinition is there.
    pub api: bool,
    /// Deployments of its API.
    pub deployments: &'a Deployments,
    /// What crosses Stages and concerns this one.
    pub linked: Vec<&'a Finding>,
    /// Number that is in its bundle.
    pub live: Option<u64>,
    /// The ApiDefinition that its bundle is of, if that is no longer its own.
    pub former: Option<&'a str>,
    /// Value of `stagegate.dev/deploy` that was acted upon last.
    pub handled_deploy: Option<&'a str>,
    /// Ready pods of its gateway, by name, and whether they serve this very bundle with its hosts.
    pub proxies: BTreeMap<&'a str, bool>,
    /// It is served by a sidecar, out of the operator's reach.
    pub sidecar: bool,
    /// Why its bundle could not be written.
    pub undelivered: Option<&'a str>,
    /// Why it is not as it shall be.
    pub failing: Option<&'a Failure>,
}

/// What a condition says.
struct Said {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

/// The status of a Stage.
pub fn stage(facts: &StageFacts<'_>, now: Timestamp) -> StageStatus {
    let before = facts.stage.status.clone().unwrap_or_default();
    let generation = facts.stage.metadata.generation;
    let said = [accepted(facts), resolved(facts), programmed(facts)];
    let conditions = conditions(&before.conditions, said, generation, now);
    let decision = facts.program.map(|program| &program.decision);
    let proxies = (!facts.sidecar && facts.gateway.is_some()).then(|| Proxies {
        ready: count(facts.proxies.values().filter(|serves| **serves).count()),
        total: count(facts.proxies.len()),
    });
    StageStatus {
        conditions,
        observed_generation: generation,
        // What was live is remembered while its bundle is not there.
        deployment: facts.live.or(before.deployment.filter(|_| facts.former.is_none())),
        pinned: Some(decision.is_some_and(|decision| decision.pin.is_some())),
        url: url(facts),
        history: facts
            .deployments
            .iter()
            .rev()
            .map(|(number, meta)| Deployment {
                number: *number,
                digest: meta.digest.as_str().to_owned(),
                created: meta.created.clone(),
                description: meta.description.clone(),
                by: meta.by.clone(),
            })
            .collect(),
        proxies,
        handled_deploy: facts.handled_deploy.map(str::to_owned).or(before.handled_deploy),
    }
}

/// The status of an ApiDefinition.
pub fn api_definition(
    api: &ApiDefinition,
    contract: &Contract,
    deployments: &Deployments,
    now: Timestamp,
) -> ApiDefinitionStatus {
    let before = api.status.clone().unwrap_or_default();
    let findings = check_api(contract);
    let said = of_findings(findings.iter());
    ApiDefinitionStatus {
        conditions: conditions(&before.conditions, [said], api.metadata.generation, now),
        observed_generation: api.metadata.generation,
        routes: Some(count(contract.routes())),
        digest: Some(contract.digest.as_str().to_owned()),
        latest_deployment: deployments.keys().next_back().copied(),
    }
}

/// The status of a UsagePlan.
pub fn usage_plan<'a>(
    plan: &UsagePlan,
    findings: impl Iterator<Item = &'a Finding>,
    keys: u64,
    now: Timestamp,
) -> UsagePlanStatus {
    let before = plan.status.clone().unwrap_or_default();
    let (secrets, own): (Vec<&Finding>, Vec<&Finding>) = findings.partition(|finding| finding.object.kind == "Secret");
    let said = [of_findings(own.into_iter()), resolved_keys(&secrets)];
    let conditions = conditions(&before.conditions, said, plan.metadata.generation, now);
    UsagePlanStatus { conditions, keys: Some(keys), ..before }
}

/// Conditions of an object that cannot be read; `None` when it says so already.
pub fn unreadable(object: &Unreadable, now: Timestamp) -> Option<Vec<Condition>> {
    let message =
        format!("this version of the operator cannot read it, and what it was before goes on: {}", object.error);
    let said = Said { kind: "Accepted", status: "False", reason: "Unreadable".to_owned(), message };
    let accepted = conditions(&object.conditions, [said], object.metadata.generation, now);
    if accepted.iter().all(|condition| object.conditions.contains(condition)) {
        return None;
    }
    let others = object.conditions.iter().filter(|condition| condition.type_ != "Accepted").cloned();
    Some(accepted.into_iter().chain(others).collect())
}

/// `ResolvedRefs` of a plan: whether all keys that it selects can be used.
fn resolved_keys(found: &[&Finding]) -> Said {
    let message = lines(found.iter().copied());
    let said =
        |status, reason: &str, message| Said { kind: "ResolvedRefs", status, reason: reason.to_owned(), message };
    match found.iter().find(|finding| finding.severity == Severity::Error) {
        Some(first) => said("False", first.reason.as_str(), message),
        None if message.is_empty() => said("True", "ResolvedRefs", "every key that is selected can be used".to_owned()),
        None => said("True", "ResolvedRefs", message),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn url(facts: &StageFacts<'_>) -> Option<String> {
    let unit = facts.program?.served.as_ref().filter(|unit| unit.default_host)?;
    let (api, domain) = (&unit.api, &facts.gateway?.base_domain);
    Some(format!("https://{}.{}.{domain}/{}", api.name, api.namespace, unit.stage_name))
}

fn accepted(facts: &StageFacts<'_>) -> Said {
    let refused =
        |reason: &str, message: String| Said { kind: "Accepted", status: "False", reason: reason.to_owned(), message };
    let name = facts.stage.spec.gateway.as_deref().unwrap_or("default");
    if facts.gateway.is_none() {
        return refused("UnknownGateway", format!("no gateway is called `{name}`"));
    }
    let problem = facts.program.and_then(|program| program.decision.problems.first());
    if let Some(problem) = problem {
        let reason = match problem.kind {
            ProblemKind::UnknownDeployment => "UnknownDeployment",
            ProblemKind::Contradiction => "Contradiction",
            ProblemKind::NothingToDeploy => "NothingToDeploy",
        };
        return refused(reason, problem.to_string());
    }
    if !facts.api {
        let text = format!(
            "there is no ApiDefinition `{}`; what was deployed of it goes on being served",
            facts.stage.spec.api_ref.name
        );
        return refused("ApiNotFound", text);
    }
    let own = facts.program.into_iter().flat_map(|program| &program.unit.findings);
    let own = own.filter(|finding| finding.object.kind == "Stage" && !is_reference(finding.reason));
    let mut said = of_findings(own.chain(facts.linked.iter().copied()));
    let conflict = |finding: &&Finding| {
        matches!(finding.reason, Reason::HostConflict | Reason::HostDisagreement | Reason::DuplicateStageName)
    };
    if said.status == "False" && facts.linked.iter().copied().any(|finding| conflict(&finding)) {
        said.reason = "Conflicted".to_owned();
    }
    said
}

/// Whether a finding is about something that the object refers to.
fn is_reference(reason: Reason) -> bool {
    matches!(reason, Reason::SecretNotFound | Reason::InvalidSecret | Reason::RefNotPermitted)
}

fn resolved(facts: &StageFacts<'_>) -> Said {
    let own = facts.program.into_iter().flat_map(|program| &program.unit.findings);
    let found: Vec<&Finding> = own.filter(|finding| is_reference(finding.reason)).collect();
    match found.first() {
        None => Said {
            kind: "ResolvedRefs",
            status: "True",
            reason: "ResolvedRefs".to_owned(),
            message: "everything that is referred to is there".to_owned(),
        },
        Some(first) => Said {
            kind: "ResolvedRefs",
            status: "False",
            reason: first.reason.as_str().to_owned(),
            message: lines(found.iter().copied()),
        },
    }
}

fn programmed(facts: &StageFacts<'_>) -> Said {
    let said =
        |status, reason: &str, message: String| Said { kind: "Programmed", status, reason: reason.to_owned(), message };
    if facts.gateway.is_none() {
        return said("False", "UnknownGateway", "no proxies serve it".to_owned());
    }
    let Some(live) = facts.live else {
        match facts.failing {
            Some(Failure::Retried(error)) => {
                return said(
                    "False",
                    "NotDeployed",
                    format!("nothing is deployed yet, and it is tried again: {error}"),
                );
            }
            Some(Failure::SnapshotMissing(number)) => {
                let text =
                    format!("the snapshot of deployment {number} is gone, and no bundle of it is left: deploy again");
                return said("False", "SnapshotMissing", text);
            }
            None => {}
        }
        if let Some(former) = facts.former {
            let text = format!("what is deployed of the ApiDefinition `{former}` goes on until this one is deployed");
            return said("False", "NotDeployed", text);
        }
        let text =
            "nothing is deployed yet: the ApiDefinition has errors, or `deployPolicy` is Manual and nobody deployed";
        return said("False", "NotDeployed", text.to_owned());
    };
    if let Some(error) = facts.undelivered {
        return said("False", "NotDelivered", format!("the bundle cannot be written: {error}"));
    }
    match facts.failing {
        Some(Failure::Retried(error)) => {
            let text = format!("deployment {live} goes on as it was, and it is tried again: {error}");
            return said("False", "Retrying", text);
        }
        Some(Failure::SnapshotMissing(number)) => {
            let text = format!(
                "deployment {live} is served as it was, whatever changes: the snapshot of deployment {number} is gone; deploy again"
            );
            return said("False", "SnapshotMissing", text);
        }
        None => {}
    }
    // An error in what is wanted: what is served is older.
    if let Some(program) = facts.program.filter(|program| !program.unit.compiled) {
        let errors = program.unit.findings.iter().filter(|finding| finding.severity == Severity::Error);
        return said(
            "False",
            "Refused",
            format!("deployment {live} goes on as it was; the Stage as it is now has errors:\n{}", lines(errors)),
        );
    }
    if facts.sidecar {
        return said(
            "Unknown",
            "NotObserved",
            format!("deployment {live} is in the Secret of its sidecars{}", waits(facts)),
        );
    }
    let total = facts.proxies.len();
    let missing: Vec<&str> = facts.proxies.iter().filter(|(_, serves)| !**serves).map(|(pod, _)| *pod).collect();
    if total == 0 {
        return said("False", "NoProxies", "the gateway has no ready proxy".to_owned());
    }
    if missing.is_empty() {
        return said("True", "Programmed", format!("deployment {live} is served by every proxy{}", waits(facts)));
    }
    let text = format!(
        "deployment {live} is served by {} of {total} proxies; waiting for {}",
        total - missing.len(),
        missing.join(", ")
    );
    said("False", "Waiting", text)
}

/// What of a newer deployment that waits.
fn waits(facts: &StageFacts<'_>) -> String {
    let waiting = facts.program.map(|program| &program.decision).filter(|decision| decision.waiting);
    let Some((decision, newest)) = waiting.zip(facts.deployments.keys().next_back()) else { return String::new() };
    let until = if decision.pin.is_some() {
        "the stage is pinned"
    } else if facts.stage.spec.canary.is_some() {
        "the stage has a canary"
    } else {
        "`deployPolicy` is Manual"
    };
    format!("; deployment {newest} waits: {until}")
}

/// `Accepted` by what the compiler found.
fn of_findings<'a>(findings: impl Iterator<Item = &'a Finding> + Clone) -> Said {
    let errors = || findings.clone().filter(|finding| finding.severity == Severity::Error);
    if errors().next().is_some() {
        return Said { kind: "Accepted", status: "False", reason: "Invalid".to_owned(), message: lines(errors()) };
    }
    let warnings = lines(findings.clone());
    let message =
        if warnings.is_empty() { "no errors".to_owned() } else { format!("no errors; warnings:\n{warnings}") };
    Said { kind: "Accepted", status: "True", reason: "Accepted".to_owned(), message }
}

/// Findings, a line each: place, reason, sentence, advice.
fn lines<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let mut lines: Vec<String> = findings
        .map(|finding| {
            let help = finding.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{}: {}: {}{help}", finding.object_pointer(), finding.reason, finding.message)
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

fn conditions<const N: usize>(
    before: &[Condition],
    said: [Said; N],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |Said { kind, status, reason, message }: Said| {
        let known = before.iter().find(|known| known.type_ == kind && known.status == status);
        // Whole seconds, as the API server keeps them: else what is read back would differ.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason,
            message: cut(message),
            observed_generation: generation,
            last_transition_time: known.map_or(Time(now), |known| known.last_transition_time.clone()),
        }
    };
    said.into_iter().map(condition).collect()
}

fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE - 4).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

/// Whether a proxy serves a Stage's bundle with its hosts.
pub fn serves(
    loaded: &crate::acknowledge::Loaded,
    stage: (&bundle::StageKey, &Digest),
    hosts: &[(String, Digest)],
) -> bool {
    loaded.stages.get(stage.0) == Some(stage.1)
        && hosts.iter().all(|(host, digest)| loaded.hosts.get(host) == Some(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: &'static str) -> Said {
        Said { kind: "Programmed", status, reason: "R".to_owned(), message: "m".to_owned() }
    }

    #[test]
    fn the_time_of_a_transition_stays_while_the_status_does() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = conditions(&[], [said("False")], Some(1), at(10));
        let same = conditions(&first, [said("False")], Some(2), at(20));
        assert_eq!(same[0].last_transition_time, Time(at(10)));
        assert_eq!(same[0].observed_generation, Some(2));
        let other = conditions(&first, [said("True")], Some(2), at(30));
        assert_eq!(other[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn a_message_is_cut_where_the_api_server_would_refuse_it() {
        let long = cut("ä".repeat(MAX_MESSAGE));
        assert!(long.len() <= MAX_MESSAGE && long.ends_with('…'));
        assert_eq!(cut("short".to_owned()), "short");
    }
}
