//! Backends over TLS: who is believed, and what is spoken.

use std::net::SocketAddr;
use std::sync::Arc;

use bundle::integration::BackendTarget;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::harness::*;
use crate::integrate::upstream::tls::Clients;

/// A TLS server with a certificate for these names, which answers `ok` on HTTP/1.1.
async fn tls_server(names: &[&str]) -> (SocketAddr, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = server(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (address, certificate)
}

fn trusting(certificate: &CertificateDer<'static>) -> Arc<Clients> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    Clients::trusting(roots).unwrap()
}

#[test]
fn a_trusted_certificate_for_the_right_name_is_believed() {
    run(async {
        let (address, certificate) = tls_server(&["localhost"]).await;
        let core = core_with(options(), trusting(&certificate));
        let right = backend(BackendTarget::Url(format!("https://localhost:{}", address.port())));
        let served = Served::new(&core, right);
        assert_eq!(served.get().await.unwrap(), "ok");
        assert_eq!(served.get().await.unwrap(), "ok");
        assert_eq!(core.upstream.connections(), 1, "ALPN said HTTP/1.1, whose connection is kept");
        let wrong = backend(BackendTarget::Url(format!("https://{address}")));
        let text = Served::new(&core, wrong).get().await.unwrap_err().to_text();
        assert!(text.contains("not valid for name"), "{text}");
    });
}

#[test]
fn the_platform_does_not_trust_a_stranger() {
    run(async {
        let (address, _) = tls_server(&["localhost"]).await;
        let stranger = backend(BackendTarget::Url(format!("https://localhost:{}", address.port())));
        let text = Served::new(&core(), stranger).get().await.unwrap_err().to_text();
        assert!(text.starts_with("TLS with localhost"), "{text}");
    });
}

#[test]
fn settings_of_an_integration_change_what_is_verified() {
    run(async {
        let (address, certificate) = tls_server(&["inner.example"]).await;
        let core = core_with(options(), trusting(&certificate));
        let ask = |skip_tls_verification, server_name: Option<&str>| {
            let mut endpoint = endpoint(&format!("https://localhost:{}", address.port()));
            endpoint.skip_tls_verification = skip_tls_verification;
            endpoint.server_name = server_name.map(Into::into);
            let served = Served::new(&core, http_proxy(endpoint, Default::default()));
            async move { served.get().await.is_ok() }
        };
        assert!(!ask(false, None).await, "the name is wrong");
        assert!(ask(false, Some("inner.example")).await);
        assert!(!ask(true, None).await, "the name is verified even if the issuer is not");
        assert!(ask(true, Some("inner.example")).await);
        let nobody = core_with(options(), trusting(&tls_server(&["other"]).await.1));
        let mut endpoint = endpoint(&format!("https://localhost:{}", address.port()));
        endpoint.server_name = Some("inner.example".into());
        assert!(Served::new(&nobody, http_proxy(endpoint.clone(), Default::default())).get().await.is_err());
        endpoint.skip_tls_verification = true;
        assert!(Served::new(&nobody, http_proxy(endpoint, Default::default())).get().await.is_ok());
    });
}
