//! Certificates: rotated, gone, and what is shown then.

use bundle::{Certificate, HostBundle};

use crate::support::{Rig, api, certificate, stage};

fn chain(rig: &Rig, host: &str) -> String {
    match rig.bundle::<HostBundle>(&format!("host {host}")).map(|host| host.certificate) {
        Some(Certificate::Pem { chain, .. }) => chain,
        Some(Certificate::Local) | None => String::new(),
    }
}

#[test]
fn a_rotation_writes_one_object_and_a_secret_that_goes_leaves_what_it_was() {
    let Some(mut rig) = Rig::new("certificates", 19000) else { return };
    rig.operator("a");
    let hosts = "  hosts:\n  - {name: one.example.com, tls: {secretName: cert}}\n  - {name: none.example.com, tls: {secretName: never}}\n";
    let other = "  hosts: [{name: one.example.com, basePath: /other, tls: {secretName: cert}}]\n";
    rig.apply(
        &(certificate("cert", "first")
            + &api("orders", "/a")
            + &stage("prod", "orders", hosts)
            + &stage("dev", "orders", other)),
    );
    rig.wait("both Stages", |rig| rig.stage("dev").0 == Some(1) && rig.versions().len() == 5);
    rig.wait("the first", |rig| chain(rig, "one.example.com").contains("first"));
    // A host that never had one shows the local CA's.
    assert!(chain(&rig, "none.example.com").contains("-----BEGIN CERTIFICATE-----"));
    rig.wait_condition("prod", "ResolvedRefs=False SecretNotFound");

    let before = rig.versions();
    rig.apply(&certificate("cert", "second"));
    rig.wait("the second", |rig| chain(rig, "one.example.com").contains("second"));
    let changed = |rig: &Rig, before: &[(String, String)]| {
        rig.versions().into_iter().filter(|it| !before.contains(it)).collect::<Vec<_>>()
    };
    assert_eq!(changed(&rig, &before).len(), 1, "one object for two Stages");

    // Gone: what was there last is shown, and the condition says so.
    let before = rig.versions();
    rig.kubectl(&["delete", "secret", "cert"]);
    rig.wait_condition("dev", "ResolvedRefs=False SecretNotFound");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(changed(&rig, &before).is_empty());
    // By a new operator too, and while the host's table changes.
    rig.signal(0, "-KILL");
    rig.operator("b");
    let third = "  hosts: [{name: one.example.com, basePath: /third, tls: {secretName: cert}}]\n";
    rig.apply(&stage("third", "orders", third));
    rig.wait_live("third", 1);
    rig.wait("its base path", |rig| {
        serde_json::to_string(&rig.bundle::<HostBundle>("host one.example.com")).unwrap().contains("/third")
    });
    assert!(chain(&rig, "one.example.com").contains("second"));
    rig.apply(&certificate("cert", "third"));
    rig.wait("the third", |rig| chain(rig, "one.example.com").contains("third"));
    rig.wait_condition("dev", "ResolvedRefs=True ResolvedRefs");
    // One that holds nothing is no reason to show another either.
    rig.kubectl(&["patch", "secret", "cert", "-p", r#"{"stringData": {"tls.crt": "nothing"}}"#]);
    rig.wait_condition("dev", "ResolvedRefs=False InvalidSecret");
    assert!(chain(&rig, "one.example.com").contains("third"));
}
