//! `backend`: our own reverse proxy.

use bundle::integration::{Backend, BackendTarget, Scheme};
use bundle::route::Refusal;
use crds::backend::{Backend as Written, ServiceRef, ServiceScheme};

use super::draft::refusal;
use super::endpoint::is_http_uri;
use super::host::is_label;
use crate::finding::{Findings, Reason, Severity};
use crate::quantity;
use crate::world::Contract;

const RESPONSE_HEADER_TIMEOUT_MS: u64 = 30_000;
const IDLE_TIMEOUT_MS: u64 = 300_000;
const MAX_BODY_BYTES: u64 = 10 << 20;

/// Lowers the API's backend: `None` when there is none, a refusal for its routes when it cannot be used.
pub(super) fn lower(contract: &Contract, findings: &mut Findings) -> Option<Result<Backend, Refusal>> {
    let Written { service, url, response_header_timeout, idle_timeout, max_body_bytes } = contract.backend.as_ref()?;
    let mut first = None;
    let mut fail = |reason, field: &str, text: String, findings: &mut Findings| {
        first.get_or_insert_with(|| refusal(reason, &text));
        let severity = if reason == Reason::InvalidBackend { Severity::Error } else { Severity::Warning };
        findings.object(severity, reason, format!("/spec/backend{field}"), text);
    };
    let mut amount = |field: &str,
                      text: &Option<String>,
                      parse: fn(&str) -> Option<u64>,
                      default,
                      findings: &mut Findings| {
        let Some(text) = text else { return default };
        parse(text).filter(|value| *value > 0).unwrap_or_else(|| {
            fail(Reason::InvalidBackend, field, format!("`{text}` is no amount as `30s`, `500ms` or `10Mi`"), findings);
            default
        })
    };
    let response_header_timeout_ms = amount(
        "/responseHeaderTimeout",
        response_header_timeout,
        quantity::duration_ms,
        RESPONSE_HEADER_TIMEOUT_MS,
        findings,
    );
    let idle_timeout_ms = amount("/idleTimeout", idle_timeout, quantity::duration_ms, IDLE_TIMEOUT_MS, findings);
    let max_body_bytes = amount("/maxBodyBytes", max_body_bytes, quantity::bytes, MAX_BODY_BYTES, findings);
    let target = match (service, url) {
        (Some(service), None) => service_target(&contract.api.namespace, service),
        (None, Some(url)) if is_http_uri(url) && !url.contains(['?', '#']) => Ok(BackendTarget::Url(url.clone())),
        (None, Some(url)) => {
            let text = format!("`{url}` is no absolute http or https URL without a query");
            Err((Reason::InvalidBackend, "/url", text))
        }
        _ => Err((Reason::InvalidBackend, "", "exactly one of `service` and `url` is needed".to_owned())),
    };
    let target = match target {
        Ok(target) => Some(target),
        Err((reason, field, text)) => {
            fail(reason, field, text, findings);
            None
        }
    };
    Some(match (first, target) {
        (None, Some(target)) => Ok(Backend { target, response_header_timeout_ms, idle_timeout_ms, max_body_bytes }),
        (refused, _) => Err(refused.unwrap_or_else(|| refusal(Reason::InvalidBackend, "the backend cannot be used"))),
    })
}

/// Where a Service is. Whether it may be referred to is the Stage's matter: grants come and go, the contract stays.
pub(super) fn service_target(own: &str, service: &ServiceRef) -> Result<BackendTarget, (Reason, &'static str, String)> {
    let ServiceRef { name, namespace, port, scheme } = service;
    let namespace = namespace.as_deref().unwrap_or(own);
    if !is_label(name) || !is_label(namespace) {
        let text = format!("`{namespace}/{name}` names no Service: lower-case letters, digits and `-`");
        return Err((Reason::InvalidBackend, "/service", text));
    }
    if *port == 0 {
        return Err((Reason::InvalidBackend, "/service/port", "a port is 1 to 65535".to_owned()));
    }
    let scheme = match scheme {
        None | Some(ServiceScheme::Http) => Scheme::Http,
        Some(ServiceScheme::Https) => Scheme::Https,
        Some(ServiceScheme::H2c) => Scheme::H2c,
    };
    Ok(BackendTarget::Service { namespace: namespace.to_owned(), name: name.clone(), port: *port, scheme })
}
