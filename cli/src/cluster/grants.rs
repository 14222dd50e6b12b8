//! Consent of other namespaces, as far as a comparison needs it: without it a Service elsewhere is not called, whatever
//! the two sides say about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use compile::{Contract, ObjectKey};
use crds::backend::ServiceRef;
use crds::reference_grant::{GROUP, GrantFrom, GrantTo, ReferenceGrant, ReferenceGrantSpec, VERSIONS};
use crds::stage::StageSpec;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};

use crate::print;

type Grants = Vec<(ObjectKey, Arc<ReferenceGrant>)>;

/// Grants of the namespaces that a Stage or its contracts refer to. Where they cannot be read they are taken as given,
/// which is said.
pub(super) async fn grants(
    client: &Client,
    namespace: &str,
    spec: &StageSpec,
    contracts: &[&Contract],
) -> anyhow::Result<Grants> {
    let mut grants = Vec::new();
    for other in elsewhere(namespace, spec, contracts) {
        match listed(client, &other).await {
            Ok(Some(found)) => grants.extend(found),
            // Nobody serves the kind: nothing is granted.
            Ok(None) => {}
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let text =
                    format!("note: the ReferenceGrants of {other} cannot be read; its Services are taken as granted\n");
                print::to_stderr(&text);
                grants.push((ObjectKey::new(&other, ""), Arc::new(everything(namespace))));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(grants)
}

/// Other namespaces whose Services are named.
fn elsewhere(namespace: &str, spec: &StageSpec, contracts: &[&Contract]) -> BTreeSet<String> {
    let backends = contracts.iter().filter_map(|contract| contract.backend.as_ref()?.service.as_ref());
    let functions = spec.functions.values().filter_map(|function| function.service.as_ref());
    let named = |service: &ServiceRef| service.namespace.clone().filter(|other| other != namespace);
    backends.chain(functions).filter_map(named).collect()
}

/// `None`: the kind is not served.
async fn listed(client: &Client, namespace: &str) -> Result<Option<Grants>, kube::Error> {
    for version in VERSIONS {
        let kind = GroupVersionKind::gvk(GROUP, version, "ReferenceGrant");
        let resource = ApiResource::from_gvk_with_plural(&kind, "referencegrants");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        match api.list(&ListParams::default()).await {
            Ok(list) => {
                // One that says nothing that can be read consents to nothing.
                let read = |object: DynamicObject| {
                    let key = ObjectKey::new(namespace, object.metadata.name.unwrap_or_default());
                    Some((key, Arc::new(serde_json::from_value(object.data).ok()?)))
                };
                return Ok(Some(list.items.into_iter().filter_map(read).collect()));
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Consent to every Service.
fn everything(namespace: &str) -> ReferenceGrant {
    let from = |kind: &str| GrantFrom {
        group: crds::GROUP.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
    };
    let to = vec![GrantTo { group: String::new(), kind: "Service".to_owned(), name: None }];
    ReferenceGrant { spec: ReferenceGrantSpec { from: vec![from("ApiDefinition"), from("Stage")], to } }
}

#[cfg(test)]
mod tests {
    use compile::grant::permits_service;
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_is_named_elsewhere_is_asked_and_consent_that_cannot_be_read_is_consent() {
        let spec: StageSpec = serde_json::from_value(json!({
            "apiRef": {"name": "orders"},
            "functions": {"one": {"service": {"name": "one", "namespace": "tools", "port": 80}},
                          "two": {"service": {"name": "two", "port": 80}},
                          "three": {"url": "http://three"}},
        }))
        .unwrap();
        let api = serde_json::from_value(json!({
            "openapi": {}, "backend": {"service": {"name": "items", "namespace": "stock", "port": 80}},
        }))
        .unwrap();
        let contract = Contract::read(&ObjectKey::new("shop", "orders"), &api, &std::collections::BTreeMap::new());
        let found = elsewhere("shop", &spec, &[&contract, &contract]);
        assert_eq!(found, ["stock", "tools"].map(str::to_owned).into());
        let given = [(ObjectKey::new("stock", ""), Arc::new(everything("shop")))].into();
        let items = ObjectKey::new("stock", "items");
        for (kind, namespace, permitted) in
            [("ApiDefinition", "shop", true), ("Stage", "shop", true), ("ApiDefinition", "other", false)]
        {
            assert_eq!(permits_service(&given, kind, namespace, &items), permitted, "{kind} {namespace}");
        }
    }
}
