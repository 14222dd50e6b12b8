//! Certificates of hosts without one of their own: the gateway's, else leaves of a local CA.

use std::collections::{BTreeMap, HashMap};

use bundle::Digest;
use bundle::host::{Certificate, HostBundle, HostTable};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

/// Name of the Secret with the CA.
pub const CA_SECRET: &str = "stagegate-local-ca";
/// Label of the Secrets with its leaves.
const LEAF_LABEL: &str = "stagegate.dev/local-leaf";
const NAME: &str = "stagegate.dev/host";
const EXPIRES: &str = "stagegate.dev/expires";

const CA_VALIDITY: Duration = Duration::days(3650);
/// Browsers refuse leaves that live much longer.
const LEAF_VALIDITY: Duration = Duration::days(90);
/// One with less than this left is issued anew.
const RENEWAL: Duration = Duration::days(30);
/// Clocks differ.
const SKEW: Duration = Duration::hours(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The API server said no.
    #[error("{0}")]
    Kube(#[from] kube::Error),
    /// The CA or leaf cannot be made or read.
    #[error("{0}")]
    Make(#[from] rcgen::Error),
    /// The Secret with the CA holds none.
    #[error("the Secret `{CA_SECRET}` holds no CA in `tls.crt` and `tls.key`; remove it and a new one is made")]
    Ruined,
}

/// The local CA and its leaves.
pub struct LocalCa {
    secrets: Api<Secret>,
    issuer: Issuer<'static, KeyPair>,
    leaves: HashMap<String, Leaf>,
}

struct Leaf {
    certificate: Certificate,
    expires: i64,
    /// Version of its Secret.
    version: Option<String>,
}

/// Name for which a leaf is issued: one for all default hosts of a namespace.
pub fn leaf_name(host: &HostBundle) -> String {
    match (&host.table, host.host.split_once('.')) {
        (HostTable::Default { .. }, Some((_, rest))) => format!("*.{rest}"),
        _ => host.host.clone(),
    }
}

impl LocalCa {
    /// The CA of the operator's namespace, made if there is none, with the leaves it has issued.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub async fn open(client: &Client, namespace: &str) -> Result<Self, CertificateError> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = match secrets.get_opt(CA_SECRET).await? {
            Some(secret) => secret,
            None => match secrets.create(&PostParams::default(), &new_ca()?).await {
                Ok(secret) => secret,
                // Somebody else has made it at the same time.
                Err(kube::Error::Api(status)) if status.code == 409 => secrets.get(CA_SECRET).await?,
                Err(error) => return Err(error.into()),
            },
        };
        let Some(Certificate::Pem { chain, key }) = pem(&secret) else { return Err(CertificateError::Ruined) };
        let issuer = Issuer::from_ca_cert_pem(&chain, KeyPair::from_pem(&key)?)?;
        let mut leaves = HashMap::new();
        for secret in secrets.list(&ListParams::default().labels(LEAF_LABEL)).await? {
            let annotations = secret.annotations();
            let expires = annotations.get(EXPIRES).and_then(|text| text.parse().ok());
            if let (Some(name), Some(expires), Some(certificate)) = (annotations.get(NAME), expires, pem(&secret)) {
                let version = secret.metadata.resource_version.clone();
                leaves.insert(name.clone(), Leaf { certificate, expires, version });
            }
        }
        Ok(Self { secrets, issuer, leaves })
    }

    /// Whether a leaf nears its end.
    pub fn is_due(&self) -> bool {
        let limit = (OffsetDateTime::now_utc() + RENEWAL).unix_timestamp();
        self.leaves.values().any(|leaf| leaf.expires < limit)
    }

    /// The leaf for a name.
    ///
    /// # Errors
    /// When it cannot be issued or kept.
    pub async fn leaf(&mut self, name: &str) -> Result<Certificate, CertificateError> {
        let now = OffsetDateTime::now_utc();
        let limit = (now + RENEWAL).unix_timestamp();
        let known = self.leaves.get(name);
        if let Some(leaf) = known.filter(|leaf| leaf.expires >= limit) {
            return Ok(leaf.certificate.clone());
        }
        let (chain, key) = self.issue(name, now)?;
        let expires = (now + LEAF_VALIDITY).unix_timestamp();
        let annotations =
            BTreeMap::from([(NAME.to_owned(), name.to_owned()), (EXPIRES.to_owned(), expires.to_string())]);
        let object = format!("stagegate-leaf-{}", &Digest::of(name.as_bytes()).as_str()[..16]);
        let labels = BTreeMap::from([(LEAF_LABEL.to_owned(), "true".to_owned())]);
        let mut secret = tls_secret(&object, labels, annotations, &chain, &key);
        let written = match known.and_then(|leaf| leaf.version.clone()) {
            Some(version) => {
                secret.metadata.resource_version = Some(version);
                self.secrets.replace(&object, &PostParams::default(), &secret).await?
            }
            None => self.secrets.create(&PostParams::default(), &secret).await?,
        };
        let certificate = Certificate::Pem { chain, key };
        let version = written.metadata.resource_version;
        self.leaves.insert(name.to_owned(), Leaf { certificate: certificate.clone(), expires, version });
        Ok(certificate)
    }

    fn issue(&self, name: &str, now: OffsetDateTime) -> Result<(String, String), CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.not_before = now - SKEW;
        params.not_after = now + LEAF_VALIDITY;
        params.subject_alt_names = match name.parse() {
            Ok(address) => vec![SanType::IpAddress(address)],
            Err(_) if name == "*" => vec![SanType::DnsName("localhost".try_into()?)],
            Err(_) => vec![SanType::DnsName(name.try_into()?)],
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Stagegate");
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn new_ca() -> Result<Secret, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now - SKEW;
    params.not_after = now + CA_VALIDITY;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Stagegate");
    params.distinguished_name.push(DnType::CommonName, format!("Stagegate local CA {}", now.date()));
    let certificate = params.self_signed(&key)?;
    Ok(tls_secret(CA_SECRET, BTreeMap::new(), BTreeMap::new(), &certificate.pem(), &key.serialize_pem()))
}

fn tls_secret(
    name: &str,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    chain: &str,
    key: &str,
) -> Secret {
    let entry = |name: &str, text: &str| (name.to_owned(), ByteString(text.as_bytes().to_vec()));
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from([entry("tls.crt", chain), entry("tls.key", key)])),
        ..Secret::default()
    }
}

/// The certificate of a `kubernetes.io/tls` Secret.
pub fn pem(secret: &Secret) -> Option<Certificate> {
    let text = |entry: &str| String::from_utf8(secret.data.as_ref()?.get(entry)?.0.clone()).ok();
    let (chain, key) = (text("tls.crt")?, text("tls.key")?);
    (chain.contains("-----BEGIN CERTIFICATE") && key.contains("PRIVATE KEY-----"))
        .then_some(Certificate::Pem { chain, key })
}
