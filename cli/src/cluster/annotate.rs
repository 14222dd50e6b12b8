//! `stagegate deploy`, `rollback`, `promote`: an annotation, then patience.

use std::process::ExitCode;

use anyhow::{Context, bail};
use crds::annotation;
use crds::stage::StageStatus;
use time::OffsetDateTime;

use super::wait::{Wish, wait};
use super::{Deploy, Found, Patience, Promote, Rollback, say};
use crate::dev::deploy::rfc3339;

pub(super) async fn deploy(deploy: &Deploy) -> anyhow::Result<ExitCode> {
    let found = deploy.target.find(&deploy.stage).await?;
    // Acted upon once per distinct value, so each has its time.
    let time = rfc3339(OffsetDateTime::now_utc());
    let value = match &deploy.description {
        Some(description) => format!("{} @{time}", description.trim()),
        None => format!("@{time}"),
    };
    found.annotate(annotation::DEPLOY, Some(&value)).await?;
    finish(&found, &deploy.patience, Wish::Handled(value), "deployed").await
}

pub(super) async fn rollback(rollback: &Rollback) -> anyhow::Result<ExitCode> {
    let found = rollback.target.find(&rollback.stage).await?;
    if rollback.unpin {
        found.annotate(annotation::ROLLBACK_TO, None).await?;
        return finish(&found, &rollback.patience, Wish::Unpinned, "unpinned").await;
    }
    let unknown = StageStatus::default();
    let status = found.stage.status.as_ref().unwrap_or(&unknown);
    let numbers: Vec<u64> = status.history.iter().map(|deployment| deployment.number).collect();
    let number = match (rollback.deployment, status.deployment) {
        (Some(number), _) if numbers.contains(&number) => number,
        (Some(number), _) => bail!("there is no deployment {number} of this Stage{}", known(&numbers)),
        (None, Some(live)) => {
            let before = numbers.iter().copied().filter(|number| *number < live).max();
            before.with_context(|| format!("there is no deployment before {live}, the live one"))?
        }
        (None, None) => bail!("nothing has been deployed yet"),
    };
    found.annotate(annotation::ROLLBACK_TO, Some(&number.to_string())).await?;
    finish(&found, &rollback.patience, Wish::Pinned(number), "rolled back").await
}

pub(super) async fn promote(promote: &Promote) -> anyhow::Result<ExitCode> {
    let found = promote.target.find(&promote.stage).await?;
    let Some(canary) = &found.stage.spec.canary else { bail!("the Stage has no canary") };
    let number = canary.deployment;
    let pinned = found.stage.metadata.annotations.as_ref().and_then(|all| all.get(annotation::ROLLBACK_TO));
    if let Some(pin) = pinned {
        bail!("the Stage is pinned to `{pin}`: unpin it first with `stagegate rollback {} --unpin`", found.name);
    }
    found.annotate(annotation::PROMOTE_CANARY, Some(&number.to_string())).await?;
    finish(&found, &promote.patience, Wish::Live(number), "promoted").await
}

async fn finish(found: &Found, patience: &Patience, wish: Wish, word: &str) -> anyhow::Result<ExitCode> {
    let name = format!("stage/{}", found.name);
    let Some(limit) = patience.limit() else {
        say(&format!("{name} annotated"));
        return Ok(ExitCode::SUCCESS);
    };
    let served = wait(found, &wish, limit).await?;
    say(&format!("{name} {word}: {served}"));
    Ok(ExitCode::SUCCESS)
}

fn known(numbers: &[u64]) -> String {
    match numbers {
        [] => ": there is none yet".to_owned(),
        _ => format!("; known: {}", numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
    }
}
