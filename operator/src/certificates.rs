//! Certificates for hosts that bring none: the gateway's own, else leaves of a local CA.
//!
//! CA and leaves are Secrets in the operator's namespace; the CA's key never leaves it. A leaf stands for all default
//! hosts of a namespace, or for one custom host, and is renewed a month before its end.

use std::collections::{BTreeMap, HashMap};

use bundle::host::Certificate;
use bundle::{Digest, HostBundle, HostTable};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::config::GatewayConfig;
use crate::history::is_conflict;

/// Name of the CA's Secret.
pub const CA_NAME: &str = "stagegate-local-ca";
const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 90;
/// Left of a leaf's life when it is renewed.
const RENEW: SignedDuration = SignedDuration::from_hours(30 * 24);
/// When a certificate of ours ends, RFC 3339.
const EXPIRES: &str = "stagegate.dev/expires";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The API server.
    #[error("{}", crate::told::of_kube(.0))]
    Kube(#[from] kube::Error),
    /// It cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// What is in a Secret is none.
    #[error("the Secret {0} holds no certificate and key")]
    Secret(String),
}

/// Certificates of our own.
pub struct Certificates {
    client: Client,
    namespace: String,
    issuer: Option<Issuer<'static, KeyPair>>,
    leaves: HashMap<String, Leaf>,
}

struct Leaf {
    certificate: Certificate,
    expires: Timestamp,
}

impl Certificates {
    /// Keeps them in this namespace.
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace, issuer: None, leaves: HashMap::new() }
    }

    /// The certificate that a gateway has for all its hosts, if it has one.
    ///
    /// # Errors
    /// When its Secret cannot be read, or holds none.
    pub async fn of_gateway(&self, gateway: &GatewayConfig) -> Result<Option<Certificate>, CertificateError> {
        let Some(own) = &gateway.default_tls else { return Ok(None) };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &own.namespace);
        let secret = secrets.get_opt(&own.secret_name).await?;
        let none = || CertificateError::Secret(format!("{}/{}", own.namespace, own.secret_name));
        secret.as_ref().and_then(pem).map(Some).ok_or_else(none)
    }

    /// The local CA's certificate of a host.
    ///
    /// # Errors
    /// When a Secret cannot be read or written, or holds none.
    pub async fn for_host(&mut self, host: &HostBundle) -> Result<Certificate, CertificateError> {
        self.leaf(&subject(host)).await
    }

    /// Leaves are read again: another operator may have renewed them.
    pub fn forget(&mut self) {
        self.leaves.clear();
    }

    /// Whether a leaf is due to be renewed.
    pub fn due(&self, now: Timestamp) -> bool {
        self.leaves.values().any(|leaf| leaf.is_due(now))
    }

    async fn leaf(&mut self, name: &str) -> Result<Certificate, CertificateError> {
        let now = Timestamp::now();
        if let Some(leaf) = self.leaves.get(name).filter(|leaf| !leaf.is_due(now)) {
            return Ok(leaf.certificate.clone());
        }
        let digest = Digest::of(name.as_bytes());
        let object = format!("stagegate-leaf-{}", digest.as_str().get(..16).unwrap_or_default());
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let kept = secrets.get_opt(&object).await?;
        let known =
            kept.as_ref().and_then(|secret| Some(Leaf { certificate: pem(secret)?, expires: expires(secret)? }));
        if let Some(leaf) = known.filter(|leaf| !leaf.is_due(now)) {
            let certificate = leaf.certificate.clone();
            self.leaves.insert(name.to_owned(), leaf);
            return Ok(certificate);
        }
        let expires = now + SignedDuration::from_hours(24 * LEAF_DAYS);
        let (chain, key) = {
            let issuer = self.issuer().await?;
            issue(name, issuer, expires)?
        };
        let mut secret = self.secret(&object, &chain, &key, expires, "tls.crt", "tls.key");
        secret.type_ = Some("kubernetes.io/tls".to_owned());
        match kept.and_then(|kept| kept.metadata.resource_version) {
            Some(version) => {
                secret.metadata.resource_version = Some(version);
                secrets.replace(&object, &PostParams::default(), &secret).await?;
            }
            None => drop(secrets.create(&PostParams::default(), &secret).await?),
        }
        let certificate = Certificate::Pem { chain, key };
        self.leaves.insert(name.to_owned(), Leaf { certificate: certificate.clone(), expires });
        Ok(certificate)
    }

    /// The local CA, made once.
    async fn issuer(&mut self) -> Result<&Issuer<'static, KeyPair>, CertificateError> {
        if self.issuer.is_none() {
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
            let found = match secrets.get_opt(CA_NAME).await? {
                Some(secret) => secret,
                None => {
                    let expires = Timestamp::now() + SignedDuration::from_hours(24 * CA_DAYS);
                    let (chain, key) = authority(expires)?;
                    let secret = self.secret(CA_NAME, &chain, &key, expires, "ca.crt", "ca.key");
                    match secrets.create(&PostParams::default(), &secret).await {
                        Ok(secret) => secret,
                        // Another operator was faster.
                        Err(error) if is_conflict(&error) => secrets.get(CA_NAME).await?,
                        Err(error) => return Err(error.into()),
                    }
                }
            };
            let none = || CertificateError::Secret(format!("{}/{CA_NAME}", self.namespace));
            let entry =
                |name: &str| found.data.as_ref().and_then(|data| String::from_utf8(data.get(name)?.0.clone()).ok());
            let (chain, key) = entry("ca.crt").zip(entry("ca.key")).ok_or_else(none)?;
            self.issuer = Some(Issuer::from_ca_cert_pem(&chain, KeyPair::from_pem(&key)?)?);
        }
        self.issuer.as_ref().ok_or_else(|| CertificateError::Secret(CA_NAME.to_owned()))
    }

    fn secret(
        &self,
        name: &str,
        chain: &str,
        key: &str,
        expires: Timestamp,
        chain_entry: &str,
        key_entry: &str,
    ) -> Secret {
        let data = [(chain_entry, chain), (key_entry, key)];
        Secret {
            metadata: ObjectMeta {
                namespace: Some(self.namespace.clone()),
                name: Some(name.to_owned()),
                annotations: Some(BTreeMap::from([(EXPIRES.to_owned(), expires.to_string())])),
                ..ObjectMeta::default()
            },
            data: Some(data.map(|(entry, text)| (entry.to_owned(), ByteString(text.as_bytes().to_vec()))).into()),
            ..Secret::default()
        }
    }
}

