//! Certificates of those who certify clients: the `ca.crt` of a host's `clientCA`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

/// Where a Secret has them, as it is the custom of Kubernetes.
const ENTRY: &str = "ca.crt";
/// Most of them. Amazon's limit for a trust store.
const MAX: usize = 1000;

/// Reads the certificates of a Secret. What it says is for people; PEM comes back without anything else that was in the
/// entry.
///
/// # Errors
/// When there are none, or one of them certifies nobody.
pub(crate) fn read(name: &str, secret: &Secret) -> Result<String, String> {
    let string = secret.string_data.as_ref().and_then(|data| data.get(ENTRY)).map(|text| text.clone().into_bytes());
    let bytes = string.or_else(|| Some(secret.data.as_ref()?.get(ENTRY)?.0.clone()));
    let bytes = bytes.ok_or_else(|| format!("the Secret `{name}` has no entry `{ENTRY}`"))?;
    let mut pem = String::new();
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        count += 1;
        let certificate =
            certificate.map_err(|error| format!("`{ENTRY}` of the Secret `{name}` is no PEM text: {error}"))?;
        if !certifies(&certificate) {
            return Err(format!("certificate {count} in `{ENTRY}` of the Secret `{name}` is none of a CA"));
        }
        pem.push_str(&pem_of(&certificate));
    }
    match count {
        0 => Err(format!("there is no certificate in `{ENTRY}` of the Secret `{name}`")),
        1..=MAX => Ok(pem),
        _ => Err(format!("there are {count} certificates in `{ENTRY}` of the Secret `{name}`, more than {MAX}")),
    }
}

fn pem_of(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

/// Whether a certificate is a CA's. Those of the first version have no way to say so.
fn certifies(certificate: &[u8]) -> bool {
    let Ok((rest, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let says_so = matches!(certificate.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca);
    rest.is_empty() && (says_so || certificate.version() == X509Version::V1)
}
