//! Which deployment the Stages of an API serve: what decides about it, from what the cluster says.

use std::collections::BTreeMap;

use bundle::object::Index;
use bundle::{Digest, StageKey};
use compile::deploy::{Candidate, Decision, Situation, StageView, decide};
use compile::{Contract, ObjectKey};
use crds::annotation;
use crds::stage::{DeployPolicy, StageStatus};
use crds::{ApiDefinition, Stage};

use crate::history::Deployments;

/// A Stage and what is delivered of it.
pub struct Staged<'a> {
    /// Namespace and name.
    pub key: &'a StageKey,
    /// The object.
    pub stage: &'a Stage,
    /// What its index Secret says: the truth about what is live.
    pub index: Option<&'a Index>,
    /// The value of `stagegate.dev/deploy` that this operator acted upon last.
    pub handled_deploy: Option<&'a String>,
}

/// Decides for all Stages of one API.
pub fn decision(contract: Option<&Contract>, deployments: &Deployments, stages: &[Staged<'_>]) -> Decision {
    let digests: BTreeMap<u64, Digest> =
        deployments.iter().map(|(number, meta)| (*number, meta.digest.clone())).collect();
    decide(&Situation {
        contract: contract.map(|contract| Candidate {
            digest: &contract.digest,
            description: contract.description.as_deref(),
            sound: contract.is_sound(),
        }),
        deployments: &digests,
        stages: stages.iter().map(|staged| view(staged, deployments)).collect(),
    })
}

fn view<'a>(staged: &Staged<'a>, deployments: &Deployments) -> StageView<'a> {
    let Staged { key, stage, index, handled_deploy: own } = staged;
    let annotation = |name: &str| stage.metadata.annotations.as_ref().and_then(|all| all.get(name)).map(String::as_str);
    // What is delivered of another API says nothing of this one's deployments.
    let moved = index.is_some_and(|index| index.of_another(&stage.spec.api_ref.name).is_some());
    let reported = stage.status.as_ref().filter(|status| !moved && is_of(status, deployments));
    // Another leader's last word is in the index, with what it brought about; the status may not say so yet.
    let deploy = annotation(annotation::DEPLOY);
    let acted_upon = index.and_then(|index| index.handled_deploy.as_ref());
    let in_index = deploy.filter(|word| acted_upon.is_some_and(|digest| *digest == Digest::of(word.as_bytes())));
    let in_status = stage.status.as_ref().and_then(|status| status.handled_deploy.as_deref());
    let index = index.filter(|_| !moved);
    StageView {
        key,
        policy: stage.spec.deploy_policy.unwrap_or(DeployPolicy::Automatic),
        history_limit: stage.spec.history_limit,
        canary: stage.spec.canary.as_ref().map(|canary| canary.deployment),
        rollback_to: annotation(annotation::ROLLBACK_TO),
        deploy,
        promote_canary: annotation(annotation::PROMOTE_CANARY),
        // Without its index, which was deleted by hand or is elsewhere, the status remembers.
        live: index.and_then(|index| index.deployment).or_else(|| reported.and_then(|status| status.deployment)),
        pin: match index {
            Some(index) => index.pin.as_deref(),
            None if moved => None,
            None => annotation(annotation::ROLLBACK_TO)
                .filter(|_| reported.is_some_and(|status| status.pinned == Some(true))),
        },
        handled_deploy: in_index.or(own.map(String::as_str)).or(in_status),
    }
}

/// Whether the deployment in a status is the one of that number: the history tells its content.
fn is_of(status: &StageStatus, deployments: &Deployments) -> bool {
    let told = status.history.iter().find(|told| Some(told.number) == status.deployment);
    told.is_none_or(|told| deployments.get(&told.number).is_none_or(|known| known.digest.as_str() == told.digest))
}

/// Who wrote the ApiDefinition last.
pub fn author(api: &ApiDefinition) -> Option<&str> {
    let fields = api.metadata.managed_fields.as_ref()?;
    fields.iter().rev().find_map(|entry| entry.manager.as_deref())
}

