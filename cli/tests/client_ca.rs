//! `clientCA` from manifests: curl is let in with a certificate, follows the Secret as it changes, and is shut out without.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

mod support;

use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use support::{Dev, Files, api, wait, write};

const HOST: &str = "partners.example.test";

const STAGE: &str = "apiVersion: stagegate.dev/v1alpha1
kind: Stage
metadata: {name: orders}
spec:
  apiRef: {name: orders}
  stageName: prod
  hosts: [{name: partners.example.test, clientCA: {secretName: partners}}]
";

/// An authority, and what it gives a client.
struct Authority {
    pem: String,
    client: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        let issuer = Issuer::from_ca_cert_pem(&pem, key).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, format!("client of {name}"));
        let client = parameters.signed_by(&key, &issuer).unwrap().pem();
        Self { pem, client, key: key.serialize_pem() }
    }

    fn secret(&self) -> String {
        let pem = self.pem.replace("\r\n", "\n").replace('\n', "\n    ");
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: partners}}\nstringData:\n  ca.crt: |\n    {pem}\n")
    }

    fn save(&self, folder: &Path, name: &str) {
        write(&folder.join(format!("{name}.crt")), &self.client);
        write(&folder.join(format!("{name}.key")), &self.key);
    }
}

/// What curl gets with a client's certificate, or without one; `None` if there is no answer.
fn curl(dev: &Dev, client: Option<&str>) -> Option<String> {
    let home = dev.home();
    let port = dev.https.port();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--cacert"]).arg(home.join("ca.pem"));
    command.args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")]);
    if let Some(client) = client {
        command.arg("--cert").arg(home.join(format!("{client}.crt")));
        command.arg("--key").arg(home.join(format!("{client}.key")));
    }
    let output = command.arg(format!("https://{HOST}:{port}/")).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn curl_is_let_in_with_a_certificate_only() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl");
        return;
    }
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let files = Files::new()
        .with("api.yaml", &api("orders", "$context.identity.clientCert.subjectDN"))
        .with("stage.yaml", STAGE);
    let dev = files.dev(&[]);
    first.save(dev.home(), "first");
    second.save(dev.home(), "second");
    dev.wait_ready();
    dev.wait_said("there is no Secret `partners`; the host answers 500");
    dev.wait_said("the API's default host asks for no client certificates");
    assert_eq!(curl(&dev, None), None, "nobody knows whom to trust");
    write(&dev.file("secret.yaml"), &first.secret());
    let answers = |client, text: &str| {
        let wanted = Some(text.to_owned());
        wait(|| curl(&dev, Some(client)) == wanted, || format!("{:?}: {}", curl(&dev, Some(client)), dev.said()));
    };
    answers("first", "CN=client of first");
    assert_eq!(curl(&dev, Some("second")), None);
    assert_eq!(curl(&dev, None), None);
    write(&dev.file("secret.yaml"), &second.secret());
    answers("second", "CN=client of second");
    assert_eq!(curl(&dev, Some("first")), None);
    assert_eq!(dev.get("orders.default.localhost", "/prod").status, 200, "as Amazon has it");
}
