//! Deployments in `dev`: the operator's decisions, on files.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bundle::{Digest, StageKey};
use compile::deploy::{Candidate, Decision, ProblemKind, Situation, StageDecision, StageView, decide};
use compile::{CanaryInputs, Contract, ObjectKey, StageInputs, Unit, World};
use crds::annotation;
use crds::stage::DeployPolicy;
use time::OffsetDateTime;

use super::reload::{Compiled, Reloader, of_stage};
use crate::collect::Places;
use crate::deployments::Record;
use crate::print::{Diagnostic, Level};

/// Numbers tried when other processes take them at the same time.
const ATTEMPTS: usize = 100;

/// What one reload goes by, and what it finds.
pub(super) struct Round<'a> {
    pub(super) world: &'a World,
    pub(super) places: &'a Places,
    pub(super) diagnostics: &'a mut Vec<Diagnostic>,
}

impl Reloader {
    /// What the Stages of an API serve; takes and forgets deployments. `None` when nothing can be kept.
    pub(super) fn decide(
        &mut self,
        contract: &Contract,
        stages: &[StageInputs],
        round: &mut Round<'_>,
    ) -> Option<(Decision, Vec<Record>)> {
        let records: Vec<Record> = stages.iter().map(|inputs| self.deployments.record(&inputs.key)).collect();
        let mut taken = BTreeMap::new();
        let mut decision = Decision::default();
        for _ in 0..ATTEMPTS {
            let known = self.deployments.known(&contract.api).unwrap_or_else(|error| {
                round.diagnostics.push(unkept(&contract.api, &error.to_string()));
                BTreeMap::new()
            });
            let views = stages.iter().zip(&records).map(|(inputs, record)| view(inputs, record, round.world));
            decision = decide(&Situation {
                contract: Some(Candidate {
                    digest: &contract.digest,
                    description: contract.description.as_deref(),
                    sound: contract.is_sound(),
                }),
                deployments: &known,
                stages: views.collect(),
            });
            taken = known;
            let Some(take) = &decision.take else { break };
            match self.deployments.take(contract, take, &rfc3339(OffsetDateTime::now_utc())) {
                // Another process has taken the number: what it holds decides what ours is.
                Ok(false) => {}
                Ok(true) => break,
                Err(error) => {
                    // It is served all the same; only no way leads back to it.
                    round.diagnostics.push(unkept(&contract.api, &error.to_string()));
                    break;
                }
            }
        }
        for number in decision.sweep.iter().filter(|number| taken.contains_key(number)) {
            if let Err(error) = self.deployments.remove(&contract.api, *number) {
                round.diagnostics.push(unkept(&contract.api, &error.to_string()));
            }
        }
        Some((decision, records))
    }

    /// One Stage: the compiler, unless it has seen the very same.
    #[expect(clippy::too_many_arguments, reason = "what is carried over from one reload to the next, and this one's")]
    pub(super) fn stage(
        &mut self,
        mut inputs: StageInputs,
        decided: StageDecision,
        before: Record,
        current: &Arc<Contract>,
        memo: &mut HashMap<Digest, Arc<Unit>>,
        kept: &mut HashMap<(ObjectKey, u64), Arc<Contract>>,
        round: &mut Round<'_>,
    ) -> Compiled {
        let StageDecision { key, live, canary, promoted, pin, handled_deploy, waiting: _, problems } = decided;
        for problem in problems {
            let reason = match problem.kind {
                ProblemKind::UnknownDeployment => "UnknownDeployment",
                ProblemKind::Contradiction => "Contradiction",
                ProblemKind::NothingToDeploy => "NothingToDeploy",
            };
            let place = round.places.of_stage(&key, &problem.pointer);
            let diagnostic = of_stage(&key, Level::Error, reason, problem.message);
            round.diagnostics.push(Diagnostic { place, ..diagnostic });
        }
        let mut find = |number: u64| self.contract(current, number, kept);
        let mut other = None;
        let mut served = live.is_some();
        match live.map(|number| (number, find(number))) {
            Some((number, Ok(contract))) => {
                other = (!Arc::ptr_eq(&contract, current)).then_some(number);
                (inputs.deployment, inputs.contract) = (number, contract);
            }
            Some((number, Err(message))) => {
                round.diagnostics.push(of_stage(&key, Level::Error, "UnreadableDeployment", message));
                inputs.deployment = number;
            }
            None => {
                // Nothing was ever deployed. What compiles in part is served in part, for want of better; what waits
                // for a word is not.
                served = !current.is_sound();
                let place = round.places.of_stage(&key, "/spec/deployPolicy");
                let message = format!("nothing is deployed yet: set the annotation `{}`", annotation::DEPLOY);
                if !served {
                    let diagnostic = of_stage(&key, Level::Warning, "NotDeployed", message);
                    round.diagnostics.push(Diagnostic { place, ..diagnostic });
                }
            }
        }
        inputs.canary = match canary.map(|number| (number, find(number))) {
            Some((deployment, Ok(contract))) => CanaryInputs::Share { deployment, contract },
            Some((_, Err(message))) => {
                round.diagnostics.push(of_stage(&key, Level::Error, "UnreadableDeployment", message));
                CanaryInputs::None
            }
            None if promoted => CanaryInputs::Promoted,
            None => CanaryInputs::None,
        };
        let digest = inputs.digest();
        let known = memo.get(&digest).or_else(|| self.units.get(&digest)).cloned();
        let unit = known.unwrap_or_else(|| Arc::new(compile::compile_stage(&inputs)));
        memo.insert(digest, Arc::clone(&unit));
        // What does not compile is not served, so it is not what was live, and what was asked for is not done.
        let record = match unit.compiled {
            true => Record { live, api: Some(current.api.name.clone()), pin, handled_deploy },
            false => before.clone(),
        };
        if record != before
            && let Err(error) = self.deployments.set_record(&key, &record)
        {
            round.diagnostics.push(unkept(&current.api, &error.to_string()));
        }
        Compiled { unit, other, live: served }
    }

