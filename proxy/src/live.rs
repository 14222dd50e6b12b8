//! What a request meets: parsed, immutable, shared by every core. After `Live::parse` nothing in it is malformed.

pub mod backend;
pub mod host;
pub mod http;
pub mod mapping;
pub mod mock;
pub mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use bundle::reply::{GatewayResponse, GatewayResponseType};
use bundle::route::Refusal;
use bundle::{ApiKind, BundleSet, Digest, StageBundle, StageKey};

use crate::dispatch::trie::Router;

/// Everything that is served.
#[derive(Default)]
pub struct Live {
    /// In the order of their keys.
    pub stages: Vec<Arc<Stage>>,
    pub hosts: host::Hosts,
}

/// One stage.
pub struct Stage {
    pub key: StageKey,
    pub digest: Digest,
    pub api_name: Box<str>,
    pub api_id: Box<str>,
    pub kind: ApiKind,
    /// `$context.stage`, first segment of the default URL.
    pub name: Box<str>,
    pub deployment: u64,
    pub account_id: Box<str>,
    pub region: Box<str>,
    pub variables: BTreeMap<String, String>,
    /// Path and verb to an index of `routes`.
    pub router: Router,
    pub routes: Vec<Route>,
    pub gateway_responses: BTreeMap<GatewayResponseType, GatewayResponse>,
}

/// One method of one resource.
pub struct Route {
    /// `/pets/{id}`.
    pub resource: Box<str>,
    pub resource_id: Box<str>,
    /// `GET`, or `ANY`.
    pub verb: Box<str>,
    /// Names of the path parameters, in the order of the path; a greedy one without its `+`.
    pub parameters: Vec<Box<str>>,
    pub action: Action,
}

/// What answers.
pub enum Action {
    Refuse(Refusal),
    Mock(mock::Mock),
    Http(http::Http),
    HttpProxy(http::HttpProxy),
    Backend(backend::Backend),
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
    /// taken over from `previous` as it is.
    pub fn parse(set: &BundleSet, previous: &Self) -> (Self, Vec<Broken>) {
        let mut broken = Vec::new();
        let known: BTreeMap<&StageKey, &Arc<Stage>> = previous.stages.iter().map(|stage| (&stage.key, stage)).collect();
        let mut stages: Vec<Arc<Stage>> = Vec::with_capacity(set.stages.len());
        for bundle in &set.stages {
            let digest = Digest::of_value(&**bundle);
            match known.get(&bundle.key) {
                Some(stage) if stage.digest == digest => stages.push(Arc::clone(stage)),
                _ => stages.push(Arc::new(Stage::parse(bundle, digest, &mut broken))),
            }
        }
        stages.sort_by(|a, b| a.key.cmp(&b.key));
        let hosts = host::Hosts::parse(&set.hosts, &stages, &mut broken);
        (Self { stages, hosts }, broken)
    }
}

impl Stage {
    fn parse(bundle: &StageBundle, digest: Digest, broken: &mut Vec<Broken>) -> Self {
        let _ = (bundle, digest, broken);
        unimplemented!("live helper")
    }
}
