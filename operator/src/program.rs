//! What every Stage serves, compiled; and the hosts, linked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bundle::object::Subject;
use bundle::route::Refusal;
use bundle::{Certificate, Digest, HostBundle, HostTable, StageBundle, StageKey, Stamped};
use compile::deploy::StageDecision;
use compile::finding::{ObjectRef, Reason, Severity};
use compile::grant::revoke;
use compile::unit::HostClaim;
use compile::{Callers, Finding, Grants, ObjectKey, StageInputs, Unit, compile_stage, link};

use crate::config::{Config, GatewayConfig};

/// What one Stage serves.
#[derive(Clone, Debug)]
pub struct Program {
    /// Which deployment.
    pub decision: StageDecision,
    /// Digest of what it was compiled from.
    inputs: Digest,
    /// What the compiler made of it, good or not.
    pub unit: Arc<Unit>,
    /// What is served: `unit` if it compiled, else what last did.
    pub served: Option<Arc<Unit>>,
    /// `served` was read back from the cluster: what it has of hosts is not known.
    pub read_back: bool,
    /// ReferenceGrants as they are now: `served` may have been compiled under others.
    grants: Grants,
}

impl Program {
    /// Compiles a Stage, unless it is the very same as before. `served` is what last compiled, before this.
    pub fn compile(before: Option<&Self>, inputs: &StageInputs, decision: StageDecision) -> Self {
        let digest = inputs.digest();
        let unit = match before {
            Some(before) if before.inputs == digest => Arc::clone(&before.unit),
            _ => Arc::new(compile_stage(inputs)),
        };
        let last = before.and_then(|before| before.served.clone());
        // What never compiled is served in part, as far as that goes: its broken routes answer 500.
        let served = if unit.compiled {
            Some(Arc::clone(&unit))
        } else {
            last.or_else(|| unit.bundle.is_some().then(|| Arc::clone(&unit)))
        };
        let read_back = !unit.compiled && before.is_some_and(|before| before.read_back);
        Self { decision, inputs: digest, unit, served, read_back, grants: inputs.grants.clone() }
    }

    /// Its hosts that ask for client certificates, which a sidecar cannot do.
    pub fn closed_to_sidecars(&self) -> impl Iterator<Item = &HostClaim> {
        let claims = self.served.iter().flat_map(|unit| &unit.hosts);
        claims.filter(|claim| claim.tls.client_ca.is_some())
    }

    /// What is delivered. A grant that is gone is gone, also while the Stage has errors and goes on as it was.
    pub fn bundle(&self) -> Option<Stamped<StageBundle>> {
        let served = self.served.as_ref()?;
        let bundle = served.bundle.as_ref()?;
        Some(if self.unit.compiled && Arc::ptr_eq(served, &self.unit) {
            bundle.clone()
        } else {
            revoke(bundle, &self.grants)
        })
    }
}

/// The hosts of all gateways.
#[derive(Default)]
pub struct Hosts {
    /// By gateway and host; certificates of our own are filled in by whoever delivers.
    pub bundles: BTreeMap<(String, String), Stamped<HostBundle>>,
    /// What crosses Stages and does not fit.
    pub findings: Vec<Finding>,
    /// Secrets that certificates of custom hosts are to come from, by gateway and host; also of those that are missing.
    pub certificates: BTreeMap<(String, String), ObjectKey>,
    /// What they were linked from; `None`: the next call links, whatever it finds.
    linked: Option<HashMap<StageKey, Names>>,
}

/// What of a Stage concerns its hosts.
#[derive(PartialEq)]
struct Names {
    gateway: String,
    stage_name: String,
    hosts: Vec<HostClaim>,
    default_host: bool,
    served: bool,
}

