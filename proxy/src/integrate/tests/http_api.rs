//! An HTTP API's parameter mapping around a proxy, and its integrations with services.

use std::collections::BTreeMap;

use ::http::Method;
use bundle::integration::{AwsAction, Integration};
use bundle::mapping::{Change, ChangeTarget, ChangeVerb, Part, Source};
use bundle::subtype::Subtype;

use super::harness::*;
use crate::rejection::Rejection;

fn text(text: &str) -> Part {
    Part::Text(text.into())
}

fn change(verb: ChangeVerb, target: ChangeTarget, value: Vec<Part>) -> Change {
    Change { verb, target, value }
}

fn proxy(uri: &str, changes: Vec<Change>, response_changes: BTreeMap<u16, Vec<Change>>) -> Integration {
    let Integration::HttpProxy(mut proxy) = http_proxy(endpoint(uri), BTreeMap::new()) else { unreachable!() };
    (proxy.changes, proxy.response_changes) = (changes, response_changes);
    Integration::HttpProxy(proxy)
}

#[test]
fn a_request_is_changed_as_the_mapping_says() {
    use ChangeTarget::{Header, Path, Query};
    use ChangeVerb::{Append, Overwrite, Remove};
    run(async {
        let (address, seen) = answering(OK).await;
        let from = |source| Part::From(source);
        let changes = vec![
            change(Append, Header("x-a".into()), vec![from(Source::MultiQuery("q".into()))]),
            change(Overwrite, Header("x-b".into()), vec![text("b-"), from(Source::Body(Some("$.n".into())))]),
            change(Remove, Header("x-c".into()), Vec::new()),
            change(Append, Query("added".into()), vec![text("a b&c")]),
            change(Overwrite, Query("q".into()), vec![text("new")]),
            change(Remove, Query("gone".into()), Vec::new()),
            change(Append, Header("x-none".into()), vec![from(Source::MultiHeader("absent".into()))]),
            change(Overwrite, Path, vec![text("/v1/"), from(Source::StageVariable("part".into())), Part::RequestPath]),
        ];
        let served = Served::new(&core(), proxy(&url(address), changes, BTreeMap::new()));
        let sent = [("x-a", "1"), ("x-b", "old"), ("x-c", "old")];
        served.ask(Method::POST, "/prod/post?q=1&q=2&gone=1&kept=%20", &sent, r#"{"n": 7}"#).await.unwrap();
        assert_eq!(seen.line(), "post /v1/value/post?kept=%20&added=a%20b%26c&q=new http/1.1");
        assert_eq!(seen.header("x-a").unwrap(), "1|1,2");
        assert_eq!(seen.header("x-b").unwrap(), "b-7");
        assert_eq!((seen.header("x-c"), seen.header("x-none")), (None, None));
    });
}

#[test]
fn a_mapped_path_stays_below_its_root() {
    run(async {
        let (address, seen) = answering(OK).await;
        let path = vec![text("/a/"), Part::From(Source::MultiQuery("p".into()))];
        let changes = vec![change(ChangeVerb::Overwrite, ChangeTarget::Path, path)];
        let served = Served::new(&core(), proxy(&url(address), changes, BTreeMap::new()));
        for up in ["../../admin", "%252e%252E/admin", "b/.%252e", "..%5Cadmin"] {
            let refused = served.ask(Method::GET, &format!("/prod/x?p={up}"), &[], "").await;
            assert!(matches!(refused, Err(Rejection::BadPath(_))), "{up}");
        }
        // And a query is none that the mapping did not write.
        served.ask(Method::GET, "/prod/x?p=b%3Fadmin=1%23", &[], "").await.unwrap();
        assert!(seen.line().starts_with("get /a/b%3fadmin=1%23?p="), "{}", seen.line());
    });
}

#[test]
fn a_response_is_changed_by_its_status() {
    run(async {
        let (address, _) = answering(OK).await;
        let header = |name: &str| ChangeTarget::Header(name.into());
        let changes = vec![
            change(ChangeVerb::Overwrite, ChangeTarget::Status, vec![text("202")]),
            change(
                ChangeVerb::Append,
                header("x-length"),
                vec![Part::From(Source::MultiHeader("content-length".into()))],
            ),
            change(ChangeVerb::Overwrite, header("x-stage"), vec![Part::From(Source::Context("stage".into()))]),
        ];
        let by_status = BTreeMap::from([(200, changes)]);
        let served = Served::new(&core(), proxy(&url(address), Vec::new(), by_status.clone()));
        let answer = served.ask(Method::GET, "/prod/x", &[], "").await.unwrap();
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.headers()["x-stage"], "prod");
        let other = BTreeMap::from([(404, by_status[&200].clone())]);
        let served = Served::new(&core(), proxy(&url(address), Vec::new(), other));
        assert_eq!(served.ask(Method::GET, "/prod/x", &[], "").await.unwrap().status(), 200);
    });
}

#[test]
fn an_action_without_credentials_or_a_value_is_not_asked_for() {
    run(async {
        let action = AwsAction {
            subtype: Subtype::SqsPurgeQueue,
            parameters: BTreeMap::from([("QueueUrl".to_owned(), vec![Part::From(Source::MultiQuery("queue".into()))])]),
            region: None,
            role: None,
            timeout_ms: 1000,
            response_changes: BTreeMap::new(),
        };
        let served = Served::new(&core(), Integration::AwsAction(action));
        let missing = served.ask(Method::POST, "/prod/x", &[], "").await;
        assert!(matches!(missing, Err(Rejection::InvalidPayload(text)) if text.contains("QueueUrl")));
    });
}
