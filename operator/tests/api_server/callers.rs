//! Usage plans and API keys, on a real API server.

use std::collections::BTreeMap;

use bundle::object::{Index, Subject};
use bundle::{KeyDigest, KeysBundle, PlanBundle};
use serde_json::Value;

use crate::support::{Rig, api, stage};

/// An API with one route, that wants an API key.
fn keyed_api(name: &str) -> String {
    api(name, "/a").replace("get: {", "get: {security: [{api_key: []}], ")
}

fn plan(name: &str, stages: &str, label: &str) -> String {
    format!(
        "apiVersion: stagegate.dev/v1alpha1\nkind: UsagePlan\nmetadata: {{name: {name}}}\nspec:\n  stages: [{stages}]\n  apiKeys: {{selector: {{matchLabels: {{plan: {label}}}}}}}\n---\n"
    )
}

fn secret(name: &str, label: &str, entries: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\ntype: stagegate.dev/api-key\nmetadata: {{name: {name}, labels: {{plan: {label}}}}}\nstringData: {{{entries}}}\n---\n"
    )
}

fn decoded(object: &Value, entry: &str) -> Vec<u8> {
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(object.clone()).unwrap();
    secret.data.unwrap()[entry].0.clone()
}

/// What stands in the bundles of a kind, with what they are about.
fn bundles<T: serde::de::DeserializeOwned>(rig: &Rig, kind: &str) -> Vec<(Subject, T)> {
    let objects = rig.list("secret", &format!("stagegate.dev/bundle={kind}"));
    let read = |object: &Value| {
        let (index, payload) = (decoded(object, "index"), decoded(object, "payload"));
        let index = Index::read(|_| Some(index.as_slice())).unwrap();
        let encoded = index.payload(|_| Some(payload.as_slice()), |_| None).unwrap();
        (index.subject, bundle::decode(&encoded).unwrap())
    };
    objects.iter().map(read).collect()
}

/// Digests of all keys that are delivered, with their ids and plans.
fn keys(rig: &Rig) -> BTreeMap<KeyDigest, (String, Vec<String>)> {
    let all = bundles::<KeysBundle>(rig, "keys").into_iter().flat_map(|(_, bundle)| bundle.keys);
    all.map(|(digest, key)| (digest, (key.id, key.plans))).collect()
}