impl Hosts {
    /// Links anew if any Stage's names differ from the last time. True if so.
    pub fn link(&mut self, programs: &BTreeMap<StageKey, Program>, config: &Config, grants: &Grants) -> bool {
        let names: HashMap<StageKey, Names> = programs
            .iter()
            .filter_map(|(key, program)| {
                let unit = program.served.as_ref()?;
                let names = Names {
                    gateway: unit.gateway.clone(),
                    stage_name: unit.stage_name.clone(),
                    hosts: unit.hosts.clone(),
                    default_host: unit.default_host,
                    served: unit.bundle.is_some(),
                };
                Some((key.clone(), names))
            })
            .collect();
        if self.linked.as_ref() == Some(&names) {
            return false;
        }
        self.linked = Some(names);
        self.bundles.clear();
        self.certificates.clear();
        self.findings.clear();
        for gateway in &config.gateways {
            let units = programs.values().filter_map(|program| program.served.as_deref());
            // Callers are linked by their namespaces.
            let linked = link(units, Callers::default(), &gateway.compiler(), grants);
            let certificates = linked.certificates.into_iter();
            self.certificates.extend(certificates.map(|(host, secret)| ((gateway.name.clone(), host), secret)));
            self.findings.extend(linked.findings);
            for sidecar in &gateway.sidecars {
                let key = StageKey { namespace: sidecar.namespace.clone(), name: sidecar.stage.clone() };
                let claims = programs.get(&key).into_iter().flat_map(Program::closed_to_sidecars);
                self.findings.extend(claims.map(|claim| sidecar_without_tls(&key, claim)));
            }
            for host in linked.set.hosts {
                self.bundles.insert((gateway.name.clone(), host.host.clone()), host);
            }
        }
        true
    }

    /// The next call links, whatever it finds.
    pub fn invalidate(&mut self) {
        self.linked = None;
    }

    /// Hosts of a gateway that lead to a Stage.
    pub fn of_stage<'a>(&'a self, gateway: &'a str, stage: &'a StageKey) -> impl Iterator<Item = &'a str> {
        self.bundles
            .iter()
            .filter(move |((name, _), host)| name == gateway && leads_to(host, stage))
            .map(|((_, host), _)| host.as_str())
    }
}

fn sidecar_without_tls(stage: &StageKey, claim: &HostClaim) -> Finding {
    Finding {
        object: ObjectRef { kind: "Stage", namespace: stage.namespace.clone(), name: stage.name.clone() },
        in_document: false,
        pointer: format!("/spec/hosts/{}/clientCA", claim.index),
        severity: Severity::Warning,
        reason: Reason::SidecarWithoutTls,
        message: format!("the Stage's sidecars speak no TLS: they answer 500 for `{}`", claim.host),
        help: None,
    }
}

/// What a sidecar serves for a host that asks for client certificates: nothing.
pub fn closed(claim: &HostClaim) -> HostBundle {
    let message = "a sidecar speaks no TLS and cannot ask for client certificates".to_owned();
    HostBundle {
        host: claim.host.clone(),
        certificate: Certificate::Local,
        refuse: Some(Refusal { reason: Reason::SidecarWithoutTls.as_str().to_owned(), message }),
        requires: Default::default(),
        client_ca: None,
        table: HostTable::Custom { base_paths: Vec::new() },
    }
}

/// Whether a host leads to a Stage.
pub fn leads_to(host: &HostBundle, stage: &StageKey) -> bool {
    stages_behind(host).any(|key| key == stage)
}

/// Stages that a host leads to.
pub fn stages_behind(host: &HostBundle) -> impl Iterator<Item = &StageKey> {
    let (default, custom) = match &host.table {
        HostTable::Default { stages } => (Some(stages.values()), None),
        HostTable::Custom { base_paths } => (None, Some(base_paths.iter().map(|path| &path.stage))),
    };
    default.into_iter().flatten().chain(custom.into_iter().flatten())
}

/// Name of the Secret of a Stage's bundle.
pub fn stage_object(stage: &StageKey, gateway: &GatewayConfig) -> String {
    Subject::Stage(stage.clone()).object_name(&gateway.name)
}
