//! What a request meets: parsed, immutable, shared by every core. After `Live::parse` nothing in it is malformed.

pub mod api_key;
pub mod aws;
pub mod backend;
pub mod canary;
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
use std::sync::Arc;

use bundle::{BundleSet, HostBundle, StageBundle, StageKey, Stamped};

pub use stage::{Action, Route, Scope, Stage};

/// Everything that is served.
#[derive(Default)]
pub struct Live {
    /// In the order of their keys.
    pub stages: Vec<Arc<Stage>>,
    pub hosts: host::Hosts,
    /// Who may call where an API key is asked for.
    pub callers: Arc<api_key::Callers>,
}

/// A stage that shall be live.
pub enum Offered<'a> {
    /// The one that is: nothing of its bundle has to be kept for that.
    Known(&'a StageKey),
    Bundle(&'a Stamped<StageBundle>),
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
    /// Stages and their canaries.
    pub fn all_stages(&self) -> impl Iterator<Item = &Arc<Stage>> {
        self.stages.iter().flat_map(|stage| [Some(stage), stage.canary.as_ref().map(|canary| &canary.stage)]).flatten()
    }

    /// Parses a set of bundles. A stage whose bundle has the digest it had before is taken over from
    /// `previous` as it is. What is broken is told for all that is served, taken over or not.
    pub fn parse(set: &BundleSet, previous: &Self) -> (Self, Vec<Broken>) {
        let callers = api_key::Offer { plans: &set.plans, keys: &set.keys };
        Self::update(set.stages.iter().map(Offered::Bundle), &set.hosts, callers, previous)
    }

    /// The same, from stages that need not bring what is live already.
    pub fn update<'a>(
        stages: impl Iterator<Item = Offered<'a>>,
        hosts: &[Stamped<HostBundle>],
        callers: api_key::Offer<'_>,
        previous: &Self,
    ) -> (Self, Vec<Broken>) {
        let known: HashMap<&StageKey, &Arc<Stage>> = previous.stages.iter().map(|stage| (&stage.key, stage)).collect();
        let parse = |offered: Offered<'_>| match offered {
            Offered::Known(key) => known.get(key).map(|&before| Arc::clone(before)),
            Offered::Bundle(bundle) => Some(match known.get(&bundle.key) {
                Some(&before) if before.digest == bundle.digest => Arc::clone(before),
                _ => Arc::new(Stage::parse(bundle, bundle.digest.clone())),
            }),
        };
        let mut stages: Vec<Arc<Stage>> = stages.filter_map(parse).collect();
        stages.sort_by(|a, b| a.key.cmp(&b.key));
        stages.dedup_by(|a, b| a.key == b.key);
        let mut broken: Vec<Broken> = stages.iter().flat_map(|stage| stage.broken.iter().cloned()).collect();
        // Hosts know stages by their index.
        let same_places = stages.len() == previous.stages.len()
            && stages.iter().zip(&previous.stages).all(|(stage, before)| stage.key == before.key);
        let hosts = host::Hosts::parse(hosts, &stages, same_places.then_some(&previous.hosts), &mut broken);
        let callers = api_key::Callers::parse(callers, &previous.callers);
        (Self { stages, hosts, callers }, broken)
    }
}

#[cfg(test)]
mod tests;
