//! ReferenceGrants of the Gateway API: a namespace consents to being referred to from another one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bundle::integration::{BackendTarget, Integration};
use bundle::route::{Action, Refusal};
use bundle::{StageBundle, Stamped};
pub use crds::reference_grant::ReferenceGrant;
use crds::reference_grant::{GrantFrom, GrantTo};

use crate::finding::Reason;
use crate::world::ObjectKey;

/// ReferenceGrants by namespace and name.
pub type Grants = BTreeMap<ObjectKey, Arc<ReferenceGrant>>;

/// Those that let objects of ours in a namespace refer to others.
pub fn of_namespace(grants: &Grants, namespace: &str) -> Grants {
    let concerns = |grant: &ReferenceGrant| {
        grant.spec.from.iter().any(|from| from.group == crds::GROUP && from.namespace == namespace)
    };
    grants.iter().filter(|(_, grant)| concerns(grant)).map(|(key, grant)| (key.clone(), Arc::clone(grant))).collect()
}

/// Whether an ApiDefinition or a Stage (`kind`) in `namespace` may refer to a Service. In its own namespace it always
/// may.
pub fn permits_service(grants: &Grants, kind: &str, namespace: &str, service: &ObjectKey) -> bool {
    service.namespace == namespace
        || permits(grants, kind, namespace, &service.namespace, |to| {
            to.group.is_empty() && to.kind == "Service" && to.name.as_deref().is_none_or(|name| name == service.name)
        })
}

/// Whether the owner of a host lets Stages of another namespace claim it too. `claims` says whether a Stage of the
/// owner is one that claims the host.
pub fn permits_host(grants: &Grants, owner: &str, namespace: &str, claims: impl Fn(&str) -> bool) -> bool {
    permits(grants, "Stage", namespace, owner, |to| {
        to.group == crds::GROUP && to.kind == "Stage" && to.name.as_deref().is_none_or(&claims)
    })
}

/// What of a Stage refers to another namespace without its consent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// The ApiDefinition's backend.
    Backend,
    /// A function of the Stage, by its name.
    Function(String),
}

/// Something that was taken out of a bundle.
pub(crate) struct Withheld {
    pub(crate) of: Holder,
    pub(crate) refusal: Refusal,
}

/// Takes out of a bundle what no grant allows: what needs it answers 500. Each thing is told once.
pub(crate) fn withhold(bundle: &mut StageBundle, grants: &Grants) -> Vec<Withheld> {
    let namespace = bundle.key.namespace.clone();
    let mut withheld = BTreeMap::new();
    for (name, target) in &mut bundle.functions {
        if let Some(refusal) = denied(target, "Stage", &namespace, grants) {
            withheld.insert(Holder::Function(name.clone()), refusal.clone());
            // Left out it would be Amazon's function of that name.
            *target = BackendTarget::Refused(refusal);
        }
    }
    for route in &mut bundle.routes {
        let Action::Serve(integration) = &route.action else { continue };
        let Integration::Backend(backend) = &**integration else { continue };
        if let Some(refusal) = denied(&backend.target, "ApiDefinition", &namespace, grants) {
            withheld.insert(Holder::Backend, refusal.clone());
            route.action = Action::Refuse(refusal);
        }
    }
    if let Some(canary) = &mut bundle.canary {
        let of_canary = withhold(&mut canary.stage, grants);
        withheld.extend(of_canary.into_iter().map(|Withheld { of, refusal }| (of, refusal)));
    }
    withheld.into_iter().map(|(of, refusal)| Withheld { of, refusal }).collect()
}

/// A bundle that was made some time ago, without what is granted no longer. The same one if that is nothing.
pub fn revoke(bundle: &Stamped<StageBundle>, grants: &Grants) -> Stamped<StageBundle> {
    let mut content = StageBundle::clone(bundle);
    match withhold(&mut content, grants).is_empty() {
        true => bundle.clone(),
        false => Stamped::new(content),
    }
}

