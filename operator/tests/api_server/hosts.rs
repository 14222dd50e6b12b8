//! One host, claimed from two namespaces.

use bundle::{HostBundle, HostTable};
use serde_json::Value;

use crate::grants::install;
use crate::support::{Rig, api, certificate, stage};

const HOST: &str = "  hosts: [{name: shared.example.com, basePath: BASE, TLS}]\n";

fn claim(base: &str, tls: &str) -> String {
    HOST.replace("BASE", base).replace(", TLS", tls)
}

/// Base paths of the host, with the namespaces that they lead to.
fn table(rig: &Rig) -> Vec<(String, String)> {
    let Some(host) = rig.bundle::<HostBundle>("host shared.example.com") else { return Vec::new() };
    let HostTable::Custom { base_paths } = host.table else { panic!("a custom host") };
    base_paths.into_iter().map(|path| (path.path, path.stage.namespace)).collect()
}

#[test]
fn the_oldest_claim_wins_until_its_namespace_consents_or_lets_go() {
    let Some(mut rig) = Rig::new("hosts", 18800) else { return };
    let other = rig.serve("hosts-other");
    install(&rig);
    rig.operator("a");
    let tls = ", tls: {secretName: cert}";
    rig.apply(&(certificate("cert", "one") + &api("orders", "/a") + &stage("prod", "orders", &claim("/", tls))));
    rig.wait_live("prod", 1);
    // Times of creation are whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    rig.apply_in(&other.name, &(api("guest", "/a") + &stage("guest", "guest", &claim("/guest", ""))));
    let conflicted = "Accepted=False Conflicted".to_owned();
    rig.wait("the conflict", |rig| rig.conditions_in(&other.name, "guest").contains(&conflicted));
    let owner = rig.namespace.name.clone();
    let own = ("/".to_owned(), owner.clone());
    assert_eq!(table(&rig), std::slice::from_ref(&own));

    // Consent, live, and its end.
    let grant = format!(
        "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {{name: hosts}}\nspec:\n  from: [{{group: stagegate.dev, kind: Stage, namespace: {}}}]\n  to: [{{group: stagegate.dev, kind: Stage, name: prod}}]\n",
        other.name
    );
    rig.apply(&grant);
    let guest = ("/guest".to_owned(), other.name.clone());
    rig.wait("both", |rig| table(rig) == [own.clone(), guest.clone()]);
    rig.wait("consent", |rig| rig.conditions_in(&other.name, "guest").contains(&"Accepted=True Accepted".to_owned()));
    rig.kubectl(&["delete", "referencegrant", "hosts"]);
    rig.wait("no consent", |rig| table(rig) == std::slice::from_ref(&own));
    rig.wait("the conflict again", |rig| rig.conditions_in(&other.name, "guest").contains(&conflicted));

    // Whoever is left has it. The certificate of the one before is not his.
    let shown = |rig: &Rig| serde_json::to_value(rig.bundle::<HostBundle>("host shared.example.com")).unwrap();
    let first = shown(&rig)["certificate"]["Pem"]["chain"].clone();
    assert!(first.as_str().unwrap().contains("one"), "{first}");
    rig.kubectl(&["delete", "stage", "prod"]);
    rig.wait("the other one", |rig| table(rig) == std::slice::from_ref(&guest));
    assert!(matches!(&shown(&rig)["certificate"]["Pem"]["chain"], Value::String(chain) if !chain.contains("one")));
}
