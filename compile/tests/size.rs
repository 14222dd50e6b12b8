//! Large documents: fast enough in a debug build on a busy machine to notice anything quadratic, and warnings at the
//! limits on their way. `examples/measure.rs` gives the figures.

mod common;
#[path = "../examples/measure.rs"]
mod measure;

use std::time::Duration;

use compile::{Document, Reason};
use serde_json::json;

/// Ten times what is promised of a release build.
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn ten_thousand_routes_and_six_megabytes() {
    for padding in [0, 180] {
        let start = worked();
        let value = Document::parse("large", measure::document(10_000, padding)).unwrap();
        let unit = common::compile_value(value);
        assert_eq!(unit.routes, 10_000);
        assert!(unit.compiled && unit.bundle.is_some());
        assert!(worked() - start < BOUND, "{:?}", worked() - start);
    }
}

/// Findings are many and their places too: each is looked up once, so that must not read the text again.
#[test]
fn many_findings_are_located() {
    let start = worked();
    let text = measure::document(10_000, 0).replace("\"type\":\"http\"", "\"type\":\"aws\"");
    let document = Document::new("large", text);
    let unit = common::compile_value(document.value().unwrap());
    assert!(!unit.compiled);
    assert!(unit.findings.len() <= 10_010, "{}", unit.findings.len());
    assert!(unit.findings.iter().any(|finding| finding.reason == Reason::TooManyFindings));
    for finding in &unit.findings {
        document.locate(0, &finding.pointer);
    }
    assert!(worked() - start < BOUND, "{:?}", worked() - start);
}

#[test]
fn each_limit_on_the_way_is_named() {
    let help = |bytes: usize| {
        let document = json!({"openapi": "3.0.0", "info": {"description": "x".repeat(bytes)}, "paths": {}});
        let unit = common::compile_value(document);
        let found = unit.findings.iter().find(|finding| finding.reason == Reason::DocumentTooLarge);
        found.map(|finding| (finding.severity, finding.help.clone().unwrap_or_default()))
    };
    assert_eq!(help(200 << 10), None);
    assert!(help(300 << 10).is_some_and(|(_, help)| help.contains("--server-side")));
    assert!(help(2 << 20).is_some_and(|(_, help)| help.contains("openapiFrom")));
    assert!(help(7_000_000).is_some_and(|(severity, _)| severity == compile::Severity::Warning));
}

/// How long this thread has worked: a busy machine makes it no longer.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
