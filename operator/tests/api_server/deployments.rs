//! Deployments, pins and broken documents; the steady state; who leads.

use std::time::Duration;

use crate::support::{Rig, api, stage};

const ROLLBACK: &str = "stagegate.dev/rollback-to";

#[test]
fn a_stage_follows_its_api_its_pin_and_nothing_that_is_broken() {
    let Some(mut rig) = Rig::new("deployments", 18200) else { return };
    rig.operator("a");
    rig.apply(
        &(api("orders", "/a") + &stage("prod", "orders", "") + &stage("slow", "orders", "  deployPolicy: Manual\n")),
    );
    rig.wait_live("prod", 1);
    rig.wait_condition("slow", "Programmed=False NotDeployed");
    assert_eq!(rig.stage("slow").0, None);
    let snapshot = rig.get("configmap", "orders-deployment-1");
    assert_eq!(snapshot["immutable"], true);
    rig.wait("its number", |rig| rig.get("apidefinition", "orders")["status"]["latestDeployment"] == 1);

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
    rig.wait_leads("b");
    assert_eq!(rig.versions(), before);

    // Deleted by mistake and applied again: it goes on counting.
    rig.kubectl(&["delete", "apidefinition", "orders"]);
    rig.wait("its absence", |rig| rig.stage("prod").1.contains(&"Accepted=False ApiNotFound".to_owned()));
    assert_eq!(rig.versions(), before);
    rig.apply(&api("orders", "/d"));
    rig.wait_live("prod", 4);
}

