//! Which deployment the Stages of an API serve: what decides about it, from what the cluster says.

use std::collections::BTreeMap;

use bundle::object::Index;
use bundle::{Digest, StageKey};
use compile::deploy::{Candidate, Decision, Situation, StageView, decide};
use compile::{Contract, ObjectKey};
use crds::annotation;
use crds::stage::DeployPolicy;
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
    /// The value of `stagegate.dev/deploy` that was acted upon last.
    pub handled_deploy: Option<&'a str>,
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
        stages: stages.iter().map(view).collect(),
    })
}

fn view<'a>(staged: &Staged<'a>) -> StageView<'a> {
    let Staged { key, stage, index, handled_deploy } = staged;
    let annotation = |name: &str| stage.metadata.annotations.as_ref().and_then(|all| all.get(name)).map(String::as_str);
    let reported = stage.status.as_ref();
    StageView {
        key,
        policy: stage.spec.deploy_policy.unwrap_or(DeployPolicy::Automatic),
        history_limit: stage.spec.history_limit,
        canary: stage.spec.canary.as_ref().map(|canary| canary.deployment),
        rollback_to: annotation(annotation::ROLLBACK_TO),
        deploy: annotation(annotation::DEPLOY),
        promote_canary: annotation(annotation::PROMOTE_CANARY),
        // Without its index, which was deleted by hand or is elsewhere, the status remembers.
        live: index.and_then(|index| index.deployment).or_else(|| reported.and_then(|status| status.deployment)),
        pin: match index {
            Some(index) => index.pin.as_deref(),
            None => annotation(annotation::ROLLBACK_TO)
                .filter(|_| reported.is_some_and(|status| status.pinned == Some(true))),
        },
        handled_deploy: *handled_deploy,
    }
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
