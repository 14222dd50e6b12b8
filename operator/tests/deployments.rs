//! Deployments, pins and broken documents, on a real API server.

mod support;

use std::time::Duration;

use support::{Rig, api, stage};

const ROLLBACK: &str = "stagegate.dev/rollback-to";

#[test]
fn a_stage_follows_its_api_its_pin_and_nothing_that_is_broken() {
    let Some(mut rig) = Rig::new("deployments", 18200) else { return };
    rig.operator("a");
    rig.apply(
        &(api("orders", "/a") + &stage("prod", "orders", "") + &stage("slow", "orders", "  deployPolicy: Manual\n")),
    );
    rig.wait_live("prod", 1);
    assert_eq!(rig.stage("slow").0, None);
    assert!(rig.stage("slow").1.contains(&"Programmed=False NotDeployed".to_owned()));
    let snapshot = rig.get("configmap", "orders-deployment-1");
    assert_eq!(snapshot["immutable"], true);
    assert_eq!(rig.get("apidefinition", "orders")["status"]["latestDeployment"], 1);

    // By hand, once per value.
    rig.kubectl(&["annotate", "stage", "slow", "stagegate.dev/deploy=first"]);
    rig.wait_live("slow", 1);
    rig.apply(&api("orders", "/b"));
    rig.wait_live("prod", 2);
    assert_eq!(rig.stage("slow").0, Some(1));
    rig.wait("an Event for each deployment", |rig| {
        let notes = rig.kubectl(&["get", "events", "-o", "jsonpath={.items[*].message}"]);
        notes.contains("deployment 1 is live") && notes.contains("deployment 2 is live")
    });

    // Back, on, to what is not there.
    rig.kubectl(&["annotate", "stage", "prod", &format!("{ROLLBACK}=previous")]);
    rig.wait_live("prod", 1);
    assert_eq!(rig.stage("prod").2["status"]["pinned"], true);
    rig.apply(&api("orders", "/c"));
    rig.wait("a snapshot of what waits", |rig| rig.list("configmap", "stagegate.dev/deployment=3").len() == 1);
    assert_eq!(rig.stage("prod").0, Some(1));
    rig.kubectl(&["annotate", "--overwrite", "stage", "prod", &format!("{ROLLBACK}=9")]);
    rig.wait("an unknown number", |rig| rig.stage("prod").1.contains(&"Accepted=False UnknownDeployment".to_owned()));
    assert_eq!(rig.stage("prod").0, Some(1));
    rig.kubectl(&["annotate", "stage", "prod", &format!("{ROLLBACK}-")]);
    rig.wait_live("prod", 3);

    // A broken document changes nothing and says where.
    let before = rig.versions();
    let broken =
        api("orders", "/c").replace("responses:", "x-amazon-apigateway-integration: {type: nonsense}, responses:");
    rig.apply(&broken);
    let accepted = |rig: &Rig| rig.get("apidefinition", "orders")["status"]["conditions"][0].clone();
    rig.wait("the refusal", |rig| accepted(rig)["status"] == "False");
    let message = accepted(&rig)["message"].as_str().unwrap().to_owned();
    assert!(message.contains("/paths/~1c/get"), "{message}");
    assert_eq!(rig.versions(), before);
    assert_eq!(rig.stage("prod").0, Some(3));

    // So it is after a restart of everything.
    rig.signal(0, "-KILL");
    rig.operator("b");
    std::thread::sleep(Duration::from_secs(13));
    assert_eq!(rig.versions(), before);

    // Deleted by mistake and applied again: it goes on counting.
    rig.kubectl(&["delete", "apidefinition", "orders"]);
    rig.wait("its absence", |rig| rig.stage("prod").1.contains(&"Accepted=False ApiNotFound".to_owned()));
    assert_eq!(rig.versions(), before);
    rig.apply(&api("orders", "/d"));
    rig.wait_live("prod", 4);
}

#[test]
fn in_a_steady_state_nothing_is_written_and_one_change_writes_one_bundle() {
    let Some(mut rig) = Rig::new("steady", 18300) else { return };
    rig.operator("a");
    let mut all = String::new();
    for number in 0..20 {
        all += &api(&format!("api-{number}"), "/a");
        all += &stage(&format!("prod-{number}"), &format!("api-{number}"), "");
    }
    rig.apply(&all);
    rig.wait("all bundles", |rig| rig.versions().len() == 40);
    std::thread::sleep(Duration::from_secs(4));
    let (before, secrets) = (
        rig.kubectl(&["get", "apidef,stg,cm,events", "-o", "jsonpath={.items[*].metadata.resourceVersion}"]),
        rig.versions(),
    );
    std::thread::sleep(Duration::from_secs(60));
    let after = rig.kubectl(&["get", "apidef,stg,cm,events", "-o", "jsonpath={.items[*].metadata.resourceVersion}"]);
    assert_eq!((before, &secrets), (after, &rig.versions()));
    rig.apply(&api("api-7", "/b"));
    rig.wait_live("prod-7", 2);
    let now = rig.versions();
    assert_eq!(now.iter().filter(|it| !secrets.contains(it)).count(), 1);
    // A Stage that goes takes its bundle and its host with it.
    rig.kubectl(&["delete", "stage", "prod-7"]);
    rig.wait("the sweep", |rig| rig.versions().len() == 38);
}

#[test]
fn another_operator_takes_over() {
    let Some(mut rig) = Rig::new("leader", 18400) else { return };
    let first = rig.operator("a");
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", "")));
    rig.wait_live("prod", 1);
    let second = rig.operator("b");
    std::thread::sleep(Duration::from_secs(2));
    rig.signal(first, "-TERM");
    rig.apply(&api("orders", "/b"));
    let took = rig.wait("the other at once", |rig| rig.stage("prod").0 == Some(2));
    assert!(took < Duration::from_secs(3), "{took:?}");
    rig.operator("c");
    std::thread::sleep(Duration::from_secs(2));
    rig.signal(second, "-KILL");
    rig.apply(&api("orders", "/c"));
    let took = rig.wait("the third in time", |rig| rig.stage("prod").0 == Some(3));
    assert!(took < Duration::from_secs(15), "{took:?}");
}
