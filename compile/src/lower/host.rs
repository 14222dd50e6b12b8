//! Custom hosts of a Stage.

use bundle::host::Certificate;
use crds::stage::Host;

use super::draft::refusal;
use crate::finding::{Findings, Reason, Severity};
use crate::unit::{HostClaim, TlsSettings};
use crate::world::StageInputs;

const MAX_HOST: usize = 253;
const MAX_BASE_PATH: usize = 300;

/// Reads the hosts; those that cannot be are left out.
pub(super) fn lower(hosts: &[Host], inputs: &StageInputs, findings: &mut Findings) -> Vec<HostClaim> {
    let mut claims: Vec<HostClaim> = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let Host { name, base_path, tls, client_ca } = host;
        let at = format!("/spec/hosts/{index}");
        let host = host_name(name);
        if host.is_none() {
            let text = format!("`{name}` is no host: want `api.example.com`, `*.example.com` or `*`");
            findings.object(Severity::Error, Reason::InvalidHost, format!("{at}/name"), text);
        }
        let written = base_path.as_deref().unwrap_or("/");
        let path = normal_base_path(written);
        if path.is_none() {
            let text = format!("`{written}` is no base path: want `/orders/v2`, at most {MAX_BASE_PATH} characters");
            findings.object(Severity::Error, Reason::InvalidBasePath, format!("{at}/basePath"), text);
        }
        let (Some(host), Some(base_path)) = (host, path) else { continue };
        let settings = TlsSettings {
            certificate: tls.as_ref().map(|tls| tls.secret_name.clone()),
            client_ca: client_ca.as_ref().map(|ca| ca.secret_name.clone()),
        };
        if let Some(known) = claims.iter_mut().find(|known| known.host == host && known.base_path == base_path) {
            let text = format!("the Stage has `{host}{base_path}` twice");
            if known.tls != settings {
                // Which of them is meant is not known, and one may ask for client certificates.
                known.refuse = Some(refusal(Reason::HostConflict, &text));
            }
            findings.object(Severity::Error, Reason::HostConflict, at, text);
            continue;
        }
        // Whoever resolved the Secrets has told what is wrong with one that is not here.
        let client_ca = settings.client_ca.as_ref().and_then(|name| inputs.client_cas.get(name)).cloned();
        let unknown = settings.client_ca.as_ref().filter(|_| client_ca.is_none());
        let refuse = unknown.map(|name| {
            let text = format!("whose client certificates to trust is not known: see the Secret `{name}`");
            refusal(Reason::InvalidSecret, &text)
        });
        let certificate = settings.certificate.as_ref().and_then(|name| inputs.certificates.get(name)).cloned();
        let certificate = certificate.unwrap_or(Certificate::Local);
        claims.push(HostClaim { index, host, base_path, certificate, client_ca, tls: settings, refuse });
    }
    claims
}

/// A host in lower case.
fn host_name(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    if name == "*" {
        return Some(name);
    }
    let rest = name.strip_prefix("*.").unwrap_or(&name);
    let digits_only = rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // An address is a host too, but not below a wildcard.
    let address = name.parse::<std::net::Ipv4Addr>().is_ok();
    let labels = name.len() <= MAX_HOST && rest.split('.').all(is_label) && !digits_only;
    (labels || address).then_some(name)
}

/// A DNS label: lower-case letters, digits and inner `-`.
pub(super) fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A base path without a trailing slash.
fn normal_base_path(path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?;
    if rest.is_empty() {
        return Some("/".to_owned());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"$-_.+!*'()".contains(&byte);
    let segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(legal);
    (path.len() <= MAX_BASE_PATH && rest.split('/').all(segment)).then(|| format!("/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (name, host) in [
            ("API.example.com", "api.example.com"),
            ("*.example.com", "*.example.com"),
            ("*", "*"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(host_name(name).as_deref(), Some(host));
        }
        for bad in ["", "a:80", "a..b", "-a.b", "a_b.c", "*.", "**.a", "a.*.b", "http://a", "1.2.3", "é.example"] {
            assert_eq!(host_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn base_paths() {
        for (path, normal) in [("/", "/"), ("/a/", "/a"), ("/a/v1.2", "/a/v1.2")] {
            assert_eq!(normal_base_path(path).as_deref(), Some(normal));
        }
        for bad in ["", "a", "//", "/a//b", "/a b", "/../a", "/{x}", "/a?b"] {
            assert_eq!(normal_base_path(bad), None, "{bad}");
        }
    }
}
