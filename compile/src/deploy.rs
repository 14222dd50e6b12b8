//! Which deployment every Stage of an API serves, and when one is taken: pure, so that the operator and
//! `stagegate dev` decide alike.

mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bundle::{Digest, StageKey};
use crds::annotation;
use crds::stage::DeployPolicy;

pub use snapshot::{Snapshot, SnapshotError};

/// Deployments kept of an API unless a Stage says otherwise.
pub const HISTORY_LIMIT: u32 = 50;

/// What is known of one API.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// Its contract as it is now; `None`: there is no ApiDefinition.
    pub contract: Option<Candidate<'a>>,
    /// The deployments there are. One that cannot be read has a digest that equals no other.
    pub deployments: &'a BTreeMap<u64, Digest>,
    /// Its Stages.
    pub stages: Vec<StageView<'a>>,
}

/// A contract that may become a deployment.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Names its content.
    pub digest: &'a Digest,
    /// For people.
    pub description: Option<&'a str>,
    /// It compiles without an error.
    pub sound: bool,
}

/// What of a Stage decides about deployments.
#[derive(Clone, Debug)]
pub struct StageView<'a> {
    /// The Stage.
    pub key: &'a StageKey,
    /// `spec.deployPolicy`.
    pub policy: DeployPolicy,
    /// `spec.historyLimit`.
    pub history_limit: Option<u32>,
    /// `spec.canary.deployment`.
    pub canary: Option<u64>,
    /// The annotation `stagegate.dev/rollback-to`.
    pub rollback_to: Option<&'a str>,
    /// The annotation `stagegate.dev/deploy`.
    pub deploy: Option<&'a str>,
    /// The annotation `stagegate.dev/promote-canary`.
    pub promote_canary: Option<&'a str>,
    /// Number that is live now.
    pub live: Option<u64>,
    /// What `rollback_to` was when `live` was chosen.
    pub pin: Option<&'a str>,
    /// The value of `deploy` that was acted upon last.
    pub handled_deploy: Option<&'a str>,
}

/// What shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The deployment to take of the contract, before anything else. If somebody else has taken the number, decide
    /// anew with what he took.
    pub take: Option<Take>,
    /// One per Stage, in the order given.
    pub stages: Vec<StageDecision>,
    /// Numbers beyond the history limit that nobody needs.
    pub sweep: BTreeSet<u64>,
}

/// A deployment to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// Its number.
    pub number: u64,
    /// For people.
    pub description: Option<String>,
}

/// What one Stage shall serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageDecision {
    /// The Stage.
    pub key: StageKey,
    /// Number; `None`: there is nothing to serve yet.
    pub live: Option<u64>,
    /// Number that gets the canary's share; `None` without a canary, and when it was promoted.
    pub canary: Option<u64>,
    /// The canary was promoted: the base has its variables.
    pub promoted: bool,
    /// What to remember as [`StageView::pin`].
    pub pin: Option<String>,
    /// What to remember as [`StageView::handled_deploy`].
    pub handled_deploy: Option<String>,
    /// A newer deployment waits until a pin or a canary is gone, or until it is deployed by hand.
    pub waiting: bool,
    /// What was asked for and cannot be done; it changes nothing.
    pub problems: Vec<Problem>,
}

/// Something that was asked for and cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer into the Stage.
    pub pointer: String,
    /// Which kind.
    pub kind: ProblemKind,
    /// One sentence.
    pub message: String,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// A number that there is not, or no longer.
    UnknownDeployment,
    /// The annotations contradict each other or the spec.
    Contradiction,
    /// A deployment was asked for while the ApiDefinition has errors or is gone.
    NothingToDeploy,
}

