//! Bundles beside their Stages.

use crate::support::{Rig, api, stage};

const SECRET: &str = "prod-stagegate-bundle";

#[test]
fn a_sidecars_secret_is_kept_as_it_should_be_and_goes_with_its_reason() {
    let Some(mut rig) = Rig::new("sidecars", 19100) else { return };
    let entry = |rig: &Rig, stage: &str| {
        let more = format!("  sidecars: [{{namespace: {}, stage: {stage}}}]\n", rig.namespace.name);
        rig.configure(&rig.gateway("default", &more));
    };
    rig.operator("a");
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", "") + &stage("dev", "orders", "")));
    rig.wait_live("prod", 1);
    let there = |rig: &Rig, name: &str| !rig.kubectl(&["get", "secret", name, "--ignore-not-found"]).is_empty();
    assert!(!there(&rig, SECRET));
    entry(&rig, "prod");
    rig.wait("the Secret", |rig| there(rig, SECRET));
    rig.wait_condition("prod", "Programmed=Unknown NotObserved");
    let data = |rig: &Rig| rig.get("secret", SECRET)["data"].clone();
    let first = data(&rig);

    rig.kubectl(&["patch", "secret", SECRET, "-p", r#"{"stringData": {"stage.index": "{}"}}"#]);
    rig.wait("the right content", |rig| data(rig) == first);
    rig.kubectl(&["delete", "secret", SECRET]);
    rig.wait("the Secret again", |rig| there(rig, SECRET) && data(rig) == first);
    rig.apply(&api("orders", "/b"));
    rig.wait_live("prod", 2);
    rig.wait("the second deployment", |rig| data(rig) != first);
    // Nobody writes when nothing changes.
    let version = |rig: &Rig| rig.get("secret", SECRET)["metadata"]["resourceVersion"].clone();
    let before = version(&rig);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(version(&rig), before);

    // Another entry, then no Stage; a new operator knows what is there.
    rig.stop(0);
    rig.operator("b");
    entry(&rig, "dev");
    rig.wait("its end", |rig| !there(rig, SECRET) && there(rig, "dev-stagegate-bundle"));
    rig.kubectl(&["delete", "stage", "dev"]);
    rig.wait("the other's end", |rig| !there(rig, "dev-stagegate-bundle"));
}
