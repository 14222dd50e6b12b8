//! What crosses Stages: hosts, base paths, names, callers.

use std::collections::{BTreeMap, BTreeSet};

use bundle::host::{CLIENT_CA, Certificate};
use bundle::route::Refusal;
use bundle::{BasePath, BundleSet, HostBundle, HostTable, StageKey, Stamped};

use crate::callers::Callers;
use crate::finding::{Finding, Findings, ObjectRef, Reason, Severity};
use crate::gateway::Gateway;
use crate::grant::{Grants, permits_host};
use crate::unit::{HostClaim, TlsSettings, Unit};
use crate::world::ObjectKey;

/// What one gateway serves.
#[derive(Clone, Debug, Default)]
pub struct Linked {
    /// What its proxies load.
    pub set: BundleSet,
    /// Conflicts between Stages, and what was found about their callers; sorted.
    pub findings: Vec<Finding>,
    /// Secrets that the certificates of custom hosts are to come from, by host; also of those that are not there.
    pub certificates: BTreeMap<String, ObjectKey>,
}

/// A custom host and who asks for it.
type Claims<'a> = BTreeMap<&'a str, Vec<(&'a Unit, &'a HostClaim)>>;

/// Joins the Stages of one gateway, and who may call them. For a Stage that did not compile the caller passes the last
/// unit that did; a unit without a bundle only keeps its names. `grants` say which host's owner lets other namespaces
/// claim it too.
pub fn link<'a>(
    units: impl IntoIterator<Item = &'a Unit>,
    callers: Callers,
    gateway: &Gateway,
    grants: &Grants,
) -> Linked {
    let Callers { plans, keys, findings } = callers;
    let mut linker = Linker { gateway, grants, findings, certificates: BTreeMap::new() };
    let mut units: Vec<&Unit> = units.into_iter().filter(|unit| linker.serves(unit)).collect();
    // The older claim wins, and of equally old ones the first by name: no restart changes the winner.
    let age = |unit: &Unit| (unit.created.is_none(), unit.created.clone(), unit.key.clone());
    units.sort_by_cached_key(|unit| age(unit));

    let mut hosts = linker.default_hosts(&units);
    let mut claims = Claims::new();
    for unit in &units {
        for claim in &unit.hosts {
            claims.entry(&claim.host).or_default().push((unit, claim));
        }
    }
    for (host, claims) in &claims {
        if hosts.contains_key(*host) {
            for (unit, claim) in claims {
                linker.conflict(unit, claim, "", format!("`{host}` is the default host of an API"));
            }
            continue;
        }
        hosts.insert((*host).to_owned(), linker.custom_host(host, claims));
    }
    linker.optional_default_host(&units, &mut hosts);

    let mut stages: Vec<_> = units.iter().filter_map(|unit| unit.bundle.clone()).collect();
    stages.sort_by(|a, b| a.key.cmp(&b.key));
    stages.dedup_by(|a, b| a.key == b.key);
    linker.findings.sort();
    linker.findings.dedup();
    let hosts = hosts.into_values().map(Stamped::new).collect();
    let Linker { findings, certificates, .. } = linker;
    Linked { set: BundleSet { stages, hosts, plans, keys }, findings, certificates }
}

struct Linker<'g> {
    gateway: &'g Gateway,
    grants: &'g Grants,
    findings: Vec<Finding>,
    certificates: BTreeMap<String, ObjectKey>,
}

