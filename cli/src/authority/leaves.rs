//! Certificates of the local CA, issued as they are asked for.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use proxy::options::LocalCertificates;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, DnsName, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use super::SKEW;

/// How long a certificate is valid; browsers refuse much longer ones.
const VALIDITY: Duration = Duration::days(90);

/// One with less than this left is issued anew.
const RENEWAL: Duration = Duration::days(30);

/// Names remembered. A client may ask for any name, so there is a bound; the one issued first goes first.
const CAPACITY: usize = 1024;

/// Certificates of the local CA, remembered by name.
pub(crate) struct Leaves {
    issuer: Issuer<'static, KeyPair>,
    addresses: Vec<IpAddr>,
    /// The empty name is that of clients that send none.
    issued: Mutex<HashMap<String, Leaf>>,
}

struct Leaf {
    certificate: Arc<CertifiedKey>,
    expires: OffsetDateTime,
}

impl LocalCertificates for Leaves {
    fn certificate(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        self.certificate_at(name, OffsetDateTime::now_utc())
    }
}

impl Leaves {
    pub(super) fn new(issuer: Issuer<'static, KeyPair>, addresses: Vec<IpAddr>) -> Self {
        Self { issuer, addresses, issued: Mutex::new(HashMap::new()) }
    }

    fn certificate_at(&self, name: Option<&str>, now: OffsetDateTime) -> Option<Arc<CertifiedKey>> {
        let name = name.unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        if !name.is_empty() && DnsName::try_from(name.as_str()).is_err() {
            return None;
        }
        // Whoever panicked while holding the lock has left a map that is whole: entries are inserted at once.
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = issued.get(&name)
            && leaf.expires - now > RENEWAL
        {
            return Some(Arc::clone(&leaf.certificate));
        }
        let expires = now + VALIDITY;
        let certificate = match self.issue(&name, now, expires) {
            Ok(certificate) => Arc::new(certificate),
            Err(error) => {
                tracing::error!(name, %error, "cannot issue a certificate");
                return None;
            }
        };
        if issued.len() >= CAPACITY
            && let Some(oldest) = issued.iter().min_by_key(|(_, leaf)| leaf.expires).map(|(name, _)| name.clone())
        {
            issued.remove(&oldest);
        }
        issued.insert(name, Leaf { certificate: Arc::clone(&certificate), expires });
        Some(certificate)
    }

    fn issue(&self, name: &str, now: OffsetDateTime, expires: OffsetDateTime) -> anyhow::Result<CertifiedKey> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.not_before = now - SKEW;
        params.not_after = expires;
        params.subject_alt_names = self.subjects(name)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // The subject is empty of names: clients look at the alternative ones, and a common name ends at 64 letters.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Stagegate");
        let certificate: CertificateDer<'static> = params.signed_by(&key, &self.issuer)?.into();
        let signing_key = any_ecdsa_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))?;
        Ok(CertifiedKey::new(vec![certificate], signing_key))
    }

    fn subjects(&self, name: &str) -> anyhow::Result<Vec<SanType>> {
        if !name.is_empty() {
            return Ok(vec![SanType::DnsName(name.try_into()?)]);
        }
        let mut subjects = vec![SanType::DnsName("localhost".try_into()?), SanType::DnsName("*.localhost".try_into()?)];
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let others = self.addresses.iter().copied().filter(|address| !loopback.contains(address));
        subjects.extend(loopback.into_iter().chain(others).map(SanType::IpAddress));
        Ok(subjects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use crate::state::State;

    fn leaves() -> Leaves {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(&State::open(Some(folder.path())).unwrap()).unwrap().leaves(Vec::new())
    }

    #[test]
    fn a_name_keeps_its_certificate_until_it_nears_its_end() {
        let leaves = leaves();
        let now = OffsetDateTime::now_utc();
        let first = leaves.certificate_at(Some("orders.shop.localhost"), now).unwrap();
        let same = leaves.certificate_at(Some("Orders.shop.localhost"), now + Duration::days(59)).unwrap();
        assert!(Arc::ptr_eq(&first, &same));
        let renewed = leaves.certificate_at(Some("orders.shop.localhost"), now + Duration::days(61)).unwrap();
        assert!(!Arc::ptr_eq(&first, &renewed));
    }

    #[test]
    fn what_is_no_name_gets_no_certificate() {
        let leaves = leaves();
        for bad in ["a b", "-", "a..b", "x/y", &"a".repeat(64)] {
            assert!(leaves.certificate(Some(bad)).is_none(), "{bad}");
        }
        assert!(leaves.certificate(None).is_some());
    }

    #[test]
    fn names_remembered_have_a_bound() {
        let leaves = leaves();
        for index in 0..CAPACITY + 10 {
            leaves.certificate(Some(&format!("h{index}.localhost"))).unwrap();
        }
        assert_eq!(leaves.issued.lock().unwrap().len(), CAPACITY);
    }
}
