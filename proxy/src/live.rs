//! What a request meets: parsed, immutable, shared by every core. After `Live::parse` nothing in it is malformed.

pub mod aws;
pub mod backend;
pub mod cors;
pub mod custom;
pub mod gateway_response;
pub mod host;
pub mod http;
pub mod http_api;
pub mod lambda;
pub mod mapping;
pub mod mock;
pub mod payload;
pub mod selection;
pub mod stage;
pub mod template;
pub mod text;
pub mod validation;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bundle::{BundleSet, Digest, StageBundle, StageKey};

pub use stage::{Action, Route, Scope, Stage};

/// Everything that is served.
#[derive(Default)]
pub struct Live {
    /// In the order of their keys.
    pub stages: Vec<Arc<Stage>>,
    pub hosts: host::Hosts,
    /// By the index of `stages`: what each was parsed from. A `Weak` keeps the address from being used again, not the
    /// content.
    pub(crate) origins: Vec<Weak<StageBundle>>,
}

/// Something in a bundle that this proxy cannot serve; the route it belongs to answers 500.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub stage: StageKey,
    /// Verb and resource, empty for the stage as a whole.
    pub route: String,
    pub message: String,
}

impl Live {
    /// Parses a set of bundles. A stage whose bundle is the same `Arc` as before (or has the same digest) is
    /// taken over from `previous` as it is; only an `Arc` that was not seen before is hashed. What is broken is told
    /// for all that is served, taken over or not.
    pub fn parse(set: &BundleSet, previous: &Self) -> (Self, Vec<Broken>) {
        let known: HashMap<&StageKey, usize> =
            previous.stages.iter().enumerate().map(|(index, stage)| (&stage.key, index)).collect();
        let parse = |bundle: &Arc<StageBundle>| {
            let stage = match known.get(&bundle.key) {
                Some(&index) => Stage::renew(&previous.stages[index], previous.origins.get(index), bundle),
                None => Arc::new(Stage::parse(bundle, Digest::of_value(&**bundle))),
            };
            (stage, Arc::downgrade(bundle))
        };
        let mut parsed: Vec<_> = set.stages.iter().map(parse).collect();
        parsed.sort_by(|(a, _), (b, _)| a.key.cmp(&b.key));
        parsed.dedup_by(|(a, _), (b, _)| a.key == b.key);
        let (stages, origins): (Vec<_>, Vec<_>) = parsed.into_iter().unzip();
        let mut broken: Vec<Broken> = stages.iter().flat_map(|stage| stage.broken.iter().cloned()).collect();
        // Hosts know stages by their index.
        let same_places = stages.len() == previous.stages.len()
            && stages.iter().zip(&previous.stages).all(|(stage, before)| stage.key == before.key);
        let hosts = host::Hosts::parse(&set.hosts, &stages, same_places.then_some(&previous.hosts), &mut broken);
        (Self { stages, hosts, origins }, broken)
    }
}

#[cfg(test)]
mod tests;