/// Why an object of this kind and namespace may not refer to a target.
fn denied(target: &BackendTarget, kind: &str, namespace: &str, grants: &Grants) -> Option<Refusal> {
    let BackendTarget::Service { namespace: foreign, name, .. } = target else { return None };
    let service = ObjectKey::new(foreign, name);
    (!permits_service(grants, kind, namespace, &service)).then(|| Refusal {
        reason: Reason::RefNotPermitted.as_str().to_owned(),
        message: format!(
            "no ReferenceGrant in namespace `{foreign}` lets {kind}s of namespace `{namespace}` refer to the Service \
             `{name}`; what needs it answers 500"
        ),
    })
}

fn permits(grants: &Grants, kind: &str, from: &str, namespace: &str, to: impl Fn(&GrantTo) -> bool) -> bool {
    let of = |known: &GrantFrom| known.group == crds::GROUP && known.kind == kind && known.namespace == from;
    grants
        .range(ObjectKey::new(namespace, "")..)
        .take_while(|(key, _)| key.namespace == namespace)
        .any(|(_, grant)| grant.spec.from.iter().any(of) && grant.spec.to.iter().any(&to))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grants(namespace: &str, from: serde_json::Value, to: serde_json::Value) -> Grants {
        let grant = serde_json::from_value(json!({"metadata": {"name": "g"}, "spec": {"from": [from], "to": [to]}}));
        Grants::from([(ObjectKey::new(namespace, "g"), Arc::new(grant.unwrap()))])
    }

    fn from(group: &str, kind: &str, namespace: &str) -> serde_json::Value {
        json!({"group": group, "kind": kind, "namespace": namespace})
    }

    #[test]
    fn a_service_is_granted_by_its_own_namespace_to_a_kind_of_another() {
        let apis = || from("stagegate.dev", "ApiDefinition", "shop");
        let services = || json!({"group": "", "kind": "Service"});
        for (place, from, to, granted) in [
            ("stock", apis(), services(), true),
            ("stock", apis(), json!({"kind": "Service", "name": "items"}), true),
            ("stock", apis(), json!({"kind": "Service", "name": "others"}), false),
            ("stock", apis(), json!({"kind": "Secret"}), false),
            ("stock", apis(), json!({"group": "apps", "kind": "Service"}), false),
            ("shop", apis(), services(), false),
            ("stock", from("stagegate.dev", "Stage", "shop"), services(), false),
            ("stock", from("stagegate.dev", "ApiDefinition", "other"), services(), false),
            ("stock", from("", "ApiDefinition", "shop"), services(), false),
        ] {
            let grants = grants(place, from, to);
            let service = ObjectKey::new("stock", "items");
            assert_eq!(permits_service(&grants, "ApiDefinition", "shop", &service), granted, "{grants:?}");
        }
        assert!(permits_service(&Grants::new(), "Stage", "shop", &ObjectKey::new("shop", "items")));
        assert!(!permits_service(&Grants::new(), "Stage", "shop", &ObjectKey::new("stock", "items")));
    }

    #[test]
    fn a_host_is_granted_by_its_owner_for_all_or_by_a_stage_that_claims_it() {
        let stages = || from("stagegate.dev", "Stage", "guest");
        for (place, from, to, granted) in [
            ("owner", stages(), json!({"group": "stagegate.dev", "kind": "Stage"}), true),
            ("owner", stages(), json!({"group": "stagegate.dev", "kind": "Stage", "name": "prod"}), true),
            ("owner", stages(), json!({"group": "stagegate.dev", "kind": "Stage", "name": "dev"}), false),
            ("owner", stages(), json!({"kind": "Stage"}), false),
            ("guest", stages(), json!({"group": "stagegate.dev", "kind": "Stage"}), false),
            (
                "owner",
                from("stagegate.dev", "ApiDefinition", "guest"),
                json!({"group": "stagegate.dev", "kind": "Stage"}),
                false,
            ),
        ] {
            let grants = grants(place, from, to);
            assert_eq!(permits_host(&grants, "owner", "guest", |stage| stage == "prod"), granted, "{grants:?}");
        }
    }

    #[test]
    fn only_what_concerns_a_namespace_is_kept() {
        let all = grants("stock", from("stagegate.dev", "Stage", "shop"), json!({"kind": "Service"}));
        assert_eq!(of_namespace(&all, "shop"), all);
        assert!(of_namespace(&all, "stock").is_empty());
    }
}
