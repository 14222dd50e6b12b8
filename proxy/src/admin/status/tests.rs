use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::observe::tests::stage;

fn live(stages: &[&Arc<Stage>]) -> Live {
    Live { stages: stages.iter().map(|stage| Arc::clone(stage)).collect(), ..Live::default() }
}

fn finding() -> ReportedFinding {
    ReportedFinding {
        severity: Severity::Error,
        object: "Stage shop/orders-prod".into(),
        location: Some("orders.yaml:12:3".into()),
        reason: "UnknownApi".into(),
        message: "there is no ApiDefinition `order`".into(),
    }
}

#[test]
fn ready_after_the_first_load() {
    let status = Status::default();
    assert_eq!(status.ready(), (false, "nothing has been loaded yet\n".to_owned()));
    status.findings(vec![finding()]);
    let (ready, text) = status.ready();
    assert!(!ready);
    assert!(text.ends_with(
        "error: Stage shop/orders-prod at orders.yaml:12:3: UnknownApi: there is no ApiDefinition `order`\n"
    ));

    status.loaded(&live(&[]), &[]);
    let (ready, text) = status.ready();
    assert!(ready && text.starts_with("ready\n") && text.contains("orders.yaml:12:3"), "{text}");
    status.findings(Vec::new());
    assert_eq!(status.ready(), (true, "ready\n".to_owned()));

    status.draining();
    assert_eq!(status.ready(), (false, "draining\n".to_owned()));
}

#[test]
fn since_and_what_is_broken_stay_with_the_digest() {
    let status = Status::default();
    let at = |second| UNIX_EPOCH + Duration::from_secs(second);
    let (one, two) = (stage("prod", "1", &["/a"]), stage("test", "1", &[]));
    let broken = Broken { stage: one.key.clone(), route: String::new(), message: "a pattern is too large".into() };
    status.loaded_at(&live(&[&one]), &[broken], at(0));
    assert_eq!(status.json(None)["changes"], 1);
    status.loaded_at(&live(&[&one]), &[], at(1));
    assert_eq!(status.json(None)["changes"], 1);
    status.loaded_at(&live(&[&one, &two]), &[], at(2));
    let json = status.json(None);
    assert_eq!(json["changes"], 2);
    assert_eq!(
        json["stages"][0],
        serde_json::json!({
            "namespace": "shop", "name": "orders-prod", "api": "orders", "stageName": "prod", "deployment": 7,
            "canary": null,
            "digest": Digest::of(b"1").as_str(), "since": "1970-01-01T00:00:00.000Z", "routes": 1, "refusedTotal": 2,
            "refused": [
                {"route": "GET /a", "reason": "Broken", "message": "does not work"},
                {"route": "", "reason": "NotServable", "message": "a pattern is too large"},
            ],
        })
    );
    assert_eq!(json["stages"][1]["since"], "1970-01-01T00:00:02.000Z");

    status.loaded_at(&live(&[&stage("prod", "2", &["/a"])]), &[], at(3));
    let json = status.json(None);
    assert_eq!((&json["changes"], &json["stages"][0]["since"]), (&3.into(), &"1970-01-01T00:00:03.000Z".into()));
    assert_eq!(json["stages"].as_array().unwrap().len(), 1);
}

#[test]
fn wanted_and_running() {
    let status = Status::default();
    let one = stage("prod", "1", &[]);
    status.loaded(&live(&[&one]), &[]);
    let rejected = RejectedBundle {
        object: "sg-stage-1".into(),
        subject: Some(Subject::Stage(one.key.clone())),
        wanted: Some(Digest::of(b"2")),
        message: "not zstd".into(),
    };
    status.rejected(vec![rejected.clone()]);
    status.rejected(vec![rejected]);
    let json = status.json(None);
    assert_eq!(json["changes"], 2);
    assert_eq!(json["rejected"][0]["wanted"], Digest::of(b"2").as_str());
    assert_eq!(json["rejected"][0]["running"], Digest::of(b"1").as_str());
    assert!(status.ready().0 && status.ready().1.contains("not zstd"));
}

#[test]
fn lists_have_a_bound() {
    let status = Status::default();
    status.findings(vec![finding(); SHOWN + 5]);
    let json = status.json(None);
    assert_eq!(json["findings"].as_array().unwrap().len(), SHOWN);
    assert_eq!(json["findingsTotal"], SHOWN + 5);
    assert!(status.ready().1.ends_with("and 5 more\n"));
}
