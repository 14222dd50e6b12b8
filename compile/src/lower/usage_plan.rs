//! Usage plans: who may call how much. Which keys open which Stages is enforced, limits are not yet.

use std::collections::{BTreeMap, BTreeSet};

use crds::UsagePlanSpec;
use crds::usage_plan::{ApiKeys, PlanMethod, PlanStage, Quota};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

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
            let at = format!("{at}/methods/{index}/throttle");
            check_throttle(throttle, &at, findings);
            note(findings, Feature::PlanThrottle, false, &at);
        }
    }
    if let Some(throttle) = throttle {
        check_throttle(throttle, "/spec/throttle", findings);
        note(findings, Feature::PlanThrottle, false, "/spec/throttle");
    }
    if let Some(Quota { limit, period: _, offset }) = quota {
        if *limit == 0 || offset > limit {
            let text = "a quota's limit is 1 or more, and its offset not above it";
            findings.object(Severity::Error, Reason::InvalidPlan, "/spec/quota", text);
        }
        note(findings, Feature::Quota, false, "/spec/quota");
    }
    if let Some(ApiKeys { selector }) = api_keys {
        check_selector(selector, findings);
    }
}

/// Whether a selector takes what has these labels. One that cannot be read takes nothing.
pub(crate) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let LabelSelector { match_labels, match_expressions } = selector;
    match_labels.iter().flatten().all(|(label, value)| labels.get(label) == Some(value))
        && match_expressions.iter().flatten().all(|requirement| meets(requirement, labels))
}

fn meets(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let LabelSelectorRequirement { key, operator, values } = requirement;
    let (label, values) = (labels.get(key), values.as_deref().unwrap_or_default());
    match operator.as_str() {
        "In" => label.is_some_and(|label| values.contains(label)),
        "NotIn" => label.is_none_or(|label| !values.contains(label)),
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        _ => false,
    }
}

fn check_selector(selector: &LabelSelector, findings: &mut Findings) {
    let LabelSelector { match_labels, match_expressions } = selector;
    if match_labels.iter().flatten().next().is_none() && match_expressions.iter().flatten().next().is_none() {
        let text = "the empty selector takes every API key of the namespace";
        findings.object(Severity::Warning, Reason::InvalidPlan, "/spec/apiKeys/selector", text);
    }
    for (index, LabelSelectorRequirement { key: _, operator, values }) in match_expressions.iter().flatten().enumerate()
    {
        let listed = values.as_ref().is_some_and(|values| !values.is_empty());
        let text = match (operator.as_str(), listed) {
            ("In" | "NotIn", true) | ("Exists" | "DoesNotExist", false) => continue,
            ("In" | "NotIn", false) => format!("`{operator}` wants `values`"),
            ("Exists" | "DoesNotExist", true) => format!("`{operator}` has no `values`"),
            (other, _) => format!("`{other}` is none of In, NotIn, Exists, DoesNotExist"),
        };
        let at = format!("/spec/apiKeys/selector/matchExpressions/{index}");
        findings.object(Severity::Error, Reason::InvalidPlan, at, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_take_what_kubernetes_would() {
        let labels = BTreeMap::from([("plan".to_owned(), "gold".to_owned()), ("tier".to_owned(), "1".to_owned())]);
        let takes = |selector: serde_json::Value| selects(&serde_json::from_value(selector).unwrap(), &labels);
        let expression = |operator: &str, key: &str, values: &[&str]| {
            takes(serde_json::json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}))
        };
        assert!(takes(serde_json::json!({})));
        assert!(takes(serde_json::json!({"matchLabels": {"plan": "gold", "tier": "1"}})));
        assert!(!takes(serde_json::json!({"matchLabels": {"plan": "gold", "tier": "2"}})));
        assert!(expression("In", "plan", &["gold", "lead"]) && !expression("In", "other", &["gold"]));
        assert!(!expression("NotIn", "plan", &["gold"]) && expression("NotIn", "other", &["gold"]));
        assert!(expression("Exists", "plan", &[]) && !expression("Exists", "other", &[]));
        assert!(!expression("DoesNotExist", "plan", &[]) && expression("DoesNotExist", "other", &[]));
        assert!(!expression("Near", "plan", &["gold"]), "nothing is let in by a selector that nobody understands");
    }
}
