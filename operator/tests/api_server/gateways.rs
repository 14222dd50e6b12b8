//! Which gateway serves a Stage, and a configuration that changes.

use crate::support::{Rig, api, stage};

#[test]
fn a_gateway_that_is_not_configured_is_named_until_it_is() {
    let Some(mut rig) = Rig::new("gateways", 18700) else { return };
    rig.operator("a");
    rig.apply(
        &(api("orders", "/a") + &stage("prod", "orders", "") + &stage("inner", "orders", "  gateway: internal\n")),
    );
    rig.wait_live("prod", 1);
    rig.wait_condition("inner", "Accepted=False UnknownGateway");
    assert_eq!((rig.stage("inner").0, rig.versions().len()), (None, 2));

    // Read again, without a restart. A domain that changes moves hosts, and nothing is left behind.
    let domain = |text: String, domain: &str| text.replace("apis.example.com", domain);
    rig.configure(&(rig.gateway("default", "") + &domain(rig.gateway("internal", ""), "internal.example.com")));
    rig.wait_live("inner", 1);
    rig.wait_condition("inner", "Accepted=True Accepted");
    let url = |rig: &Rig, name: &str| rig.stage(name).2["status"]["url"].as_str().unwrap_or_default().to_owned();
    let host = |domain: &str| format!("https://orders.{}.{domain}", rig.namespace.name);
    assert_eq!(url(&rig, "inner"), host("internal.example.com") + "/inner");
    assert_eq!(url(&rig, "prod"), host("apis.example.com") + "/prod");
    rig.configure(&domain(rig.gateway("default", ""), "moved.example.com"));
    rig.wait("the other URL", |rig| url(rig, "prod") == host("moved.example.com") + "/prod");
    let subjects = |rig: &Rig| {
        let all = rig.list("secret", "stagegate.dev/bundle=host,stagegate.dev/gateway=default");
        let subject = |it: &serde_json::Value| {
            it["metadata"]["annotations"]["stagegate.dev/subject"].as_str().unwrap().to_owned()
        };
        all.iter().map(subject).collect::<Vec<_>>()
    };
    let moved = format!("host orders.{}.moved.example.com", rig.namespace.name);
    rig.wait("the old host's end", |rig| subjects(rig) == [moved.clone()]);
    // What a gateway served that is configured no longer is not this operator's to remove.
    rig.wait_condition("inner", "Accepted=False UnknownGateway");
    assert_eq!(rig.list("secret", "stagegate.dev/bundle,stagegate.dev/gateway=internal").len(), 2);

    // One that cannot be used changes nothing.
    let before = rig.versions();
    rig.configure(&rig.gateway("default", "  throttle: {rate: 1}\n"));
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(rig.versions(), before);
    rig.configure(&domain(rig.gateway("default", ""), "apis.example.com"));
    rig.wait("the first URL", |rig| url(rig, "prod") == host("apis.example.com") + "/prod");
}

#[test]
fn a_stage_that_moves_to_another_namespace_of_bundles_leaves_nothing_behind() {
    let Some(mut rig) = Rig::new("moves", 19800) else { return };
    let other = rig.cluster.namespace("moves-on").unwrap();
    let (here, there) =
        (format!("bundleNamespace: {}", rig.namespace.name), format!("bundleNamespace: {}", other.name));
    rig.configure(&(rig.gateway("default", "") + &rig.gateway("second", "").replace(&here, &there)));
    rig.operator("a");
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", "")));
    rig.wait_live("prod", 1);
    rig.apply(&stage("prod", "orders", "  gateway: second\n"));
    let names = |namespace: &str| {
        rig.cluster
            .kubectl(["-n", namespace, "get", "secret", "-l", "stagegate.dev/bundle=stage", "-o", "name"])
            .unwrap()
    };
    rig.wait("the new place", |_| names(&other.name).lines().count() == 1);
    rig.wait("the old place to be left", |_| names(&rig.namespace.name).is_empty());
}
