//! What `stagegate dev` says, on standard error.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bundle::route::{Route, Verb};
use bundle::{Digest, StageKey};
use compile::{ObjectKey, Unit};
use proxy::Proxy;
use proxy::admin::{ReportedFinding, Severity};

use super::reload::Outcome;
use crate::args::{Dev, Format};
use crate::print::{self, Colours, Diagnostic, Level, to_stderr};

const GREEN: &str = "\x1b[1;32m";

/// Says what happens, once.
pub(super) struct Reporter {
    colours: Colours,
    base_domain: String,
    ca: PathBuf,
    https: SocketAddr,
    admin: SocketAddr,
    /// What was served when it was last said.
    stages: Option<BTreeMap<StageKey, Digest>>,
    diagnostics: BTreeSet<Diagnostic>,
    unwatched: bool,
}

impl Reporter {
    pub(super) fn new(dev: &Dev, ca: &Path) -> Self {
        Self {
            colours: Colours::of_stderr(),
            base_domain: dev.base_domain.clone(),
            ca: dev.ca_out.clone().unwrap_or_else(|| ca.to_owned()),
            https: dev.https,
            admin: dev.admin,
            stages: None,
            diagnostics: BTreeSet::new(),
            unwatched: false,
        }
    }

    pub(super) fn listening(&mut self, proxy: &Proxy) {
        self.https = proxy.https_address();
        self.admin = proxy.admin_address().unwrap_or(self.admin);
        let title = self.colours.bold("stagegate dev");
        let mut out = format!("{title} serves https://{}, admin port http://{}\n", self.https, self.admin);
        out.push_str(&format!("  local CA: {}\n", self.ca.display()));
        to_stderr(&out);
    }

    pub(super) fn unwatched(&mut self, why: &str) {
        if !std::mem::replace(&mut self.unwatched, true) {
            to_stderr(&format!("files are looked at every second instead of being watched: {why}\n"));
        }
    }

    pub(super) fn draining(&self, grace: u64) {
        to_stderr(&format!("stopping: requests in flight have {grace} s to finish; once more stops at once\n"));
    }

    /// Says what a reload has changed; nothing when it is what was said before.
    pub(super) fn reloaded(&mut self, outcome: &Outcome, served: bool, took: Duration) {
        let mut out = String::new();
        let all: BTreeSet<Diagnostic> =
            outcome.diagnostics.iter().filter(|diagnostic| diagnostic.level != Level::Note).cloned().collect();
        let news = all != self.diagnostics;
        if news {
            // Errors are said again as long as they are there, warnings when they are new.
            let wanted = |one: &&Diagnostic| one.level == Level::Error || !self.diagnostics.contains(one);
            let said: Vec<Diagnostic> = all.iter().filter(wanted).cloned().collect();
            out.push_str(&print::render(&said, Format::Text, self.colours));
        }
        let first = self.stages.is_none();
        if served {
            let changes = self.changes(&outcome.units, took);
            // Hosts, base paths, certificates: what is not in any Stage's own digest.
            if changes.is_empty() && outcome.changed {
                out.push_str(&format!("{} in {} ms\n", self.colours.paint(GREEN, "reloaded"), took.as_millis()));
            }
            out.push_str(&changes);
        }
        if news && outcome.has_errors() {
            let summary = print::summary(&outcome.diagnostics);
            let then = match (served, first) {
                (true, true) => "their routes answer 500, the others are served",
                (true, false) => "what last compiled goes on being served",
                (false, _) => "nothing is served until everything compiles",
            };
            out.push_str(&format!("{summary}: {then}\n"));
        } else if news && self.diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error) {
            out.push_str(&format!("{}\n", self.colours.paint(GREEN, "everything compiles")));
        }
        self.diagnostics = all;
        to_stderr(&out);
    }

    /// What is served now and was not before, and the other way round.
    fn changes(&mut self, units: &[Arc<Unit>], took: Duration) -> String {
        let mut out = String::new();
        let digest = |unit: &Unit| Some((unit.key.clone(), unit.bundle.as_ref()?.digest.clone()));
        let now: BTreeMap<StageKey, Digest> = units.iter().filter_map(|unit| digest(unit)).collect();
        let first = self.stages.is_none();
        let before = self.stages.take().unwrap_or_default();
        for gone in before.keys().filter(|key| !now.contains_key(key)) {
            out.push_str(&format!("{} {gone} is gone\n", self.colours.paint(GREEN, "reloaded")));
        }
        let single = units.iter().map(|unit| &unit.api).collect::<BTreeSet<_>>().len() == 1;
        for unit in units {
            let known = before.get(&unit.key);
            if known == now.get(&unit.key) {
                continue;
            }
            if first || known.is_none() {
                out.push_str(&self.stage(unit, single));
            } else {
                let word = self.colours.paint(GREEN, "reloaded");
                out.push_str(&format!("{word} {} in {} ms\n", title(unit), took.as_millis()));
            }
        }
        if first {
            out.push_str(&self.advice(units, single));
        }
        self.stages = Some(now);
        out
    }

    fn stage(&self, unit: &Unit, single: bool) -> String {
        let mut out = format!("{}\n", self.colours.bold(&title(unit)));
        for url in urls(unit, self.https, &self.base_domain, single) {
            out.push_str(&format!("  {url}\n"));
        }
        out
    }

    fn advice(&self, units: &[Arc<Unit>], single: bool) -> String {
        let Some(unit) = units.first() else { return "no stages yet: waiting for files\n".to_owned() };
        let url = urls(unit, self.https, &self.base_domain, single).pop().unwrap_or_default();
        let path = simplest(unit).unwrap_or_default();
        format!("try: curl --cacert {} {url}{path}\n", self.ca.display())
    }
}