impl Linker<'_> {
    fn serves(&mut self, unit: &Unit) -> bool {
        self.gateway.any_stage || unit.gateway == self.gateway.name
    }

    /// One host per API: the first path segment names the Stage.
    fn default_hosts(&mut self, units: &[&Unit]) -> BTreeMap<String, HostBundle> {
        let mut tables: BTreeMap<&ObjectKey, BTreeMap<String, StageKey>> = BTreeMap::new();
        for unit in units.iter().filter(|unit| unit.default_host) {
            let stages = tables.entry(&unit.api).or_default();
            if let Some(other) = stages.get(&unit.stage_name) {
                let text = format!("the Stage `{}` of the same API is called `{}` too", other.name, unit.stage_name);
                self.report(unit, Reason::DuplicateStageName, "/spec/stageName".to_owned(), text);
                continue;
            }
            stages.insert(unit.stage_name.clone(), unit.key.clone());
        }
        let served: BTreeSet<_> = units.iter().filter(|unit| unit.bundle.is_some()).map(|unit| &unit.key).collect();
        let mut hosts = BTreeMap::new();
        for (api, mut stages) in tables {
            // A Stage that is not served keeps its name from others, and nothing more.
            stages.retain(|_, key| served.contains(key));
            let host = format!("{}.{}.{}", api.name, api.namespace, self.gateway.base_domain).to_ascii_lowercase();
            if !stages.is_empty() {
                hosts.insert(host.clone(), plain_host(host, HostTable::Default { stages }));
            }
        }
        hosts
    }

    fn custom_host(&mut self, host: &str, claims: &[(&Unit, &HostClaim)]) -> HostBundle {
        let owner = claims.first().map_or("", |(unit, _)| unit.key.namespace.as_str());
        let mut base_paths: BTreeMap<&str, &Unit> = BTreeMap::new();
        let mut accepted: Vec<(&Unit, &HostClaim)> = Vec::new();
        for (unit, claim) in claims {
            let guest = unit.key.namespace != owner;
            if guest && !self.consents(owner, unit, claims) {
                let text = format!(
                    "`{host}` belongs to namespace `{owner}`, whose Stage is the oldest to claim it; no ReferenceGrant \
                     there consents"
                );
                self.conflict(unit, claim, "/name", text);
                continue;
            }
            if guest && claim.tls != TlsSettings::default() {
                // A guest's settings must not decide about the owner's host, nor take it down.
                let text = format!("`{host}` belongs to namespace `{owner}`, which gives it `tls` and `clientCA`");
                let at = format!("/spec/hosts/{}", claim.index);
                self.report(unit, Reason::HostDisagreement, at, text);
                continue;
            }
            match base_paths.get(claim.base_path.as_str()) {
                Some(other) if other.key != unit.key => {
                    let text = format!("the Stage `{}` has `{host}{}` already", other.key.name, claim.base_path);
                    self.conflict(unit, claim, "", text);
                }
                _ => {
                    base_paths.insert(&claim.base_path, unit);
                    if !guest {
                        accepted.push((unit, claim));
                    }
                }
            }
        }
        let agreed =
            accepted.iter().all(|(_, claim)| accepted.first().is_some_and(|(_, first)| first.tls == claim.tls));
        let mut refuse = accepted.iter().find_map(|(_, claim)| claim.refuse.clone());
        let mut certificate = accepted.first().map_or(Certificate::Local, |(_, claim)| claim.certificate.clone());
        let mut client_ca = accepted.first().and_then(|(_, claim)| claim.client_ca.clone());
        if !agreed {
            let text = format!("Stages give `{host}` different `tls` or `clientCA`; it answers 500 until they agree");
            for (unit, claim) in &accepted {
                let at = format!("/spec/hosts/{}", claim.index);
                self.report(unit, Reason::HostDisagreement, at, text.clone());
            }
            refuse = Some(Refusal { reason: Reason::HostDisagreement.as_str().to_owned(), message: text });
            certificate = Certificate::Local;
            client_ca = None;
        }
        let secret = accepted.first().filter(|_| agreed).and_then(|(_, claim)| claim.tls.certificate.as_ref());
        if let Some(secret) = secret {
            self.certificates.insert(host.to_owned(), ObjectKey::new(owner, secret));
        }
        let served = base_paths.into_iter().filter(|(_, unit)| unit.bundle.is_some());
        let base_paths =
            served.map(|(path, unit)| BasePath { path: path.to_owned(), stage: unit.key.clone() }).collect();
        HostBundle {
            host: host.to_owned(),
            certificate,
            refuse,
            requires: client_ca.iter().map(|_| CLIENT_CA.to_owned()).collect(),
            client_ca,
            table: HostTable::Custom { base_paths },
        }
    }

    /// On a laptop nobody wants to type a host while there is one API.
    fn optional_default_host(&self, units: &[&Unit], hosts: &mut BTreeMap<String, HostBundle>) {
        let apis: BTreeSet<_> = units.iter().map(|unit| &unit.api).collect();
        if !self.gateway.default_host_optional || apis.len() != 1 || hosts.contains_key("*") {
            return;
        }
        let table = hosts.values().find_map(|host| match &host.table {
            HostTable::Default { .. } => Some(host.table.clone()),
            HostTable::Custom { .. } => None,
        });
        if let Some(table) = table {
            hosts.insert("*".to_owned(), plain_host("*".to_owned(), table));
        }
    }

    /// Whether the owner of a host lets a Stage of another namespace claim it.
    fn consents(&self, owner: &str, guest: &Unit, claims: &[(&Unit, &HostClaim)]) -> bool {
        permits_host(self.grants, owner, &guest.key.namespace, |stage| {
            claims.iter().any(|(unit, _)| unit.key.namespace == owner && unit.key.name == stage)
        })
    }

    fn conflict(&mut self, unit: &Unit, claim: &HostClaim, field: &str, text: String) {
        self.report(unit, Reason::HostConflict, format!("/spec/hosts/{}{field}", claim.index), text);
    }

    fn report(&mut self, unit: &Unit, reason: Reason, pointer: String, text: String) {
        let object = ObjectRef { kind: "Stage", namespace: unit.key.namespace.clone(), name: unit.key.name.clone() };
        let mut findings = Findings::new(object);
        findings.object(Severity::Error, reason, pointer, text);
        self.findings.extend(findings.into_sorted());
    }
}

fn plain_host(host: String, table: HostTable) -> HostBundle {
    HostBundle {
        host,
        certificate: Certificate::Local,
        refuse: None,
        requires: BTreeSet::new(),
        client_ca: None,
        table,
    }
}
