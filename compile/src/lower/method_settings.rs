//! Settings of methods of a stage.

use bundle::route::{Route, Verb};
use crds::methods::{LogLevel, Logging, MethodCache, MethodSetting, Metrics, Throttle};

use super::draft::note;
use crate::finding::{Findings, Reason, Severity};
use crate::support::Feature;

const MAX_TTL: u32 = 3_600;

/// Checks the settings. None of them is served yet.
pub(super) fn lower(settings: &[MethodSetting], routes: &[Route], findings: &mut Findings) {
    for (index, setting) in settings.iter().enumerate() {
        let MethodSetting { method, path, throttle, cache, metrics, logging } = setting;
        let at = format!("/spec/methodSettings/{index}");
        let every_path = path == "/*";
        // The setting for everything is never a mistake, even while there is nothing.
        let everything = every_path && method == "*";
        let known = everything
            || routes.iter().any(|route| {
                (every_path || route.resource == *path) && (method == "*" || matches_verb(&route.verb, method))
            });
        if !known {
            let text = format!("the API has no method `{method} {path}`");
            findings.object(Severity::Warning, Reason::InvalidSetting, at.clone(), text);
        }
        if let Some(throttle) = throttle {
            check_throttle(throttle, &format!("{at}/throttle"), findings);
            note(findings, Feature::Throttle, false, &format!("{at}/throttle"));
        }
        if let Some(cache) = cache {
            check_cache(cache, &format!("{at}/cache"), findings);
        }
        if let Some(Metrics { detailed: true }) = metrics {
            note(findings, Feature::DetailedMetrics, false, &format!("{at}/metrics"));
        }
        if let Some(Logging { level, data_trace }) = logging
            && (!matches!(level, None | Some(LogLevel::Off)) || *data_trace == Some(true))
        {
            note(findings, Feature::ExecutionLog, false, &format!("{at}/logging"));
        }
    }
}

fn matches_verb(verb: &Verb, method: &str) -> bool {
    match verb {
        Verb::Any => true,
        Verb::One(verb) => verb.eq_ignore_ascii_case(method),
    }
}

pub(super) fn check_throttle(throttle: &Throttle, at: &str, findings: &mut Findings) {
    let Throttle { rate, burst: _ } = throttle;
    if !rate.is_finite() || *rate < 0.0 {
        findings.object(Severity::Error, Reason::InvalidSetting, format!("{at}/rate"), "a rate is 0 or more");
    }
}

fn check_cache(cache: &MethodCache, at: &str, findings: &mut Findings) {
    let MethodCache {
        enabled,
        ttl_seconds,
        require_authorization_for_cache_control: _,
        unauthorized_cache_control_header_strategy: _,
    } = cache;
    if ttl_seconds.is_some_and(|ttl| ttl > MAX_TTL) {
        let text = format!("answers are kept for 0 to {MAX_TTL} seconds");
        findings.object(Severity::Error, Reason::InvalidSetting, format!("{at}/ttlSeconds"), text);
    }
    if *enabled != Some(false) {
        note(findings, Feature::Cache, false, at);
    }
}
