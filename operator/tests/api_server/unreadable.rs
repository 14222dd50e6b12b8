//! Objects of a newer version than the operator's.

use crate::support::{Rig, api, stage};

#[test]
fn what_cannot_be_read_is_told_and_what_it_was_goes_on() {
    if std::env::var_os("STAGEGATE_E2E_EXISTING").is_some_and(|value| value == "1") {
        eprintln!("skipped: it changes a resource type, which it does on clusters of its own only");
        return;
    }
    let Some(mut rig) = Rig::new("unreadable", 20400) else { return };
    // The resource types are newer: an upgrade begins with them. Nobody else's Stages have the field.
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/fromTheFuture";
    let patch = format!(r#"[{{"op": "add", "path": "{path}", "value": {{"type": "string"}}}}]"#);
    rig.kubectl(&["patch", "crd", "stages.stagegate.dev", "--type=json", "-p", &patch]);
    rig.operator("a");
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", "") + &stage("other", "orders", "")));
    rig.wait_live("prod", 1);
    rig.wait_live("other", 1);
    // Until the API server goes by the new type it takes the field out.
    let newer = |rig: &Rig| {
        let patch = r#"{"spec": {"fromTheFuture": "yes", "variables": {"a": "b"}}}"#;
        rig.kubectl(&["patch", "stage", "prod", "--type=merge", "-p", patch]);
        rig.get("stage", "prod")["spec"]["fromTheFuture"] == "yes"
    };
    rig.wait("a newer object", newer);
    rig.wait_condition("prod", "Accepted=False Unreadable");
    let status = rig.get("stage", "prod")["status"].clone();
    assert_eq!(status["deployment"], 1, "the rest of the status stays");
    let message = status["conditions"].to_string();
    assert!(message.contains("fromTheFuture"), "{message}");
    rig.wait("an Event", |rig| {
        rig.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).contains("Unreadable")
    });

    // It is told once, its neighbours go on, and a new operator says no other thing.
    let before = rig.wait_quiet("stg,apidef,secret");
    rig.signal(0, "-KILL");
    rig.operator("b");
    rig.wait_leads("b");
    assert_eq!(rig.wait_quiet("stg,apidef,secret"), before);
    rig.apply(&api("orders", "/b"));
    rig.wait_live("other", 2);
    assert_eq!(rig.stage("prod").0, Some(1));

    // One that can be read again is as if nothing had been.
    let patch = r#"{"spec": {"fromTheFuture": null}}"#;
    rig.kubectl(&["patch", "stage", "prod", "--type=merge", "-p", patch]);
    rig.wait_condition("prod", "Accepted=True Accepted");
    rig.wait_live("prod", 2);
}