impl Problem {
    fn new(kind: ProblemKind, pointer: String, message: String) -> Self {
        Self { pointer, kind, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

/// Decides.
pub fn decide(situation: &Situation<'_>) -> Decision {
    let Situation { contract, deployments, stages } = situation;
    let take = contract.filter(|contract| contract.sound).and_then(|contract| take(contract, deployments, stages));
    let mut numbers: BTreeSet<u64> = deployments.keys().copied().collect();
    numbers.extend(take.as_ref().map(|take| take.number));
    let known = Known { numbers, sound: contract.is_some_and(|contract| contract.sound) };
    let decided: Vec<StageDecision> = stages.iter().map(|stage| known.stage(stage)).collect();
    let sweep = sweep(&known.numbers, stages, &decided);
    Decision { take, stages: decided, sweep }
}

/// The deployment to take, if somebody wants it and it is another one than the newest.
fn take(contract: Candidate<'_>, deployments: &BTreeMap<u64, Digest>, stages: &[StageView<'_>]) -> Option<Take> {
    let newest = deployments.last_key_value();
    if newest.is_some_and(|(_, digest)| digest == contract.digest) {
        return None;
    }
    let by_hand = stages.iter().find_map(|stage| match stage.policy {
        DeployPolicy::Automatic => None,
        DeployPolicy::Manual => unhandled(stage).filter(|_| held(stage).is_none()),
    });
    // A pin or a canary keeps newer deployments waiting; they are taken all the same.
    let automatic = stages.iter().any(|stage| stage.policy == DeployPolicy::Automatic);
    if by_hand.is_none() && !automatic {
        return None;
    }
    let description = by_hand.map(said).filter(|text| !text.is_empty()).or(contract.description);
    Some(Take { number: newest.map_or(0, |(number, _)| *number) + 1, description: description.map(str::to_owned) })
}

/// A deployment by hand that has not been acted upon.
fn unhandled<'a>(stage: &StageView<'a>) -> Option<&'a str> {
    stage.deploy.filter(|wish| stage.handled_deploy != Some(wish))
}

/// What keeps a Stage from being deployed by hand, and what is to be done about it.
fn held(stage: &StageView<'_>) -> Option<String> {
    if stage.policy == DeployPolicy::Automatic {
        // It goes to the newest of its own accord.
        return None;
    }
    if stage.rollback_to.is_some() {
        return Some(format!("the stage is pinned: remove `{}` first", annotation::ROLLBACK_TO));
    }
    // The first deployment is there before any canary is.
    (stage.canary.is_some() && stage.live.is_some())
        .then(|| "the stage has a canary: promote it or remove `spec.canary` first".to_owned())
}

/// What a person said of a deployment by hand: without the time that makes each value another one, `text @2026-…`.
fn said(wish: &str) -> &str {
    match wish.rsplit_once('@') {
        Some((text, time)) if time.starts_with(|c: char| c.is_ascii_digit()) => text.trim(),
        _ => wish.trim(),
    }
}

struct Known {
    numbers: BTreeSet<u64>,
    /// The contract compiles.
    sound: bool,
}

impl Known {
    fn stage(&self, stage: &StageView<'_>) -> StageDecision {
        let mut problems = Vec::new();
        let newest = self.numbers.last().copied();
        let mut handled_deploy = stage.handled_deploy.map(str::to_owned);
        let mut by_hand = unhandled(stage);
        if let Some(wish) = by_hand {
            let refused = match held(stage) {
                // The word is kept, and acted upon when nothing holds the Stage any more.
                Some(text) => Some((ProblemKind::Contradiction, text)),
                None if self.sound => None,
                None => {
                    let text = "there is nothing to deploy: the ApiDefinition is missing or has errors";
                    Some((ProblemKind::NothingToDeploy, text.to_owned()))
                }
            };
            match refused {
                Some((kind, text)) => {
                    problems.push(Problem::new(kind, pointer(annotation::DEPLOY), text));
                    by_hand = None;
                }
                None => handled_deploy = Some(wish.to_owned()),
            }
        }
        // Where the Stage would be if nothing held it.
        let free = match stage.policy {
            // Snapshots that somebody deleted end nothing that is served.
            DeployPolicy::Automatic => newest.or(stage.live),
            DeployPolicy::Manual if by_hand.is_some() => newest,
            DeployPolicy::Manual => stage.live,
        };
        let canary = stage.canary.filter(|number| {
            let known = self.numbers.contains(number);
            if !known {
                problems.push(self.unknown("/spec/canary/deployment".to_owned(), &number.to_string()));
            }
            known
        });
        let (pinned, pin) = self.pin(stage, &mut problems);
        let promoted = self.promoted(stage, canary, pinned.is_some(), &mut problems);
        let live = match (pinned, stage.canary) {
            (Some(number), _) => Some(number),
            (None, Some(_)) if promoted => canary,
            // The base keeps its deployment while there is a canary.
            (None, Some(_)) => stage.live.or(free),
            (None, None) => free,
        };
        let waiting = live.is_some() && live < newest && canary != newest;
        StageDecision {
            key: stage.key.clone(),
            live,
            canary: canary.filter(|_| !promoted),
            promoted,
            pin,
            handled_deploy,
            waiting,
            problems,
        }
    }

