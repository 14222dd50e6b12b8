//! `stagegate history`.

use std::process::ExitCode;

use crds::Stage;
use crds::stage::{Deployment, StageStatus};

use super::{History, Output, say};

pub(super) async fn run(history: &History) -> anyhow::Result<ExitCode> {
    let found = history.target.find(&history.stage).await?;
    match history.output {
        Output::Table => say(table(&found.stage).trim_end()),
        Output::Json => {
            let status = found.stage.status.unwrap_or_default();
            let json = serde_json::json!({
                "deployment": status.deployment, "pinned": status.pinned, "history": status.history,
            });
            say(&format!("{json:#}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The deployments as a table.
fn table(stage: &Stage) -> String {
    let unknown = StageStatus::default();
    let status = stage.status.as_ref().unwrap_or(&unknown);
    if status.history.is_empty() {
        return "nothing has been deployed yet\n".to_owned();
    }
    let mut rows = vec![["DEPLOYMENT", "SERVES", "CREATED", "BY", "DIGEST", "DESCRIPTION"].map(str::to_owned)];
    for deployment in &status.history {
        let Deployment { number, digest, created, description, by } = deployment;
        rows.push([
            number.to_string(),
            serves(stage, status, *number),
            created.clone(),
            by.clone().unwrap_or_default(),
            digest.chars().take(12).collect(),
            description.clone().unwrap_or_default(),
        ]);
    }
    super::table(&rows)
}

/// What of the Stage's traffic a deployment gets.
fn serves(stage: &Stage, status: &StageStatus, number: u64) -> String {
    let canary = stage.spec.canary.as_ref().filter(|canary| canary.deployment == number);
    match (status.deployment == Some(number), canary) {
        (true, _) if status.pinned == Some(true) => "live, pinned".to_owned(),
        (true, _) => "live".to_owned(),
        (false, Some(canary)) => format!("canary {} %", canary.percent),
        (false, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_is_served() {
        let stage: Stage = serde_json::from_value(serde_json::json!({
            "apiVersion": "stagegate.dev/v1alpha1", "kind": "Stage", "metadata": {"name": "prod"},
            "spec": {"apiRef": {"name": "orders"}, "canary": {"deployment": 2, "percent": 10}},
            "status": {"deployment": 1, "pinned": true, "history": [
                {"number": 2, "digest": "abcdef0123456789", "created": "2026-01-02T00:00:00Z", "description": "totals"},
                {"number": 1, "digest": "0123456789abcdef", "created": "2026-01-01T00:00:00Z", "by": "kubectl"},
            ]},
        }))
        .unwrap();
        let expected = "\
DEPLOYMENT  SERVES        CREATED               BY       DIGEST        DESCRIPTION
2           canary 10 %   2026-01-02T00:00:00Z           abcdef012345  totals
1           live, pinned  2026-01-01T00:00:00Z  kubectl  0123456789ab
";
        assert_eq!(table(&stage), expected);
        assert_eq!(table(&Stage { status: None, ..stage }), "nothing has been deployed yet\n");
    }
}
