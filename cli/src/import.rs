//! `stagegate import`: an export of Amazon's, or a template that makes an API, to manifests.

mod document;
mod intrinsics;
mod output;
mod properties;
mod report;
mod template;
mod yaml;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::args::Import;
use crate::print;
use report::Report;

/// Largest file that is read.
const MAX_FILE: u64 = 64 << 20;

pub(crate) fn run(import: &Import) -> anyhow::Result<ExitCode> {
    let shown = import.file.display();
    let length = std::fs::metadata(&import.file).with_context(|| format!("{shown}"))?.len();
    if length > MAX_FILE {
        bail!("{shown}: {length} bytes are more than the {MAX_FILE} that are read");
    }
    let text = std::fs::read_to_string(&import.file).with_context(|| format!("{shown}"))?;
    let source = yaml::read(&text).map_err(|error| anyhow::anyhow!("{shown}: {error}"))?;
    let mut report = Report::default();
    let manifests = if source.get("openapi").is_some() || source.get("swagger").is_some() {
        document::manifests(source, &import.file, import.name.as_deref(), &mut report)
    } else if source.get("Resources").is_some_and(Value::is_object) {
        let folder = import.file.parent().unwrap_or_else(|| std::path::Path::new("."));
        template::manifests(&source, &import.parameters, folder, &mut report)
    } else {
        bail!("{shown}: neither an OpenAPI document (`openapi`, `swagger`) nor a template (`Resources`)");
    };
    print::to_stderr(&report.to_string());
    if report.has_errors() {
        print::to_stderr("nothing is written: resolve the errors first\n");
        return Ok(ExitCode::FAILURE);
    }
    if manifests.is_empty() {
        print::to_stderr("nothing is written: there is no API in it\n");
        return Ok(ExitCode::FAILURE);
    }
    output::write(&manifests, import.output.as_deref())?;
    Ok(ExitCode::SUCCESS)
}