    /// The number that an annotation pins the Stage to, and what to remember of it. A pin that leads nowhere keeps
    /// the Stage where it is.
    fn pin(&self, stage: &StageView<'_>, problems: &mut Vec<Problem>) -> (Option<u64>, Option<String>) {
        let Some(wish) = stage.rollback_to.map(str::trim) else { return (None, None) };
        let found = match wish {
            // Resolved once: newer deployments do not move it.
            "previous" if stage.pin == Some(wish) && stage.live.is_some() => stage.live,
            "previous" => {
                // Who goes to the newest of its own accord would be there; anything else nobody chose.
                let newest = self.numbers.last().copied().filter(|_| stage.policy == DeployPolicy::Automatic);
                let live = stage.live.or(newest);
                live.and_then(|live| self.numbers.range(..live).next_back().copied())
            }
            number => number.parse().ok().filter(|number| self.numbers.contains(number)),
        };
        if found.is_some() {
            return (found, Some(wish.to_owned()));
        }
        problems.push(self.unknown(pointer(annotation::ROLLBACK_TO), wish));
        (stage.live, stage.pin.map(str::to_owned))
    }

    fn promoted(&self, stage: &StageView<'_>, canary: Option<u64>, pinned: bool, problems: &mut Vec<Problem>) -> bool {
        // Without a canary it is what is left of an earlier promotion.
        let (Some(wish), Some(canary)) = (stage.promote_canary.map(str::trim), canary) else { return false };
        let mut contradiction = |text: String| {
            let at = pointer(annotation::PROMOTE_CANARY);
            problems.push(Problem::new(ProblemKind::Contradiction, at, text));
            false
        };
        if wish.parse() != Ok(canary) {
            return contradiction(format!("`{wish}` is not the canary, which is deployment {canary}"));
        }
        if pinned {
            return contradiction(format!("the stage is pinned: remove `{}` first", annotation::ROLLBACK_TO));
        }
        true
    }

    fn unknown(&self, pointer: String, wish: &str) -> Problem {
        let known = match (self.numbers.first(), self.numbers.last()) {
            (Some(first), Some(last)) if last - first + 1 == self.numbers.len() as u64 && first != last => {
                format!("; there are {first} to {last}")
            }
            (None, _) | (_, None) => ": there is none yet".to_owned(),
            _ => {
                let numbers: Vec<_> = self.numbers.iter().map(u64::to_string).collect();
                format!("; known: {}", numbers.join(", "))
            }
        };
        let text = if wish == "previous" {
            format!("there is no deployment before the live one{known}")
        } else if wish.parse::<u64>().is_ok() {
            format!("there is no deployment {wish}{known}")
        } else {
            format!("`{wish}` is neither a deployment's number nor `previous`{known}")
        };
        Problem::new(ProblemKind::UnknownDeployment, pointer, text)
    }
}

/// The oldest beyond the largest history limit, except those in use.
fn sweep(numbers: &BTreeSet<u64>, stages: &[StageView<'_>], decided: &[StageDecision]) -> BTreeSet<u64> {
    let limit = stages.iter().map(|stage| stage.history_limit.unwrap_or(HISTORY_LIMIT)).max();
    let limit = usize::try_from(limit.unwrap_or(HISTORY_LIMIT)).unwrap_or(usize::MAX).max(1);
    let used_now = stages.iter().flat_map(|stage| [stage.live, stage.canary]);
    let used_then = decided.iter().flat_map(|stage| [stage.live, stage.canary]);
    let in_use: BTreeSet<u64> = used_now.chain(used_then).flatten().collect();
    let spare = numbers.len().saturating_sub(limit);
    numbers.iter().copied().take(spare).filter(|number| !in_use.contains(number)).collect()
}

/// Where an annotation stands.
pub fn pointer(annotation: &str) -> String {
    format!("/metadata/annotations/{}", annotation.replace('/', "~1"))
}

#[cfg(test)]
mod tests;