/// `shop/orders-prod: deployment 3, 24 routes`.
fn title(unit: &Unit) -> String {
    let deployment = unit.bundle.as_ref().map(|bundle| format!("deployment {}, ", bundle.deployment));
    let plural = if unit.routes == 1 { "" } else { "s" };
    format!("{}: {}{} route{plural}", unit.key, deployment.unwrap_or_default(), unit.routes)
}

/// The first path, without its slash, that answers to a plain GET.
fn simplest(unit: &Unit) -> Option<&str> {
    let plain =
        |route: &&Route| !route.resource.contains('{') && matches!(&route.verb, Verb::One(verb) if verb == "GET");
    unit.bundle.as_ref()?.routes.iter().find(plain)?.resource.strip_prefix('/')
}

/// Where a stage answers.
fn urls(unit: &Unit, https: SocketAddr, base_domain: &str, single: bool) -> Vec<String> {
    let port = if https.port() == 443 { String::new() } else { format!(":{}", https.port()) };
    let here = match https.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let here = SocketAddr::new(here, 0).to_string();
    let here = here.trim_end_matches(":0");
    let mut urls = Vec::new();
    let ObjectKey { namespace, name } = &unit.api;
    if unit.default_host {
        urls.push(format!("https://{name}.{namespace}.{base_domain}{port}/{}/", unit.stage_name));
        if single {
            urls.push(format!("https://{here}{port}/{}/", unit.stage_name));
        }
    }
    for claim in &unit.hosts {
        let host = if claim.host == "*" { here } else { &claim.host };
        let path = claim.base_path.trim_end_matches('/');
        urls.push(format!("https://{host}{port}{path}/"));
    }
    urls
}

/// Findings as `/readyz` shows them.
pub(super) fn reported(diagnostics: &[Diagnostic]) -> Vec<ReportedFinding> {
    let one = |diagnostic: &Diagnostic| {
        let Diagnostic { place, level, reason, message, object, pointer, help: _ } = diagnostic;
        let severity = match level {
            Level::Error => Severity::Error,
            Level::Warning => Severity::Warning,
            Level::Note => return None,
        };
        let location = place.as_ref().map(|place| format!("{}:{}:{}", place.file.display(), place.line, place.column));
        let object = object.clone().unwrap_or_else(|| "file".to_owned());
        let (reason, message) = (reason.clone(), message.clone());
        Some(ReportedFinding { severity, object, location: location.or_else(|| pointer.clone()), reason, message })
    };
    diagnostics.iter().filter_map(one).collect()
}