impl Leaf {
    fn is_due(&self, now: Timestamp) -> bool {
        self.expires.duration_since(now) < RENEW
    }
}

/// The name a leaf is made for: one for all default hosts of a namespace, which have one label more.
fn subject(host: &HostBundle) -> String {
    match &host.table {
        HostTable::Default { .. } => match host.host.split_once('.') {
            Some((_, rest)) => format!("*.{rest}"),
            None => host.host.clone(),
        },
        // Whoever has no name cannot be certified by one; clients that care give the host a certificate.
        HostTable::Custom { .. } if host.host == "*" => "stagegate.invalid".to_owned(),
        HostTable::Custom { .. } => host.host.clone(),
    }
}

fn pem(secret: &Secret) -> Option<Certificate> {
    let text = |name: &str| String::from_utf8(secret.data.as_ref()?.get(name)?.0.clone()).ok();
    let (chain, key) = (text("tls.crt")?, text("tls.key")?);
    (chain.contains("CERTIFICATE") && key.contains("PRIVATE KEY")).then_some(Certificate::Pem { chain, key })
}

fn expires(secret: &Secret) -> Option<Timestamp> {
    secret.metadata.annotations.as_ref()?.get(EXPIRES)?.parse().ok()
}

fn authority(expires: Timestamp) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "Stagegate local CA");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    within(&mut parameters, expires);
    Ok((parameters.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn issue(name: &str, issuer: &Issuer<'static, KeyPair>, expires: Timestamp) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new([name.to_owned()])?;
    // A common name has at most 64 characters; nobody but people reads it.
    parameters.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    within(&mut parameters, expires);
    Ok((parameters.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

/// From an hour ago, for clocks that are behind, until then.
fn within(parameters: &mut CertificateParams, expires: Timestamp) {
    let time = |at: Timestamp| {
        time::OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    };
    parameters.not_before = time(Timestamp::now() - SignedDuration::from_hours(1));
    parameters.not_after = time(expires);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, table: HostTable) -> HostBundle {
        HostBundle {
            host: name.to_owned(),
            certificate: Certificate::Local,
            refuse: None,
            requires: Default::default(),
            client_ca: None,
            table,
        }
    }

    #[test]
    fn a_leaf_stands_for_a_namespace_or_a_host() {
        let default = || HostTable::Default { stages: BTreeMap::new() };
        assert_eq!(subject(&host("orders.shop.apis.example.com", default())), "*.shop.apis.example.com");
        let custom = || HostTable::Custom { base_paths: Vec::new() };
        assert_eq!(subject(&host("api.example.com", custom())), "api.example.com");
        assert_eq!(subject(&host("*", custom())), "stagegate.invalid");
    }

    #[test]
    fn a_leaf_is_signed_by_the_authority() {
        let expires = Timestamp::now() + SignedDuration::from_hours(24);
        let (chain, key) = authority(expires).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&chain, KeyPair::from_pem(&key).unwrap()).unwrap();
        let (leaf, key) = issue("*.shop.apis.example.com", &issuer, expires).unwrap();
        assert!(leaf.starts_with("-----BEGIN CERTIFICATE") && key.contains("PRIVATE KEY"));
    }
}
