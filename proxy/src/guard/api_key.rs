//! API keys: a request shows one of a plan that names the Stage.

use std::rc::Rc;

use bundle::KeyDigest;
use bundle::api_key::{MAX_LENGTH, MIN_LENGTH};

use crate::core::Core;
use crate::exchange::{API_KEY, Caller, Exchange};
use crate::live::api_key::Unknown;
use crate::rejection::Rejection;

/// Lets a request with a key pass, and notes whose it is.
///
/// # Errors
/// When the key is missing, unknown, switched off, or of no plan that names the Stage: all the same to the client.
pub(super) fn check(core: &Core, exchange: &mut Exchange) -> Result<(), Rejection> {
    let routed = exchange.routed.as_ref().ok_or(Rejection::NoSuchMethod)?;
    let mut sent = exchange.headers.get_all(&API_KEY).iter();
    let key = match (sent.next(), sent.next()) {
        (Some(key), None) => key.as_bytes(),
        (None, _) => return Err(Rejection::InvalidApiKey("no API key was sent")),
        // Whoever reads another of them than the gateway would see another caller.
        (Some(_), Some(_)) => return Err(Rejection::InvalidApiKey("several API keys were sent")),
    };
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&key.len()) {
        return Err(Rejection::InvalidApiKey(UNKNOWN));
    }
    // The digest is what is compared: how long that takes says nothing about keys.
    let digest = KeyDigest::of(key);
    let callers = Rc::clone(&core.live().callers);
    let place = callers.find(&routed.stage.live.key, &digest).map_err(|unknown| {
        Rejection::InvalidApiKey(match unknown {
            Unknown::Key => UNKNOWN,
            Unknown::Plan => "the API key is of no plan that names the Stage",
        })
    })?;
    exchange.record.caller = Some(Caller { callers, place });
    Ok(())
}

const UNKNOWN: &str = "there is no such API key, or it is switched off";
