//! The local CA: made once, kept in the state folder, trusted by whoever wants to call the gateway of a laptop.

mod leaves;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use time::{Duration, OffsetDateTime};

use crate::state::{Readers, State, write_atomically};

pub(crate) use leaves::Leaves;

/// How long the CA is valid.
const VALIDITY: Duration = Duration::days(3650);

/// Clocks differ: what is issued now is valid since an hour ago.
const SKEW: Duration = Duration::hours(1);

/// The local CA.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    certificate: String,
    /// Where that is.
    path: PathBuf,
}

impl Authority {
    /// The CA of a state folder, made if there is none yet.
    pub(crate) fn open(state: &State) -> anyhow::Result<Self> {
        // Certificate and key are one file, so that no crash and no second process can pair one with another's.
        let both = state.path("ca.key");
        let path = state.path("ca.pem");
        let _lock = state.lock().with_context(|| format!("cannot lock {}", state.path("lock").display()))?;
        let pem = match fs::read_to_string(&both) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pem = generate().context("cannot make a local CA")?;
                write_atomically(&both, pem.as_bytes(), Readers::Owner)
                    .with_context(|| format!("cannot write {}", both.display()))?;
                pem
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", both.display())),
        };
        let (certificate, issuer) = parse(&pem).with_context(|| {
            format!("{} holds no usable CA; remove it and a new one is made, to be trusted anew", both.display())
        })?;
        if fs::read_to_string(&path).ok().as_deref() != Some(certificate.as_str()) {
            write_atomically(&path, certificate.as_bytes(), Readers::Everyone)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { issuer, certificate, path })
    }

    /// Where its certificate is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes its certificate elsewhere too.
    pub(crate) fn export(&self, file: &Path) -> anyhow::Result<()> {
        write_atomically(file, self.certificate.as_bytes(), Readers::Everyone)
            .with_context(|| format!("cannot write the CA's certificate to {} (--ca-out)", file.display()))
    }

    /// Issues certificates; `addresses` are those that clients without a name may mean besides loopback's.
    pub(crate) fn leaves(self, addresses: Vec<IpAddr>) -> Leaves {
        Leaves::new(self.issuer, addresses)
    }
}

/// A new CA: certificate and key, PEM.
fn generate() -> anyhow::Result<String> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now - SKEW;
    params.not_after = now + VALIDITY;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Stagegate");
    // A trust store may hold the CAs of several machines; the date tells them apart.
    params.distinguished_name.push(DnType::CommonName, format!("Stagegate local CA {}", now.date()));
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
}

/// Certificate (PEM) and issuer of a file that holds both.
fn parse(pem: &str) -> anyhow::Result<(String, Issuer<'static, KeyPair>)> {
    const END: &str = "-----END CERTIFICATE-----";
    let end = pem.find(END).ok_or_else(|| anyhow!("there is no certificate"))? + END.len();
    let (certificate, key) = pem.split_at(end);
    let key = KeyPair::from_pem(key.trim_start())?;
    let certificate = format!("{certificate}\n");
    let issuer = Issuer::from_ca_cert_pem(&certificate, key)?;
    Ok((certificate, issuer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(Some(folder.path())).unwrap();
        let first = Authority::open(&state).unwrap();
        let second = Authority::open(&state).unwrap();
        assert_eq!(first.certificate, second.certificate);
        assert_eq!(fs::read_to_string(first.path()).unwrap(), first.certificate);
    }

    #[test]
    fn processes_that_start_together_agree_on_one_ca() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(Some(folder.path())).unwrap();
        let certificates: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Authority::open(&state).unwrap().certificate)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(certificates.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_ruined_file_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(Some(folder.path())).unwrap();
        fs::write(state.path("ca.key"), "rubbish").unwrap();
        let error = format!("{:#}", Authority::open(&state).err().unwrap());
        assert!(error.contains("ca.key"), "{error}");
        assert_eq!(fs::read_to_string(state.path("ca.key")).unwrap(), "rubbish");
    }
}