#[test]
fn a_pin_to_a_deployment_that_was_pruned_changes_nothing() {
    let Some(mut rig) = Rig::new("pruned", 20100) else { return };
    rig.operator("a");
    let two = "  historyLimit: 2\n";
    rig.apply(&(api("orders", "/v1") + &stage("prod", "orders", two)));
    for number in 2..=4 {
        rig.wait_live("prod", number - 1);
        rig.apply(&api("orders", &format!("/v{number}")));
    }
    rig.wait_live("prod", 4);
    let numbers = |rig: &Rig| {
        let all = rig.list("configmap", "stagegate.dev/api=orders");
        let number = |it: &serde_json::Value| it["metadata"]["labels"]["stagegate.dev/deployment"].to_string();
        all.iter().map(number).collect::<Vec<_>>()
    };
    rig.wait("the limit of the history", |rig| numbers(rig) == [r#""3""#, r#""4""#]);
    let before = rig.versions();
    rig.kubectl(&["annotate", "stage", "prod", &format!("{ROLLBACK}=1")]);
    rig.wait("the refusal", |rig| rig.stage("prod").1.contains(&"Accepted=False UnknownDeployment".to_owned()));
    assert_eq!((rig.stage("prod").0, rig.versions()), (Some(4), before));
    // One that is kept can be gone back to, and is kept then whatever comes.
    rig.kubectl(&["annotate", "--overwrite", "stage", "prod", &format!("{ROLLBACK}=3")]);
    rig.wait_live("prod", 3);
    for number in 5..=7 {
        rig.apply(&api("orders", &format!("/v{number}")));
        rig.wait("a snapshot", |rig| numbers(rig).contains(&format!("\"{number}\"")));
    }
    rig.wait("the limit again", |rig| numbers(rig).len() <= 3);
    assert!(numbers(&rig).contains(&r#""3""#.to_owned()), "{:?}", numbers(&rig));
    assert_eq!(rig.stage("prod").0, Some(3));
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
    let kinds = "apidef,stg,cm,events";
    let (before, secrets) = (rig.wait_quiet(kinds), rig.versions());
    std::thread::sleep(Duration::from_secs(60));
    let after = rig.kubectl(&["get", kinds, "-o", "jsonpath={.items[*].metadata.resourceVersion}"]);
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
    let Some(mut rig) = Rig::alone("leader", 18400) else { return };
    let first = rig.operator("a");
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", "")));
    rig.wait_live("prod", 1);
    let second = rig.operator("b");
    rig.wait_ready(second);
    rig.signal(first, "-TERM");
    rig.apply(&api("orders", "/b"));
    let took = rig.wait("the other at once", |rig| rig.stage("prod").0 == Some(2));
    // Within a second or two; a Lease that was not released would take ten.
    assert!(took < Duration::from_secs(8), "{took:?}");
    let third = rig.operator("c");
    rig.wait_ready(third);
    rig.signal(second, "-KILL");
    rig.apply(&api("orders", "/c"));
    let took = rig.wait("the third in time", |rig| rig.stage("prod").0 == Some(3));
    // Seen for at most a second, held for ten, looked for every second.
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn who_leads_again_goes_by_what_another_did_meanwhile() {
    let Some(mut rig) = Rig::new("again", 19600) else { return };
    let word = |rig: &Rig, value: &str| {
        rig.kubectl(&["annotate", "--overwrite", "stage", "prod", &format!("stagegate.dev/deploy={value}")])
    };
    let handled = |rig: &Rig, value: &str| rig.stage("prod").2["status"]["handledDeploy"] == value;
    let first = rig.operator("a");
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", "  deployPolicy: Manual\n")));
    word(&rig, "one");
    rig.wait_live("prod", 1);
    rig.wait("the first word", |rig| handled(rig, "one"));
    // It sleeps until another leads, and knows nothing of that.
    rig.signal(first, "-STOP");
    let second = rig.operator("b");
    rig.apply(&api("orders", "/b"));
    word(&rig, "two");
    rig.wait_live("prod", 2);
    rig.wait("the second word", |rig| handled(rig, "two"));
    rig.signal(first, "-CONT");
    rig.apply(&api("orders", "/c"));
    rig.signal(second, "-TERM");
    // What follows a word of its own is written by who leads again; nobody asked for the edited document before.
    rig.apply(&stage("free", "orders", "  deployPolicy: Manual\n"));
    rig.wait("the first to lead again", |rig| !rig.stage("free").1.is_empty());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(rig.stage("prod").0, Some(2));
    assert!(rig.list("configmap", "stagegate.dev/deployment=3").is_empty());
}

#[test]
fn a_word_is_acted_upon_once_though_its_leader_died_before_it_could_say_so() {
    let Some(mut rig) = Rig::new("word", 20300) else { return };
    rig.operator("a");
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", "  deployPolicy: Manual\n")));
    rig.kubectl(&["annotate", "stage", "prod", "stagegate.dev/deploy=one"]);
    rig.wait_live("prod", 1);
    rig.wait("the word", |rig| rig.stage("prod").2["status"]["handledDeploy"] == "one");
    rig.signal(0, "-KILL");
    // As it is between the writing of the bundle and that of the status; then somebody edits the document.
    let nothing = r#"{"status": {"handledDeploy": null, "deployment": null, "history": []}}"#;
    rig.kubectl(&["patch", "stage", "prod", "--subresource=status", "--type=merge", "-p", nothing]);
    rig.apply(&api("orders", "/b"));
    rig.operator("b");
    rig.wait_leads("b");
    rig.wait("the status again", |rig| rig.stage("prod").2["status"]["handledDeploy"] == "one");
    assert_eq!(rig.stage("prod").0, Some(1));
    assert!(rig.list("configmap", "stagegate.dev/deployment=2").is_empty(), "nobody asked for it");
    rig.kubectl(&["annotate", "--overwrite", "stage", "prod", "stagegate.dev/deploy=two"]);
    rig.wait_live("prod", 2);
}

#[test]
fn a_deployment_that_cannot_be_taken_holds_up_nothing_else() {
    let Some(mut rig) = Rig::new("quota", 19700) else { return };
    rig.operator("a");
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", "") + &stage("beta", "orders", "")));
    rig.apply(&(api("other", "/a") + &stage("leaves", "other", "")));
    rig.wait_live("prod", 1);
    rig.apply(&api("orders", "/b"));
    rig.wait_live("prod", 2);
    rig.wait_live("beta", 2);
    rig.wait_live("leaves", 1);
    let maps = rig.kubectl(&["get", "configmap", "-o", "name"]).lines().count();
    rig.kubectl(&["create", "quota", "full", &format!("--hard=count/configmaps={maps}")]);
    rig.wait("the quota", |rig| !rig.get("resourcequota", "full")["status"]["used"].is_null());
    rig.apply(&api("orders", "/c"));
    rig.wait_condition("prod", "Programmed=False Retrying");
    let (live, _, object) = rig.stage("prod");
    assert_eq!(live, Some(2));
    let message = object["status"]["conditions"][2]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("deployment 3 cannot be taken") && message.contains("quota"), "{message}");
    assert!(!message.contains("Status {"), "the API server's own sentence: {message}");
    // The way back is free, and who goes it is told nothing of what does not concern him.
    rig.kubectl(&["annotate", "stage", "prod", &format!("{ROLLBACK}=1")]);
    rig.wait_live("prod", 1);
    rig.wait_condition("prod", "Programmed=False NoProxies");
    assert!(rig.stage("beta").1.contains(&"Programmed=False Retrying".to_owned()));
    // So is the sweep of what others leave behind.
    let bundles = rig.versions().len();
    rig.kubectl(&["delete", "stage", "leaves"]);
    rig.wait("the sweep of a Stage and its host", |rig| rig.versions().len() == bundles - 2);
    rig.kubectl(&["delete", "quota", "full"]);
    rig.wait_live("beta", 3);
    rig.wait_condition("beta", "Programmed=False NoProxies");
}

#[test]
fn a_snapshot_that_is_gone_is_told_and_changes_nothing() {
    let Some(mut rig) = Rig::new("gone", 19900) else { return };
    rig.operator("a");
    let manual = |rest: &str| stage("prod", "orders", &format!("  deployPolicy: Manual\n{rest}"));
    rig.apply(&(api("orders", "/a") + &manual("")));
    rig.kubectl(&["annotate", "stage", "prod", "stagegate.dev/deploy=one"]);
    rig.wait_live("prod", 1);
    rig.apply(&api("orders", "/b"));
    rig.kubectl(&["delete", "configmap", "orders-deployment-1"]);
    rig.wait_condition("prod", "Programmed=False SnapshotMissing");
    let before = rig.versions();
    rig.apply(&manual("  variables: {a: b}\n"));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((rig.stage("prod").0, rig.versions()), (Some(1), before));
    rig.kubectl(&["annotate", "--overwrite", "stage", "prod", "stagegate.dev/deploy=two"]);
    rig.wait_condition("prod", "Programmed=False NoProxies");
}

#[test]
fn a_stage_that_is_given_another_api_serves_nothing_of_it_that_nobody_chose() {
    let Some(mut rig) = Rig::new("moved", 20000) else { return };
    rig.operator("a");
    let manual = |api: &str| stage("prod", api, "  deployPolicy: Manual\n");
    rig.apply(&(api("one", "/a") + &manual("one") + &api("two", "/x") + &stage("beta", "two", "")));
    rig.kubectl(&["annotate", "stage", "prod", "stagegate.dev/deploy=first"]);
    rig.wait_live("prod", 1);
    rig.wait_live("beta", 1);
    let before = rig.versions();
    rig.apply(&manual("two"));
    rig.wait_condition("prod", "Programmed=False NotDeployed");
    std::thread::sleep(Duration::from_secs(2));
    let (live, _, object) = rig.stage("prod");
    assert_eq!((live, rig.versions()), (None, before.clone()), "{}", object["status"]);
    // So it is after a restart.
    rig.signal(0, "-KILL");
    rig.operator("b");
    rig.wait_leads("b");
    assert_eq!((rig.stage("prod").0, rig.versions()), (None, before));
    rig.kubectl(&["annotate", "--overwrite", "stage", "prod", "stagegate.dev/deploy=second"]);
    rig.wait_live("prod", 1);
    rig.wait_condition("prod", "Programmed=False NoProxies");
}
