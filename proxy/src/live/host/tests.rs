use bundle::{BundleSet, Certificate as BundleCertificate};

use super::*;
use crate::fixture::{default_host, mock, set, stage};
use crate::live::Live;

fn certificate(name: &str) -> BundleCertificate {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    BundleCertificate::Pem { chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

fn host(name: &str, certificate: &BundleCertificate) -> HostBundle {
    HostBundle { certificate: certificate.clone(), ..default_host(name, &["stage"]) }
}

fn with(hosts: Vec<HostBundle>) -> BundleSet {
    set(vec![stage("stage", &[mock("GET /a")])], hosts)
}

fn shown(hosts: &Hosts, sni: Option<&str>) -> Option<Arc<CertifiedKey>> {
    match hosts.certificate(sni) {
        CertificateChoice::Pem(key) => Some(key),
        CertificateChoice::Local => None,
    }
}

#[test]
fn certificates_follow_names() {
    let (one, two) = (certificate("one.com"), certificate("*.two.com"));
    let (live, broken) = Live::parse(
        &with(vec![
            host("one.com", &one),
            host("alias.com", &one),
            host("*.two.com", &two),
            host("local.two.com", &BundleCertificate::Local),
        ]),
        &Live::default(),
    );
    assert_eq!(broken, []);
    let hosts = &live.hosts;
    let (one, two) = (shown(hosts, Some("one.com")).unwrap(), shown(hosts, Some("a.two.com")).unwrap());
    assert!(Arc::ptr_eq(&one, &shown(hosts, Some("ONE.com")).unwrap()));
    assert!(Arc::ptr_eq(&one, &shown(hosts, Some("alias.com")).unwrap()), "one certificate is parsed once");
    assert!(!Arc::ptr_eq(&one, &two));
    for local in [Some("local.two.com"), Some("a.b.two.com"), Some("nobody.com"), None] {
        assert!(shown(hosts, local).is_none(), "{local:?}");
    }
    for (sni, host, shared) in [
        ("one.com", "one.com", true),
        ("one.com", "ONE.com", true),
        ("one.com", "alias.com", true),
        ("a.two.com", "b.two.com", true),
        ("one.com", "a.two.com", false),
        ("a.two.com", "local.two.com", false),
        ("nobody.com", "one.com", false),
        ("nobody.com", "local.two.com", true),
    ] {
        assert_eq!(hosts.share_tls(sni, host), shared, "{sni} {host}");
    }
}

#[test]
fn the_host_for_everyone_serves_clients_without_sni() {
    let (live, _) = Live::parse(&with(vec![host("*", &certificate("any"))]), &Live::default());
    assert!(shown(&live.hosts, None).is_some());
    assert!(shown(&live.hosts, Some("a.b.c")).is_some());
}

#[test]
fn a_bad_certificate_refuses_its_host_alone() {
    let good = certificate("good.com");
    let (BundleCertificate::Pem { chain, .. }, BundleCertificate::Pem { key: other, .. }) = (&good, &certificate("x"))
    else {
        panic!("certificates are PEM")
    };
    let pem = |chain: &str, key: &str| BundleCertificate::Pem { chain: chain.to_owned(), key: key.to_owned() };
    let set = with(vec![
        host("good.com", &good),
        host("garbage.com", &pem("garbage", "garbage")),
        host("mismatch.com", &pem(chain, other)),
        host("keyless.com", &pem(chain, "")),
    ]);
    let (live, broken) = Live::parse(&set, &Live::default());
    assert_eq!(broken.len(), 3, "{broken:?}");
    assert!(broken.iter().all(|broken| !broken.message.contains("PRIVATE")));
    assert!(shown(&live.hosts, Some("good.com")).is_some());
    assert!(live.hosts.find("good.com").unwrap().refuse.is_none());
    for name in ["garbage.com", "mismatch.com", "keyless.com"] {
        assert!(shown(&live.hosts, Some(name)).is_none(), "{name}");
        assert_eq!(live.hosts.find(name).unwrap().refuse.as_ref().unwrap().reason, "InvalidCertificate", "{name}");
    }
}

#[test]
fn a_certificate_outlives_a_change_of_its_host() {
    let one = certificate("one.com");
    let (first, _) = Live::parse(&with(vec![host("one.com", &one)]), &Live::default());
    let (second, _) = Live::parse(&with(vec![host("one.com", &one)]), &first);
    let key = |live: &Live| shown(&live.hosts, Some("one.com")).unwrap();
    assert!(Arc::ptr_eq(&key(&first), &key(&second)));
    let (third, _) = Live::parse(&with(vec![host("one.com", &certificate("one.com"))]), &second);
    assert!(!Arc::ptr_eq(&key(&second), &key(&third)), "rotated");
}
