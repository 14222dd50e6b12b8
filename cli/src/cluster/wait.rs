//! Waiting until every proxy serves what was asked for.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::bail;
use crds::stage::{Proxies, StageStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::Found;

/// Between two looks at the status.
const EVERY: Duration = Duration::from_millis(200);
/// A refusal that stood before the order says nothing of it for so long: the operator looks at the order first.
const OLD: Duration = Duration::from_secs(5);

/// What the status shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// This value of `stagegate.dev/deploy` was acted upon.
    Handled(String),
    /// Pinned to this deployment.
    Pinned(u64),
    /// Not pinned.
    Unpinned,
    /// This deployment is live.
    Live(u64),
}

/// What is served in the end.
#[derive(Debug)]
pub(super) struct Served {
    deployment: Option<u64>,
    proxies: Option<Proxies>,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deployment {
            Some(number) => write!(f, "deployment {number}")?,
            None => f.write_str("nothing yet")?,
        }
        match self.proxies {
            Some(Proxies { ready, total }) => write!(f, ", served by {ready} of {total} proxies"),
            None => Ok(()),
        }
    }
}

/// What one look at the status tells.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Done,
    /// Not yet, and why.
    NotYet(String),
    /// It will not come to pass.
    Refused(String),
}

/// Waits until every proxy of the Stage's gateway serves it.
///
/// # Errors
/// When the operator refuses it, or the time is over: what it waited for is in the message.
pub(super) async fn wait(found: &Found, wish: &Wish, limit: Duration) -> anyhow::Result<Served> {
    let began = Instant::now();
    let before = found.stage.status.as_ref().and_then(accepted);
    loop {
        let stage = found.stages.get(&found.name).await?;
        let status = stage.status.unwrap_or_default();
        match look(&status, before.filter(|_| began.elapsed() < OLD), wish) {
            Look::Done => return Ok(Served { deployment: status.deployment, proxies: status.proxies }),
            Look::Refused(why) => bail!("{why}"),
            Look::NotYet(why) if began.elapsed() >= limit => {
                bail!("not served by every proxy after {} s: {why}", limit.as_secs())
            }
            Look::NotYet(_) => tokio::time::sleep(EVERY).await,
        }
    }
}

fn accepted(status: &StageStatus) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == "Accepted")
}

/// Looks. `before` is the condition `Accepted` as it was before the order.
fn look(status: &StageStatus, before: Option<&Condition>, wish: &Wish) -> Look {
    let condition = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    let told = |condition: &Condition| format!("{}: {}", condition.reason, condition.message);
    let met = match wish {
        Wish::Handled(value) => status.handled_deploy.as_deref() == Some(value),
        Wish::Pinned(number) => status.pinned == Some(true) && status.deployment == Some(*number),
        Wish::Unpinned => status.pinned != Some(true),
        Wish::Live(number) => status.deployment == Some(*number),
    };
    if !met {
        let refused = accepted(status).filter(|accepted| {
            Some(*accepted) != before
                && accepted.status == "False"
                && matches!(&*accepted.reason, "UnknownDeployment" | "NothingToDeploy" | "Contradiction")
        });
        return match refused {
            Some(refused) => Look::Refused(told(refused)),
            None => Look::NotYet("the operator has not acted upon it; is it running?".to_owned()),
        };
    }
    match condition("Programmed") {
        Some(programmed) if programmed.status == "True" => Look::Done,
        // Sidecars are out of the operator's reach.
        Some(programmed) if programmed.status == "Unknown" && programmed.reason == "NotObserved" => Look::Done,
        Some(programmed) => Look::NotYet(told(programmed)),
        None => Look::NotYet("the proxies have not been asked yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(deployment: u64, pinned: bool, conditions: &[(&str, &str, &str)]) -> StageStatus {
        let condition = |&(kind, status, reason): &(&str, &str, &str)| {
            json!({"type": kind, "status": status, "reason": reason, "message": "told",
                   "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let conditions: Vec<_> = conditions.iter().map(condition).collect();
        serde_json::from_value(json!({
            "deployment": deployment, "pinned": pinned, "handledDeploy": "x @1", "conditions": conditions,
        }))
        .unwrap()
    }

    #[test]
    fn waits_for_the_operator_and_then_for_the_proxies() {
        let done = status(6, true, &[("Programmed", "True", "Programmed")]);
        assert_eq!(look(&done, None, &Wish::Pinned(6)), Look::Done);
        assert_eq!(look(&done, None, &Wish::Handled("x @1".to_owned())), Look::Done);
        assert!(matches!(look(&done, None, &Wish::Handled("x @2".to_owned())), Look::NotYet(_)));
        assert!(matches!(look(&done, None, &Wish::Unpinned), Look::NotYet(_)));
        let waiting = status(6, true, &[("Programmed", "False", "Waiting")]);
        assert_eq!(look(&waiting, None, &Wish::Live(6)), Look::NotYet("Waiting: told".to_owned()));
        let sidecar = status(6, false, &[("Programmed", "Unknown", "NotObserved")]);
        assert_eq!(look(&sidecar, None, &Wish::Unpinned), Look::Done);
        let unknown =
            status(7, false, &[("Accepted", "False", "UnknownDeployment"), ("Programmed", "True", "Programmed")]);
        assert_eq!(look(&unknown, None, &Wish::Pinned(6)), Look::Refused("UnknownDeployment: told".to_owned()));
        // It was so before the order, and the operator has yet to look at that.
        assert!(matches!(look(&unknown, accepted(&unknown), &Wish::Pinned(6)), Look::NotYet(_)));
        let mut other = unknown.clone();
        other.conditions[0].message = "told anew".to_owned();
        assert!(matches!(look(&other, accepted(&unknown), &Wish::Pinned(6)), Look::Refused(_)));
    }
}
