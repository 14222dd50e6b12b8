//! `stagegate lint`: every finding with file, line and reason.

use std::path::PathBuf;
use std::process::ExitCode;

use compile::world::Attached;
use compile::{Finding, Gateway, ObjectKey, Origin};

use crate::args::{Format, Lint};
use crate::collect::files::{self, Files};
use crate::collect::{Collected, Collector};
use crate::print::{self, Colours, Diagnostic, Level};

/// Exit status when a path cannot be read: the same as for a mistake in the command line.
const USAGE: u8 = 2;

pub(crate) fn run(lint: &Lint) -> anyhow::Result<ExitCode> {
    if let Some(missing) = missing(&lint.paths) {
        print::to_stderr(&format!("stagegate: {missing}\n"));
        return Ok(ExitCode::from(USAGE));
    }
    let files = files::read(&lint.paths);
    let gateway = Gateway { base_domain: lint.base_domain.clone(), ..Gateway::dev() };
    let diagnostics = diagnose(&files, &lint.paths, &gateway);
    print::to_stdout(&print::render(&diagnostics, lint.format, Colours::of_stdout()));
    if lint.format == Format::Text {
        let count = files.content.len();
        let read = format!("{count} file{}", if count == 1 { "" } else { "s" });
        let summary = print::summary(&diagnostics);
        print::to_stderr(&if summary.is_empty() { format!("{read}: fine\n") } else { format!("{read}: {summary}\n") });
    }
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says which path is not there.
pub(crate) fn missing(paths: &[PathBuf]) -> Option<String> {
    let path = paths.iter().find(|path| !path.exists())?;
    Some(format!("{}: no such file or folder", path.display()))
}

fn diagnose(files: &Files, paths: &[PathBuf], gateway: &Gateway) -> Vec<Diagnostic> {
    let Collected { world, places, mut diagnostics } = Collector::default().collect(files, paths);
    if files.content.is_empty() && files.problems.is_empty() {
        diagnostics.push(Diagnostic {
            place: None,
            level: Level::Warning,
            reason: "NoManifests".to_owned(),
            message: "there is no *.yaml, *.yml or *.json file under the paths".to_owned(),
            object: None,
            pointer: None,
            help: None,
        });
    }
    let attached = compile::attach(&world, gateway);
    let units: Vec<_> = attached.stages.iter().map(compile::compile_stage).collect();
    let linked = compile::link(&units, compile::callers(&world, gateway), gateway, &world.reference_grants);
    let unused = attached.unused().flat_map(|contract| compile::check_api(contract));
    let of_units = units.iter().flat_map(|unit| unit.findings.iter().cloned());
    for finding in attached.findings.iter().cloned().chain(of_units).chain(unused).chain(linked.findings) {
        diagnostics.push(places.locate(&finding, origin(&attached, &finding)));
    }
    print::in_order(&mut diagnostics);
    diagnostics
}

/// Where the document comes from that a finding is about.
pub(crate) fn origin<'a>(attached: &'a Attached, finding: &Finding) -> Option<&'a Origin> {
    let api = ObjectKey::new(finding.object.namespace.clone(), finding.object.name.clone());
    attached.contracts.get(&api).filter(|_| finding.in_document).map(|contract| &contract.origin)
}
