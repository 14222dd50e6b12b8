//! A Stage: what is live of an API, with which settings.

use std::collections::BTreeMap;

use bundle::integration::BackendTarget;
use bundle::{ApiKind, StageKey};
use crds::StageSpec;
use crds::reference::NameRef;
use crds::stage::{AccessLog, Canary, Function, StageCache};

use super::api::Api;
use super::draft::note;
use super::{aws, backend, endpoint, host, method_settings, variable};
use crate::finding::{Findings, Reason, Severity};
use crate::quantity;
use crate::read::escape;
use crate::support::Feature;
use crate::unit::HostClaim;
use crate::world::StageInputs;

const MAX_STAGE_NAME: usize = 128;

/// What a Stage's own spec says.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) stage_name: String,
    /// The name can be a path's segment.
    pub(crate) named: bool,
    pub(crate) gateway: String,
    pub(crate) hosts: Vec<HostClaim>,
    pub(crate) variables: BTreeMap<String, String>,
    /// Variables that differ in the canary.
    pub(crate) canary_variables: BTreeMap<String, String>,
    pub(crate) account_id: String,
    pub(crate) region: String,
    pub(crate) functions: BTreeMap<String, BackendTarget>,
    pub(crate) aws: bundle::aws::Aws,
}

/// Lowers a Stage's spec.
pub(crate) fn lower(inputs: &StageInputs, api: Option<&Api>, findings: &mut Findings) -> Settings {
    let StageSpec {
        api_ref: NameRef { name: _ },
        stage_name,
        deploy_policy: _,
        history_limit: _,
        gateway,
        hosts,
        variables,
        method_settings,
        cache,
        canary,
        access_log,
        functions,
        aws,
        // Decides about AWS_IAM methods only, and those are refused where they stand.
        principals: _,
    } = &*inputs.spec;
    let kind = api.map(|api| api.kind).unwrap_or_default();
    let (stage_name, named) = name(stage_name.as_deref(), &inputs.key, kind, findings);
    let routes = api.map(|api| api.routes.as_slice()).unwrap_or_default();
    method_settings::lower(method_settings, routes, findings);
    if let Some(cache) = cache {
        check_cache(cache, findings);
    }
    let mut canary_variables = BTreeMap::new();
    if let Some(Canary { deployment: _, percent, variables, use_stage_cache: _ }) = canary {
        if !(0.0..=100.0).contains(percent) {
            findings.object(Severity::Error, Reason::InvalidSetting, "/spec/canary/percent", "a share is 0 to 100");
        }
        canary_variables = variable::lower(variables, "/spec/canary/variables", findings);
    }
    if let Some(AccessLog { format }) = access_log {
        if !format.contains("$context.requestId") && !format.contains("$context.extendedRequestId") {
            let text = "the format must hold `$context.requestId` or `$context.extendedRequestId`";
            findings.object(Severity::Error, Reason::InvalidSetting, "/spec/accessLog/format", text);
        }
        note(findings, Feature::AccessLogFormat, false, "/spec/accessLog/format");
    }
    let mut targets = BTreeMap::new();
    for (name, function) in functions {
        match self::function(function, &inputs.key.namespace) {
            Ok(target) => drop(targets.insert(name.clone(), target)),
            Err((reason, text)) => {
                findings.object(Severity::Error, reason, format!("/spec/functions/{}", escape(name)), text);
            }
        }
    }
    let aws::Settings { region, account_id, calls } =
        aws.as_ref().map(|written| aws::settings(written, inputs.access_key.as_ref(), findings)).unwrap_or_default();
    Settings {
        stage_name,
        named,
        gateway: gateway.clone().unwrap_or_else(|| "default".to_owned()),
        hosts: host::lower(hosts, inputs, findings),
        variables: variable::lower(variables, "/spec/variables", findings),
        canary_variables,
        account_id: account_id.unwrap_or_else(|| inputs.account_id.clone()),
        region: region.unwrap_or_else(|| inputs.region.clone()),
        functions: targets,
        aws: calls,
    }
}

fn name(written: Option<&str>, key: &StageKey, kind: ApiKind, findings: &mut Findings) -> (String, bool) {
    let name = written.unwrap_or(&key.name);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let plain = (1..=MAX_STAGE_NAME).contains(&name.len()) && name.bytes().all(legal);
    let fine = plain || (kind == ApiKind::Http && name == "$default");
    if !fine {
        let pointer = if written.is_some() { "/spec/stageName" } else { "/metadata/name" };
        let text = format!("`{name}` is no stage name: 1 to {MAX_STAGE_NAME} letters, digits, `_` and `-`");
        findings.object(Severity::Error, Reason::InvalidStageName, pointer, text);
        findings.help("set `spec.stageName`");
    }
    (name.to_owned(), fine)
}

fn check_cache(cache: &StageCache, findings: &mut Findings) {
    let StageCache { enabled, size, encrypted: _ } = cache;
    if let Some(size) = size
        && quantity::bytes(size).is_none_or(|bytes| bytes == 0)
    {
        let text = format!("`{size}` is no quantity as `256Mi`");
        findings.object(Severity::Error, Reason::InvalidSetting, "/spec/cache/size", text);
    }
    if *enabled {
        note(findings, Feature::Cache, false, "/spec/cache");
    }
}

/// Who answers for a function.
fn function(function: &Function, own: &str) -> Result<BackendTarget, (Reason, String)> {
    let Function { service, url } = function;
    match (service, url) {
        (Some(service), None) => backend::service_target(own, service).map_err(|(reason, _, text)| match reason {
            Reason::InvalidBackend => (Reason::InvalidFunction, text),
            reason => (reason, text),
        }),
        (None, Some(url)) if endpoint::is_http_uri(url) && !url.contains(['?', '#', '{']) => {
            Ok(BackendTarget::Url(url.clone()))
        }
        (None, Some(url)) => Err((Reason::InvalidFunction, format!("`{url}` is no absolute http or https URL"))),
        (None, None) | (Some(_), Some(_)) => {
            Err((Reason::InvalidFunction, "exactly one of `service` and `url` is needed".to_owned()))
        }
    }
}
