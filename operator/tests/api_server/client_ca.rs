//! Whose client certificates a host trusts, on a real API server: what is not resolved refuses the host, and a Secret that
//! changes changes its bundle.
use crate::support::{Rig, api, stage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bundle::object::{Index, Subject};
use bundle::{Encoded, HostBundle};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

const HOST: &str = "partners.example.com";

fn authority() -> String {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.self_signed(&key).unwrap().pem().replace("\r\n", "\n")
}

fn secret(text: &str) -> String {
    let text = text.replace('\n', "\n    ");
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: partners}}\nstringData:\n  ca.crt: |\n    {text}\n---\n")
}

/// The host as the proxies get it.
fn delivered(rig: &Rig) -> Option<HostBundle> {
    let name = Subject::Host(HOST.to_owned()).object_name("default");
    let all = rig.list("secret", "stagegate.dev/bundle=host");
    let found = all.iter().find(|secret| secret["metadata"]["name"] == name)?;
    let bytes = |key: &str| STANDARD.decode(found["data"][key].as_str().unwrap()).unwrap();
    let (index, payload) = (bytes("index"), bytes("payload"));
    let Index { format, digest, .. } = Index::read(|_| Some(&index)).unwrap();
    Some(bundle::decode(&Encoded { format, digest, payload }).unwrap())
}

#[test]
fn a_host_trusts_the_authorities_that_its_secret_has_now() {
    let Some(mut rig) = Rig::new("client-ca", 20200) else { return };
    rig.operator("a");
    let hosts = format!("  hosts: [{{name: {HOST}, clientCA: {{secretName: partners}}}}]\n");
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", &hosts)));
    rig.wait_live("prod", 1);
    let refused = |rig: &Rig, reason: &str| {
        let condition = format!("ResolvedRefs=False {reason}");
        rig.wait(&condition, |rig| rig.stage("prod").1.contains(&condition));
        rig.wait("the refusal", |rig| delivered(rig).is_some_and(|host| host.refuse.is_some()));
        assert_eq!(delivered(rig).unwrap().client_ca, None);
    };
    refused(&rig, "SecretNotFound");
    rig.apply(&secret("no certificate"));
    refused(&rig, "InvalidSecret");
    let (first, second) = (authority(), authority());
    for text in [&first, &second, &format!("{first}{second}")] {
        rig.apply(&secret(text));
        rig.wait("what the Secret has", |rig| {
            delivered(rig).is_some_and(|host| host.refuse.is_none() && host.client_ca.as_ref() == Some(text))
        });
        let host = delivered(&rig).unwrap();
        assert_eq!(host.requires.into_iter().collect::<Vec<_>>(), [bundle::host::CLIENT_CA]);
    }
    rig.wait("the condition", |rig| rig.stage("prod").1.contains(&"ResolvedRefs=True ResolvedRefs".to_owned()));
    rig.kubectl(&["delete", "secret", "partners"]);
    refused(&rig, "SecretNotFound");
}