fn condition(rig: &Rig, plan: &str, kind: &str) -> (String, String, String) {
    let object = rig.get("usageplan", plan);
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

#[test]
fn keys_and_plans_are_delivered_as_digests_and_taken_back_at_once() {
    let Some(mut rig) = Rig::new("callers", 18600) else { return };
    let more = format!("  sidecars: [{{namespace: {}, stage: beside}}]\n", rig.namespace.name);
    rig.configure(&rig.gateway("default", &more));
    rig.operator("a");
    rig.apply(&(keyed_api("orders") + &stage("prod", "orders", "") + &plan("gold", "{name: prod}", "gold")));
    rig.apply(&secret("acme", "gold", "key: key-of-acme-0123456789, second: second-of-acme-0123456789"));
    rig.apply(&secret("stray", "none", "key: key-of-stray-0123456789"));
    let digest = |key: &str| KeyDigest::of(key.as_bytes());
    rig.wait_live("prod", 1);
    rig.wait("both keys", |rig| keys(rig).len() == 2);
    let gold = || vec!["gold".to_owned()];
    let both = BTreeMap::from([
        (digest("key-of-acme-0123456789"), ("acme".to_owned(), gold())),
        (digest("second-of-acme-0123456789"), ("acme.second".to_owned(), gold())),
    ]);
    assert_eq!(keys(&rig), both);
    let plans = bundles::<PlanBundle>(&rig, "plan");
    assert_eq!(plans[0].1.stages, ["prod".to_owned()].into());
    rig.wait("the status", |rig| rig.get("usageplan", "gold")["status"]["keys"] == 2);
    assert_eq!(condition(&rig, "gold", "Accepted").0, "True");
    assert_eq!(condition(&rig, "gold", "ResolvedRefs").0, "True");

    // A sidecar's Stage has its callers beside it, as soon as they change.
    rig.apply(&(stage("beside", "orders", "") + &plan("near", "{name: beside}", "none")));
    let beside = |rig: &Rig| {
        let secrets = rig.list("secret", "");
        let found = secrets.into_iter().find(|it| it["metadata"]["name"] == "beside-stagegate-bundle");
        let entries = |secret: Value| secret["data"].as_object().cloned().unwrap_or_default();
        let names: Vec<String> = found.map(entries).unwrap_or_default().into_iter().map(|(name, _)| name).collect();
        let of = |kind: &str| names.iter().filter(|name| name.starts_with(kind)).count();
        (of("stage."), of("sg-plan-"), of("sg-keys-"))
    };
    rig.wait("callers beside a Stage", |rig| beside(rig) == (2, 2, 2));
    rig.kubectl(&["delete", "stage/beside", "usageplan/near"]);
    rig.wait("the rest", |rig| keys(rig) == both);

    // Faults are named, never shown, and hurt only themselves.
    rig.apply(&secret(
        "copy",
        "gold",
        "key: key-of-acme-0123456789, short: 'tiny-secret', own: own-of-copy-0123456789",
    ));
    rig.wait("the faults", |rig| condition(rig, "gold", "ResolvedRefs").0 == "False");
    let (_, reason, message) = condition(&rig, "gold", "ResolvedRefs");
    assert!(["DuplicateApiKey", "InvalidApiKey"].contains(&reason.as_str()), "{reason}");
    assert!(message.contains("`copy`") && message.contains("has 11 characters"), "{message}");
    assert!(!message.contains("tiny") && !message.contains("key-of"), "{message}");
    assert_eq!(keys(&rig).len(), 3);
    assert_eq!(keys(&rig)[&digest("key-of-acme-0123456789")].0, "acme");
    assert_eq!(condition(&rig, "gold", "Accepted").0, "True");
    rig.kubectl(&["delete", "secret", "copy"]);
    rig.wait("two again", |rig| keys(rig) == both);

    // A second plan, which is younger; a limit that is not enforced yet.
    rig.apply(
        &plan("silver", "{name: prod}, {name: gone}", "gold")
            .replace("spec:\n", "spec:\n  throttle: {rate: 1, burst: 1}\n"),
    );
    rig.wait("both plans", |rig| bundles::<PlanBundle>(rig, "plan").len() == 2);
    rig.wait("its faults", |rig| condition(rig, "silver", "Accepted").2.contains("older plan `gold`"));
    let (status, _, message) = condition(&rig, "silver", "Accepted");
    assert!(status == "True" && message.contains("/spec/throttle: NotServedYet"), "{message}");
    rig.wait("both for the keys", |rig| keys(rig).values().all(|(_, plans)| *plans == ["gold", "silver"]));
    rig.kubectl(&["delete", "usageplan", "silver"]);
    rig.wait("one plan", |rig| bundles::<PlanBundle>(rig, "plan").len() == 1);

    // Switched off, then gone.
    let rest = || BTreeMap::from([(digest("other-of-0123456789-0"), ("other".to_owned(), gold()))]);
    rig.apply(&secret("other", "gold", "key: other-of-0123456789-0"));
    rig.wait("the other", |rig| keys(rig).len() == 3);
    rig.kubectl(&["annotate", "secret", "acme", "stagegate.dev/enabled=false"]);
    let took = rig.wait("off", |rig| keys(rig) == rest());
    // At once; a machine that is busy with other tests looks late.
    assert!(took.as_secs() < 10, "{took:?}");
    rig.kubectl(&["annotate", "secret", "acme", "stagegate.dev/enabled-"]);
    rig.wait("on", |rig| keys(rig).len() == 3);
    rig.kubectl(&["delete", "secret", "acme"]);
    rig.wait("gone", |rig| keys(rig) == rest());

    // A Stage that goes takes the plan's bundle with it, and so does a restart nothing.
    let before = rig.versions();
    rig.signal(0, "-KILL");
    rig.operator("b");
    rig.wait_leads("b");
    assert_eq!(rig.versions(), before);
    rig.kubectl(&["delete", "stage", "prod"]);
    rig.wait("nothing", |rig| rig.versions().is_empty());
    rig.wait("the status", |rig| condition(rig, "gold", "Accepted").2.contains("there is no Stage `prod`"));
}
