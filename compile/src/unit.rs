//! One Stage, compiled.

use std::sync::Arc;

use bundle::host::Certificate;
use bundle::route::Refusal;
use bundle::stage::Canary;
use bundle::{ApiIdentity, Digest, StageBundle, StageKey, Stamped};

use crate::finding::{Finding, Findings, ObjectRef, Reason, Severity};
use crate::grant::{self, Grants, Holder, Withheld};
use crate::ident;
use crate::lower::{self, api::Api, stage::Settings};
use crate::read::escape;
use crate::world::contract::CompiledApi;
use crate::world::{CanaryInputs, Contract, ObjectKey, StageInputs};

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
    pub bundle: Option<Stamped<StageBundle>>,
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
    /// PEM of those who certify its clients.
    pub client_ca: Option<String>,
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
    let contract = &inputs.contract;
    let CompiledApi { api, findings: document } = contract.compiled();
    let mut findings = Findings::new(ObjectRef {
        kind: "Stage",
        namespace: inputs.key.namespace.clone(),
        name: inputs.key.name.clone(),
    });
    let mut settings = lower::stage::lower(inputs, api.as_ref(), &mut findings);
    findings.extend(inputs.findings.iter().chain(document).cloned());
    if let CanaryInputs::Promoted = inputs.canary {
        let promoted = settings.canary_variables.iter().map(|(name, value)| (name.clone(), value.clone()));
        settings.variables.extend(promoted);
    }
    let default_host = api.as_ref().is_some_and(|api| api.default_host) && settings.named;
    if default_host && let Some(index) = inputs.spec.hosts.iter().position(|host| host.client_ca.is_some()) {
        let text = "the API's default host asks for no client certificates";
        findings.object(Severity::Warning, Reason::DefaultHostOpen, format!("/spec/hosts/{index}/clientCA"), text);
        findings.help("`disableExecuteApiEndpoint: true` in the document's `x-amazon-apigateway-endpoint-configuration` closes it");
    }
    let routes = api.as_ref().map_or(0, |api| api.routes.len());
    let bundle = api.as_ref().and_then(|api| {
        let mut bundle = stage_bundle(inputs, &settings, contract, api, inputs.deployment);
        bundle.canary = canary(inputs, &settings, &mut findings).map(Box::new);
        withhold(&mut bundle, contract, &inputs.grants, &mut findings);
        encoded(bundle, &mut findings)
    });
    let compiled = !findings.has_errors();
    Unit {
        key: inputs.key.clone(),
        api: contract.api.clone(),
        stage_name: settings.stage_name,
        gateway: settings.gateway,
        bundle,
        hosts: settings.hosts,
        default_host,
        routes,
        findings: findings.into_sorted(),
        compiled,
        created: inputs.created.clone(),
    }
}

/// Findings about an ApiDefinition by itself: for those that no Stage uses.
pub fn check_api(contract: &Contract) -> Vec<Finding> {
    contract.compiled().findings.clone()
}

fn stage_bundle(
    inputs: &StageInputs,
    settings: &Settings,
    contract: &Contract,
    api: &Api,
    deployment: u64,
) -> StageBundle {
    StageBundle {
        key: inputs.key.clone(),
        api: ApiIdentity {
            name: contract.api.name.clone(),
            id: ident::api_id(&contract.api.namespace, &contract.api.name),
            kind: api.kind,
        },
        stage_name: settings.stage_name.clone(),
        deployment,
        account_id: settings.account_id.clone(),
        region: settings.region.clone(),
        variables: settings.variables.clone(),
        routes: api.routes.clone(),
        gateway_responses: api.gateway_responses.clone(),
        binary_media_types: api.binary_media_types.clone(),
        minimum_compression_size: api.minimum_compression_size,
        functions: settings.functions.clone(),
        aws: settings.aws.clone(),
        models: api.models.clone(),
        cors: api.cors.clone(),
        canary: None,
    }
}

/// The canary, with its variables laid over the stage's. One that does not compile any more is an error of the Stage:
/// what was served goes on.
fn canary(inputs: &StageInputs, settings: &Settings, findings: &mut Findings) -> Option<Canary> {
    let written = inputs.spec.canary.as_ref()?;
    let CanaryInputs::Share { deployment, contract } = &inputs.canary else { return None };
    let CompiledApi { api, findings: document } = contract.compiled();
    let error = document.iter().find(|finding| finding.severity == Severity::Error);
    let (Some(api), None) = (api, error) else {
        let why = error.map(|finding| format!(": {} {}", finding.pointer, finding.message)).unwrap_or_default();
        let text = format!("deployment {deployment} does not compile{why}");
        findings.object(Severity::Error, Reason::ApiNotCompiled, "/spec/canary/deployment", text);
        return None;
    };
    let mut stage = stage_bundle(inputs, settings, contract, api, *deployment);
    let own = settings.canary_variables.iter().map(|(name, value)| (name.clone(), value.clone()));
    stage.variables.extend(own);
    let use_stage_cache = written.use_stage_cache.unwrap_or(false);
    Some(Canary { percent: written.percent, use_stage_cache, stage })
}

/// Takes out what no ReferenceGrant allows. A warning, not an error: what was served before must not go on.
fn withhold(bundle: &mut StageBundle, contract: &Contract, grants: &Grants, findings: &mut Findings) {
    for Withheld { of, refusal } in grant::withhold(bundle, grants) {
        let text = refusal.message;
        match of {
            Holder::Function(name) => {
                let at = format!("/spec/functions/{}/service/namespace", escape(&name));
                findings.object(Severity::Warning, Reason::RefNotPermitted, at, text);
            }
            Holder::Backend => {
                let mut found = Findings::new(contract.api.object("ApiDefinition"));
                let at = "/spec/backend/service/namespace";
                found.object(Severity::Warning, Reason::RefNotPermitted, at, text);
                findings.extend(found.into_sorted());
            }
        }
    }
}

/// The bundle with its digest, unless it is larger than a proxy reads.
fn encoded(bundle: StageBundle, findings: &mut Findings) -> Option<Stamped<StageBundle>> {
    let bytes = serde_json::to_vec(&bundle).unwrap_or_default();
    if bytes.len() > bundle::codec::MAX_BYTES {
        let text =
            format!("the bundle has {} bytes, more than the {} a proxy reads", bytes.len(), bundle::codec::MAX_BYTES);
        findings.object(Severity::Error, Reason::DocumentTooLarge, "/spec/apiRef", text);
        return None;
    }
    Some(Stamped { digest: Digest::of(&bytes), content: Arc::new(bundle) })
}
