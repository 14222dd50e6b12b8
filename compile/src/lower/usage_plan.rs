//! Usage plans: who may call how much. Checked, and not served yet; methods that want an API key are refused where
//! they stand.

use std::collections::BTreeSet;

use crds::UsagePlanSpec;
use crds::usage_plan::{ApiKeys, PlanMethod, PlanStage, Quota};

use super::draft::note;
use super::method_settings::check_throttle;
use crate::finding::{Findings, Reason, Severity};
use crate::support::Feature;

/// Methods with a limit of their own per stage.
const MAX_METHODS: usize = 20;

/// Checks a plan; `stages` are the names of those in its namespace.
pub(crate) fn check(spec: &UsagePlanSpec, stages: &BTreeSet<&str>, findings: &mut Findings) {
    let UsagePlanSpec { stages: planned, throttle, quota, api_keys } = spec;
    for (index, PlanStage { name, methods }) in planned.iter().enumerate() {
        let at = format!("/spec/stages/{index}");
        if !stages.contains(name.as_str()) {
            let text = format!("there is no Stage `{name}` in the plan's namespace");
            findings.object(Severity::Warning, Reason::InvalidPlan, format!("{at}/name"), text);
        }
        if methods.len() > MAX_METHODS {
            let text = format!("{} methods are more than {MAX_METHODS}", methods.len());
            findings.object(Severity::Error, Reason::InvalidPlan, format!("{at}/methods"), text);
        }
        for (index, PlanMethod { method: _, path: _, throttle }) in methods.iter().enumerate() {
            check_throttle(throttle, &format!("{at}/methods/{index}/throttle"), findings);
        }
    }
    if let Some(throttle) = throttle {
        check_throttle(throttle, "/spec/throttle", findings);
    }
    if let Some(Quota { limit, period: _, offset }) = quota
        && (*limit == 0 || offset > limit)
    {
        let text = "a quota's limit is 1 or more, and its offset not above it";
        findings.object(Severity::Error, Reason::InvalidPlan, "/spec/quota", text);
    }
    if let Some(ApiKeys { selector }) = api_keys
        && selector.match_labels.is_none()
        && selector.match_expressions.is_none()
    {
        let text = "the empty selector takes every API key of the namespace";
        findings.object(Severity::Warning, Reason::InvalidPlan, "/spec/apiKeys/selector", text);
    }
    note(findings, Feature::UsagePlan, false, "/spec");
}
