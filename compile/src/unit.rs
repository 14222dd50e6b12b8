//! One Stage, compiled.

use std::sync::Arc;

use bundle::host::Certificate;
use bundle::route::Refusal;
use bundle::{Digest, StageBundle, StageKey};

use crate::finding::Finding;
use crate::world::{Contract, ObjectKey, StageInputs};

/// One Stage, compiled.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The Stage.
    pub key: StageKey,
    /// The ApiDefinition it serves.
    pub api: ObjectKey,
    /// First path segment of the default URL.
    pub stage_name: String,
    /// Name of the gateway that shall serve it.
    pub gateway: String,
    /// What a proxy serves. Present also beside errors wherever the broken parts could be left out or refused alone;
    /// whoever has an older one without errors goes on with that, see `compiled`.
    pub bundle: Option<Arc<StageBundle>>,
    /// Digest of the bundle.
    pub digest: Option<Digest>,
    /// Custom hosts it asks for.
    pub hosts: Vec<HostClaim>,
    /// Whether it also answers under the API's default host.
    pub default_host: bool,
    /// Number of routes.
    pub routes: usize,
    /// Everything found, sorted.
    pub findings: Vec<Finding>,
    /// No finding is an error.
    pub compiled: bool,
    /// `metadata.creationTimestamp`: the older claim on a host wins.
    pub created: Option<String>,
}

/// A host that a Stage asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct HostClaim {
    /// Number in `spec.hosts`.
    pub index: usize,
    /// Lower case; `*` for hosts nobody else claims.
    pub host: String,
    /// `/` or `/orders/v2`.
    pub base_path: String,
    /// What TLS shows.
    pub certificate: Certificate,
    /// Names of the Secrets, to see whether two Stages agree.
    pub tls: TlsSettings,
    /// Set: the host must not be served, see the reason.
    pub refuse: Option<Refusal>,
}

/// TLS settings of a host as a Stage names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `tls.secretName`.
    pub certificate: Option<String>,
    /// `clientCA.secretName`.
    pub client_ca: Option<String>,
}

/// Compiles one Stage. Never fails: what is wrong is in the findings.
pub fn compile_stage(inputs: &StageInputs) -> Unit {
    let _ = inputs;
    unimplemented!()
}

/// Findings about an ApiDefinition by itself: for those that no Stage uses.
pub fn check_api(contract: &Contract) -> Vec<Finding> {
    contract.findings.clone()
}
