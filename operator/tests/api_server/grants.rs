//! Services of other namespaces, by ReferenceGrants, whose kind may come and go.

use bundle::route::Action;
use bundle::{StageBundle, integration::Integration};
use e2e::program::{command_line, run};

use crate::support::{Rig, api, certificate, stage};

/// The Gateway API's definition, as far as these tests need it.
const DEFINITION: &str = include_str!("referencegrants.yaml");

pub(crate) fn install(rig: &Rig) {
    rig.cluster.kubectl_with(["apply", "--server-side", "-f", "-"], DEFINITION).unwrap();
    let established = ["wait", "--for=condition=Established", "crd/referencegrants.gateway.networking.k8s.io"];
    rig.cluster.kubectl(established).unwrap();
}

/// Whether the route to the backend is served.
fn served(rig: &Rig) -> Option<bool> {
    let bundle: StageBundle = rig.bundle(&format!("Stage {}/prod", rig.namespace.name))?;
    Some(
        matches!(&bundle.routes[0].action, Action::Serve(integration) if matches!(**integration, Integration::Backend(_))),
    )
}

#[test]
fn a_service_elsewhere_is_called_while_its_namespace_lets_it() {
    let Some(mut rig) = Rig::new("grants", 18900) else { return };
    let stock = rig.serve("grants-stock");
    rig.operator("a");
    let definition = api("orders", "/a").replace(
        "{url: 'http://127.0.0.1:9'}",
        &format!("{{service: {{name: items, namespace: {}, port: 80}}}}", stock.name),
    );
    // Served or not, nothing is granted yet.
    rig.apply(&(definition.clone() + &stage("prod", "orders", "")));
    rig.wait_live("prod", 1);
    rig.wait_condition("prod", "ResolvedRefs=False RefNotPermitted");
    assert_eq!(served(&rig), Some(false));
    let before = rig.versions();

    // The kind comes while the operator runs.
    install(&rig);
    let grant = |version: &str, kind: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/{version}\nkind: ReferenceGrant\nmetadata: {{name: items}}\nspec:\n  from: [{{group: stagegate.dev, kind: {kind}, namespace: {}}}]\n  to: [{{group: '', kind: Service, name: items}}]\n",
            rig.namespace.name
        )
    };
    rig.apply_in(&stock.name, &grant("v1beta1", "Stage"));
    std::thread::sleep(std::time::Duration::from_secs(7));
    assert_eq!(rig.versions(), before, "ApiDefinitions are not meant");
    rig.apply_in(&stock.name, &grant("v1beta1", "ApiDefinition"));
    rig.wait("the grant", |rig| served(rig) == Some(true));
    rig.wait_condition("prod", "ResolvedRefs=True ResolvedRefs");
    let index = &rig.versions();
    assert_eq!(index.iter().filter(|it| !before.contains(it)).count(), 1, "one bundle was written");

    // What another deployment would call instead is told by a comparison, since that knows the grant too.
    rig.apply(&definition.replace("name: items", "name: others"));
    rig.wait_live("prod", 2);
    let mut diff = rig.cluster.command(&command_line().unwrap().to_string_lossy());
    let said = run(diff.args(["diff", "prod", "1", "2", "-n", &rig.namespace.name]), "").unwrap();
    assert!(said.contains("~ /a GET") && said.contains("RefNotPermitted"), "{said}");
    rig.apply(&definition);
    rig.wait_live("prod", 3);

    // A Stage with an error goes on as it was, but not by a grant that is gone.
    let bad = certificate("bad", "x").replace("CERTIFICATE", "NOTHING");
    rig.apply(&(bad + &stage("prod", "orders", "  hosts: [{name: a.example.com, tls: {secretName: bad}}]\n")));
    rig.wait_condition("prod", "ResolvedRefs=False InvalidSecret");
    assert_eq!(served(&rig), Some(true));
    rig.cluster.kubectl(["-n", &stock.name, "delete", "referencegrant", "items"]).unwrap();
    rig.wait("its end", |rig| served(rig) == Some(false));
    rig.wait_condition("prod", "ResolvedRefs=False RefNotPermitted");
    assert_eq!(rig.stage("prod").0, Some(3));
}