/// The Stages of an API, in the order of their names.
pub fn stages_of<'a>(
    api: &ObjectKey,
    stages: &'a BTreeMap<ObjectKey, std::sync::Arc<Stage>>,
) -> impl Iterator<Item = (&'a ObjectKey, &'a std::sync::Arc<Stage>)> {
    stages
        .range(ObjectKey::new(&api.namespace, "")..)
        .take_while(|(key, _)| key.namespace == api.namespace)
        .filter(|(_, stage)| stage.spec.api_ref.name == api.name)
}

#[cfg(test)]
mod tests {
    use bundle::object::Subject;
    use serde_json::json;

    use super::*;
    use crate::history::Meta;

    fn live(api: &str, index: Option<&Index>, status: serde_json::Value) -> Option<u64> {
        let key = StageKey { namespace: "shop".to_owned(), name: "prod".to_owned() };
        let stage: Stage = serde_json::from_value(json!({
            "apiVersion": "stagegate.dev/v1alpha1", "kind": "Stage", "metadata": {"name": "prod"},
            "spec": {"apiRef": {"name": api}, "deployPolicy": "Manual"}, "status": status,
        }))
        .unwrap();
        let meta = |number: u64| Meta {
            digest: Digest::of(number.to_string().as_bytes()),
            created: String::new(),
            description: None,
            by: None,
            parts: 0,
        };
        let deployments = (1..=15).map(|number| (number, meta(number))).collect();
        let staged = Staged { key: &key, stage: &stage, index, handled_deploy: None };
        decision(None, &deployments, &[staged]).stages[0].live
    }

    #[test]
    fn a_word_that_the_index_knows_is_not_acted_upon_again() {
        let key = StageKey { namespace: "shop".to_owned(), name: "prod".to_owned() };
        let index = |word: Option<&str>| Index {
            deployment: Some(1),
            api: Some("orders".to_owned()),
            handled_deploy: word.map(|word| Digest::of(word.as_bytes())),
            ..Index::new(Subject::Stage(key.clone()), 1, Digest::of(b"x"))
        };
        let stage: Stage = serde_json::from_value(json!({
            "apiVersion": "stagegate.dev/v1alpha1", "kind": "Stage",
            "metadata": {"name": "prod", "annotations": {annotation::DEPLOY: "two"}},
            "spec": {"apiRef": {"name": "orders"}, "deployPolicy": "Manual"},
            "status": {"conditions": [], "handledDeploy": "one"},
        }))
        .unwrap();
        let own = |word: &str| Some(word.to_owned());
        for (word, known, handled) in [
            (Some("two"), None, "two"),
            // What this operator did itself is in the index too, or will be.
            (Some("one"), own("one"), "one"),
            (None, own("two"), "two"),
            (None, None, "one"),
        ] {
            let index = index(word);
            let staged = Staged { key: &key, stage: &stage, index: Some(&index), handled_deploy: known.as_ref() };
            assert_eq!(view(&staged, &Deployments::new()).handled_deploy, Some(handled), "{word:?} {known:?}");
        }
    }

    #[test]
    fn a_number_of_another_api_is_none_of_this_one() {
        let key = StageKey { namespace: "shop".to_owned(), name: "prod".to_owned() };
        let index = |api: Option<&str>| Index {
            deployment: Some(12),
            api: api.map(str::to_owned),
            ..Index::new(Subject::Stage(key.clone()), 1, Digest::of(b"x"))
        };
        let status = |content: &[u8]| {
            let told = json!({"number": 12, "digest": Digest::of(content).as_str(), "created": "2026-01-01T00:00:00Z"});
            json!({"deployment": 12, "conditions": [], "history": [told]})
        };
        let nothing = serde_json::Value::Null;
        // The index, and while there is none the status.
        for (index, status, number) in [
            (Some(index(Some("orders-v2"))), nothing.clone(), Some(12)),
            (Some(index(None)), nothing, Some(12)),
            (Some(index(Some("orders-v1"))), status(b"12"), None),
            (None, status(b"12"), Some(12)),
            (None, status(b"the other API's"), None),
        ] {
            assert_eq!(live("orders-v2", index.as_ref(), status.clone()), number, "{index:?} {status}");
        }
    }
}
