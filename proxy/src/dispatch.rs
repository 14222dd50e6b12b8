//! From a request to a route: host and base path → stage → method and path.

pub mod path;
pub mod pattern;
pub mod trie;

mod host;
mod identity;
mod method;

use std::rc::Rc;

use bundle::ApiKind;

use crate::core::Core;
use crate::dispatch::path::CanonicalPath;
use crate::exchange::{Exchange, Routed};
use crate::guard;
use crate::rejection::Rejection;

/// Longest path and query, in characters. Amazon's limit for regional APIs.
const URL_LENGTH: usize = 10_240;

/// Most bytes of header names and values together. Amazon's limit.
const HEADER_BYTES: usize = 10_240;

/// Sets `exchange.path` and `exchange.routed`.
///
/// # Errors
/// When the path is refused, or nothing is there.
pub fn dispatch(core: &Rc<Core>, exchange: &mut Exchange) -> Result<(), Rejection> {
    // First, so that every answer bears the client's own id.
    identity::adopt(exchange);
    if exchange.uri.path_and_query().map_or(0, |url| url.as_str().len()) > URL_LENGTH {
        return Err(Rejection::UriTooLong);
    }
    if exchange.steering.bytes > HEADER_BYTES {
        return Err(Rejection::HeadersTooLarge);
    }
    let live = core.live();
    let hosts = &live.live.hosts;
    let name = host::requested(exchange)?;
    let path = CanonicalPath::parse(&exchange.uri).map_err(Rejection::BadPath)?;
    if exchange.client.sni.as_deref().is_some_and(|sni| !hosts.share_tls(sni, name)) {
        return Err(Rejection::MisdirectedRequest);
    }
    let host = hosts.find(name).ok_or(Rejection::NoSuchStage)?;
    if !host.admits(exchange.client.certificate.as_deref()) {
        return Err(Rejection::MisdirectedRequest);
    }
    exchange.path = path;
    let path = exchange.path.as_str();
    guard::host(host)?;
    let (stage, end) = host.stage(path).ok_or(Rejection::NoSuchStage)?;
    let stage = live.stages.get(stage).ok_or(Rejection::NoSuchStage)?;
    let resource_start = resource_start(path, end);
    let (stage, custom_host) = (core.draw(stage), host.is_custom());
    let parameters = Vec::new();
    if stage.live.kind == ApiKind::Http {
        // An HTTP API has one name for a request, and it is never the client's.
        exchange.ids.request = exchange.ids.extended.clone();
    }
    exchange.routed = Some(Routed { stage, route: None, parameters, resource_start, preflight: false, custom_host });
    method::route(exchange)
}

/// Where the resource's path begins behind a stage's name or base path. Slashes after it count as one, and the path
/// keeps them all: `$context.path` shows them.
fn resource_start(path: &str, end: usize) -> usize {
    let slashes = path.as_bytes()[end..].iter().take_while(|&&byte| byte == b'/').count();
    end + slashes.saturating_sub(1)
}

#[cfg(test)]
mod tests;