    /// The contract of a deployment: the one in the files if that is it.
    fn contract(
        &self,
        current: &Arc<Contract>,
        number: u64,
        kept: &mut HashMap<(ObjectKey, u64), Arc<Contract>>,
    ) -> Result<Arc<Contract>, String> {
        let key = (current.api.clone(), number);
        if let Some(contract) = kept.get(&key).or_else(|| self.kept.get(&key)) {
            let contract = Arc::clone(contract);
            kept.insert(key, Arc::clone(&contract));
            return Ok(contract);
        }
        let contract = match self.deployments.contract(&current.api, number) {
            Ok(contract) => contract,
            // It could not be kept: it is what is in the files.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Arc::clone(current)),
            Err(error) => return Err(format!("deployment {number} of {} cannot be read: {error}", current.api)),
        };
        if contract.digest == current.digest {
            return Ok(Arc::clone(current));
        }
        kept.insert(key, Arc::clone(&contract));
        Ok(contract)
    }
}

fn view<'a>(inputs: &'a StageInputs, record: &'a Record, world: &'a World) -> StageView<'a> {
    let StageKey { namespace, name } = &inputs.key;
    let stage = world.stages.get(&ObjectKey::new(namespace.clone(), name.clone()));
    let annotation =
        |name: &str| stage.and_then(|stage| stage.metadata.annotations.as_ref()?.get(name)).map(String::as_str);
    // The number of another API's deployment is none of this one's.
    let own = record.api.as_ref().is_none_or(|api| *api == inputs.spec.api_ref.name);
    StageView {
        key: &inputs.key,
        policy: inputs.spec.deploy_policy.unwrap_or(DeployPolicy::Automatic),
        history_limit: inputs.spec.history_limit,
        canary: inputs.spec.canary.as_ref().map(|canary| canary.deployment),
        rollback_to: annotation(annotation::ROLLBACK_TO),
        deploy: annotation(annotation::DEPLOY),
        promote_canary: annotation(annotation::PROMOTE_CANARY),
        live: record.live.filter(|_| own),
        pin: record.pin.as_deref().filter(|_| own),
        handled_deploy: record.handled_deploy.as_deref(),
    }
}

fn unkept(api: &ObjectKey, error: &str) -> Diagnostic {
    Diagnostic {
        place: None,
        level: Level::Warning,
        reason: "DeploymentNotKept".to_owned(),
        message: format!("the deployment cannot be kept under --state: {error}"),
        object: Some(format!("ApiDefinition {api}")),
        pointer: None,
        help: None,
    }
}

/// `2026-01-31T12:00:00Z`.
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_as_kubernetes_writes_it() {
        let time = OffsetDateTime::from_unix_timestamp(1_767_225_599).unwrap();
        assert_eq!(rfc3339(time), "2025-12-31T23:59:59Z");
    }
}
