use std::sync::Arc;

use bundle::integration::Integration;
use bundle::reply::GatewayResponseType;
use bundle::route::{Action as BundleAction, Refusal, Route as BundleRoute};

use super::*;
use crate::fixture::{core, custom_host, default_host, key, mock, mock_of, request, route, serve, set, stage};

fn refused(reason: &str) -> BundleRoute {
    route("GET /refused", BundleAction::Refuse(Refusal { reason: reason.to_owned(), message: "no".to_owned() }))
}

fn mock_with(method: &str, pattern: &str) -> BundleRoute {
    let mock = mock_of("{statusCode: 200}", &[(Some(pattern), "x")]);
    route(method, BundleAction::Serve(Box::new(Integration::Mock(mock))))
}

/// The reason and message of a refused route.
fn refusal<'a>(stage: &'a Stage, resource: &str) -> Option<(&'a str, &'a str)> {
    let route = stage.routes.iter().find(|route| &*route.resource == resource)?;
    match &route.action {
        Action::Refuse(refusal) => Some((&refusal.reason, &refusal.message)),
        _ => None,
    }
}

#[test]
fn a_broken_route_answers_500_and_its_neighbours_serve() {
    let mut guarded = mock("GET /guarded");
    guarded.requires = ["firewall".to_owned()].into();
    let unknown = Integration::Unknown(serde_json::json!({"Telepathy": {}}));
    let routes = [
        mock("GET /fine"),
        refused("MissingAuthorizer"),
        guarded,
        route("GET /unknown", BundleAction::Serve(Box::new(unknown))),
        mock_with("GET /pattern", "("),
        mock("ANY /files/{name}.json"),
        mock("GET /files/{name}"),
        mock("GET /deep/{all+}/end"),
        mock("GET /fine/"),
    ];
    let (core, broken) = core(&set(vec![stage("prod", &routes)], vec![default_host("example.com", &["prod"])]));
    let live = core.live();
    let parsed = &live.stages[0].live;
    for (resource, reason) in [
        ("/refused", "MissingAuthorizer"),
        ("/guarded", "UnknownGuard"),
        ("/unknown", "UnknownIntegration"),
        ("/pattern", "InvalidIntegration"),
        ("/files/{name}.json", "InvalidPath"),
        ("/deep/{all+}/end", "InvalidPath"),
    ] {
        assert_eq!(refusal(parsed, resource).map(|(reason, _)| reason), Some(reason), "{resource}");
    }
    let told: Vec<&str> = broken.iter().map(|broken| broken.route.as_str()).collect();
    assert_eq!(
        told,
        [
            "GET /guarded",
            "GET /unknown",
            "GET /pattern",
            "ANY /files/{name}.json",
            "GET /deep/{all+}/end",
            "GET /fine/"
        ]
    );
    assert!(broken.iter().all(|broken| broken.stage == key("prod") && !broken.message.is_empty()));
    for (method, target, status) in [
        ("GET", "/prod/fine", 200),
        ("GET", "/prod/refused", 500),
        ("GET", "/prod/guarded", 500),
        ("GET", "/prod/unknown", 500),
        ("GET", "/prod/pattern", 500),
        ("GET", "/prod/files/a", 200),
        ("PUT", "/prod/files/a.json", 500),
        ("GET", "/prod/deep/a/end", 500),
    ] {
        assert_eq!(serve(&core, request(method, target, &[])).0, status, "{method} {target}");
    }
}

#[test]
fn an_update_parses_what_changed() {
    let hosts = vec![default_host("a.com", &["a"]), custom_host("b.com", &[("/", "b")])];
    let mut set = set(vec![stage("b", &[mock("GET /b")]), stage("a", &[mock("GET /a")])], hosts);
    let (first, broken) = Live::parse(&set, &Live::default());
    assert!(broken.is_empty());
    assert_eq!(first.stages[0].key, key("a"), "in the order of their keys");
    let same = |a: &Live, b: &Live, index: usize| Arc::ptr_eq(&a.stages[index], &b.stages[index]);

    // The same content in another place.
    set.stages[0] = Stamped::new((*set.stages[0]).clone());
    let (second, _) = Live::parse(&set, &first);
    assert!(same(&first, &second, 0) && same(&first, &second, 1));

    set.stages[1] = Stamped::new(stage("a", &[mock("GET /other")]));
    let (third, _) = Live::parse(&set, &second);
    assert!(!same(&second, &third, 0) && same(&second, &third, 1));
    assert_eq!(&*third.stages[0].routes[0].resource, "/other");
    assert!(std::ptr::eq(third.hosts.find("a.com").unwrap(), first.hosts.find("a.com").unwrap()));

    // A host knows stages by their places, which a new one moves.
    set.stages.push(Stamped::new(stage("aa", &[mock("GET /aa")])));
    let (fourth, _) = Live::parse(&set, &third);
    assert!(same(&third, &fourth, 0));
    assert_eq!(third.hosts.find("b.com").unwrap().stage("/x"), Some((1, 0)));
    assert_eq!(fourth.hosts.find("b.com").unwrap().stage("/x"), Some((2, 0)));
    set.hosts.remove(0);
    let (fifth, _) = Live::parse(&set, &fourth);
    assert!(fifth.hosts.find("a.com").is_none());
}

#[test]
fn what_is_broken_is_told_on_every_load() {
    let mut bundle = stage("a", &[mock_with("GET /a", "(")]);
    let response = bundle::reply::GatewayResponse { status: Some(1), ..Default::default() };
    bundle.gateway_responses.insert(GatewayResponseType::Throttled, response);
    let set = set(vec![bundle], vec![default_host("a.com", &["a", "missing"])]);
    let (first, broken) = Live::parse(&set, &Live::default());
    assert_eq!(broken.len(), 3, "{broken:?}");
    let (_, again) = Live::parse(&set, &first);
    assert_eq!(again, broken);
}
