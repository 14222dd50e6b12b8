//! The certificate that a client has shown, and how `$context.identity.clientCert` shows it.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate, X509Name};

use crate::live::host::ClientCa;

/// A client's certificate, good when its connection was made.
#[derive(Debug)]
pub struct ClientCertificate {
    /// Who certified it.
    pub ca: Arc<ClientCa>,
    /// Its own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Made when it is first asked for, then kept for all requests of the connection.
    shown: OnceLock<Shown>,
}

/// Members of `$context.identity.clientCert`, in Amazon's order. A text is empty where the certificate is odd.
#[derive(Debug, Default)]
pub struct Shown {
    pub pem: String,
    pub subject: String,
    pub issuer: String,
    pub serial: String,
    pub not_before: String,
    pub not_after: String,
}

impl ClientCertificate {
    pub fn new(ca: Arc<ClientCa>, chain: Vec<CertificateDer<'static>>) -> Self {
        Self { ca, chain, shown: OnceLock::new() }
    }

    pub fn shown(&self) -> &Shown {
        self.shown.get_or_init(|| self.chain.first().map(|own| Shown::of(own)).unwrap_or_default())
    }
}

impl Shown {
    fn of(certificate: &[u8]) -> Self {
        let pem = pem(certificate);
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
            return Self { pem, ..Self::default() };
        };
        let validity = certificate.validity();
        Self {
            pem,
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            serial: serial(certificate.raw_serial()),
            not_before: time(validity.not_before),
            not_after: time(validity.not_after),
        }
    }
}

fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = String::with_capacity(text.len() * 66 / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// `C=US,ST=Washington,O=Example,CN=client`: in the certificate's order, as Amazon shows it. What would look like another
/// part of the name is escaped (RFC 4514), or whoever may choose one part could claim the next.
fn name(name: &X509Name<'_>) -> String {
    let mut shown = String::new();
    for part in name.iter_rdn() {
        for (index, attribute) in part.iter().enumerate() {
            if !shown.is_empty() {
                shown.push(if index == 0 { ',' } else { '+' });
            }
            match oid2abbrev(attribute.attr_type(), oid_registry()) {
                Ok(kind) => shown.push_str(kind),
                Err(_) => shown.push_str(&attribute.attr_type().to_id_string()),
            }
            shown.push('=');
            match attribute.as_str() {
                Ok(value) => escape(value, &mut shown),
                // No text: its octets, as RFC 4514 writes them.
                Err(_) => {
                    shown.push('#');
                    shown.extend(attribute.as_slice().iter().map(|octet| format!("{octet:02x}")));
                }
            }
        }
    }
    shown
}

fn escape(value: &str, shown: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let edge = (index == 0 && matches!(character, ' ' | '#')) || (index == last && character == ' ');
        if edge || matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') {
            shown.push('\\');
        }
        shown.push(character);
    }
}

/// As OpenSSL writes it: what fits a word as a decimal number, what does not as octets in hexadecimal, `a1:b2:…`.
fn serial(octets: &[u8]) -> String {
    let first = octets.iter().position(|&octet| octet != 0).unwrap_or(octets.len());
    let octets = &octets[first..];
    if octets.len() < 8 {
        return octets.iter().fold(0_u64, |number, &octet| number << 8 | u64::from(octet)).to_string();
    }
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

/// `Aug  5 09:36:04 2021 GMT`.
fn time(time: ASN1Time) -> String {
    let Ok(time) = Timestamp::from_second(time.timestamp()) else { return String::new() };
    time.strftime("%b %e %H:%M:%S %Y GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers() {
        assert_eq!(serial(&[1]), "1");
        assert_eq!(serial(&[0, 1, 0]), "256");
        assert_eq!(serial(&[]), "0");
        assert_eq!(serial(&[0, 0xa1, 2, 3, 4, 5, 6, 7, 8]), "a1:02:03:04:05:06:07:08");
    }

    #[test]
    fn a_certificate_as_functions_see_it() {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in [
            (rcgen::DnType::CountryName, "US"),
            (rcgen::DnType::OrganizationName, "Example, CN=Inc."),
            (rcgen::DnType::CommonName, "client"),
        ] {
            parameters.distinguished_name.push(kind, value);
        }
        parameters.serial_number = Some(7_u64.into());
        parameters.not_before = rcgen::date_time_ymd(2019, 5, 28);
        parameters.not_after = rcgen::date_time_ymd(2121, 8, 5);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let shown = Shown::of(certificate.der());
        assert_eq!(shown.subject, "C=US,O=Example\\, CN\\=Inc.,CN=client");
        assert_eq!(shown.issuer, shown.subject);
        assert_eq!((&*shown.serial, &*shown.not_before), ("7", "May 28 00:00:00 2019 GMT"));
        assert_eq!(shown.not_after, "Aug  5 00:00:00 2121 GMT");
        let theirs = certificate.pem().replace("\r\n", "\n");
        assert_eq!(shown.pem, theirs);
    }
}
