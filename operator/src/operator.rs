//! The loop: one change after the other, from the watches to the proxies and back to the conditions.
//!
//! A change marks the APIs that it concerns. A pass decides and compiles those, links hosts if any name changed, and
//! writes what differs from what is in the cluster; what else is told meanwhile waits for the next pass. There is no
//! pause for changes to gather: those that are there already share a pass.

mod beside;
mod callers;
mod delivering;
mod pass;
mod reporting;
mod scribe;
mod sweeping;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bundle::{StageKey, WRITTEN};
use compile::world::{api_of, config_maps_of, secrets_of};
use compile::{Contract, ObjectKey};
use crds::reference_grant::ReferenceGrant;
use kube::Client;
use kube::runtime::events::Reporter;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::acknowledge::{Loaded, Polls};
use crate::certificates::Certificates;
use crate::collect::{Change, Cluster, Event, Kind, KnownIndex, Pod, Unreadable, Watches};
use crate::config::Config;
use crate::deliver::Wanted;
use crate::format::{Choice, Reader, choose};
use crate::history::{self, Deployments};
use crate::lease::Tenure;
use crate::program::{Hosts, Program};
use crate::report::Failure;
use crate::serve::Vitals;

/// How often what waits is looked at: retries, conditions that are due.
const TICK: Duration = Duration::from_millis(100);
/// Until what failed is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often what nobody needs is swept.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What an operator is started with.
pub struct Settings {
    /// Its own namespace.
    pub namespace: String,
    /// Namespaces it serves; empty: all.
    pub namespaces: Vec<String>,
    /// Its name in the Lease and in Events.
    pub identity: String,
}

/// The operator.
pub struct Operator {
    client: Client,
    /// For watches: without a limit of the time between two answers.
    watching: Client,
    config: Config,
    settings: Settings,
    vitals: Arc<Vitals>,
    events: mpsc::UnboundedSender<Event>,
    watches: Watches,
    polls: Polls,
    scribe: scribe::Scribe,
    certificates: Certificates,
    callers: callers::Callers,

    cluster: Cluster,
    histories: BTreeMap<ObjectKey, Deployments>,
    /// Index Secrets that are in the cluster.
    indexes: BTreeMap<ObjectKey, KnownIndex>,
    pods: BTreeMap<(String, ObjectKey), Pod>,
    loaded: BTreeMap<(String, String), Loaded>,

    leads: bool,
    tenure: Tenure,
    /// APIs to decide about and to compile.
    dirty: BTreeSet<ObjectKey>,
    /// The next pass goes over everything, even if there is no API.
    full: bool,
    /// APIs that are tried again.
    again: Again,
    /// Why the Stages of those are not as they shall be, by API.
    failing: BTreeMap<ObjectKey, BTreeMap<StageKey, Failure>>,
    /// Contracts of ApiDefinitions as they are now.
    contracts: HashMap<ObjectKey, Arc<Contract>>,
    /// Contracts of deployments that are served and are not the newest.
    kept: HashMap<(ObjectKey, u64), Arc<Contract>>,
    programs: BTreeMap<StageKey, Program>,
    /// Values of `stagegate.dev/deploy` that were acted upon.
    handled: HashMap<StageKey, String>,
    hosts: Hosts,
    /// Hosts were linked, and `wanted` does not say so yet.
    hosts_due: bool,
    /// What shall be in the cluster.
    wanted: BTreeMap<ObjectKey, Wanted>,
    /// Secrets for sidecars.
    beside: beside::Beside,
    /// In which format bundles are written, by gateway.
    formats: BTreeMap<String, Choice>,
    /// Why a bundle could not be written.
    undelivered: BTreeMap<ObjectKey, String>,
    reports: reporting::Reports,
    swept: Instant,
    /// Since when a part of a bundle, by namespace and name, has been named by no index.
    unnamed: BTreeMap<(String, String), Instant>,
    /// Since when an API with deployments has had neither ApiDefinition nor Stage.
    orphaned: BTreeMap<ObjectKey, Instant>,
}

impl Operator {
    /// An operator that has seen nothing yet.
    pub fn new(
        client: Client,
        watching: Client,
        config: Config,
        settings: Settings,
        tenure: Tenure,
        vitals: Arc<Vitals>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let watches = Watches::start(&watching, &config, &settings.namespaces, &events);
        let reporter =
            Reporter { controller: "stagegate-operator".to_owned(), instance: Some(settings.identity.clone()) };
        Self {
            watches,
            polls: Polls::default(),
            scribe: scribe::Scribe::new(client.clone(), Arc::clone(&vitals), reporter, events.clone()),
            certificates: Certificates::new(client.clone(), settings.namespace.clone()),
            callers: callers::Callers::default(),
            cluster: Cluster::default(),
            histories: BTreeMap::new(),
            indexes: BTreeMap::new(),
            pods: BTreeMap::new(),
            loaded: BTreeMap::new(),
            leads: false,
            tenure,
            dirty: BTreeSet::new(),
            full: false,
            again: Again::default(),
            failing: BTreeMap::new(),
            contracts: HashMap::new(),
            kept: HashMap::new(),
            programs: BTreeMap::new(),
            handled: HashMap::new(),
            hosts: Hosts::default(),
            hosts_due: true,
            wanted: BTreeMap::new(),
            beside: beside::Beside::default(),
            formats: BTreeMap::new(),
            undelivered: BTreeMap::new(),
            reports: reporting::Reports::default(),
            swept: Instant::now(),
            unnamed: BTreeMap::new(),
            orphaned: BTreeMap::new(),
            client,
            watching,
            config,
            settings,
            vitals,
            events,
        }
    }

    /// Works until told to stop.
    pub async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Event>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                event = inbox.recv() => event,
                _ = ticks.tick() => {
                    self.tick().await;
                    continue;
                }
            };
            let began = Instant::now();
            let mut next = event;
            while let Some(event) = next {
                self.learn(event);
                next = inbox.try_recv().ok();
            }
            if self.watches.synced() {
                self.vitals.ready.store(true, Ordering::Relaxed);
                let worked = !self.dirty.is_empty() || self.full;
                self.pass().await;
                if worked {
                    self.vitals.passes.observe(began.elapsed().as_secs_f64());
                }
            }
        }
    }

    async fn tick(&mut self) {
        if !self.watches.synced() {
            return;
        }
        let due = self.again.due(Instant::now());
        self.callers.wake(Instant::now());
        if !due.is_empty() || self.callers.is_due() {
            self.dirty.extend(due);
            self.pass().await;
        }
        if self.may_write() {
            self.report();
            if self.swept.elapsed() >= SWEEP_EVERY {
                self.swept = Instant::now();
                self.sweep().await;
            }
        }
    }

    /// Takes note of one event.
    fn learn(&mut self, event: Event) {
        match event {
            Event::Change(change) => self.change(change),
            Event::Synced(source) => {
                if self.watches.pending.remove(&source) && self.watches.synced() {
                    tracing::info!(
                        apis = self.cluster.world.api_definitions.len(),
                        stages = self.cluster.world.stages.len(),
                        "the cluster has been read"
                    );
                    self.everything();
                }
            }
            Event::Leads(leads) => {
                self.leads = leads;
                self.vitals.leads.set(i64::from(leads));
                self.forget_terms();
                self.everything();
                self.follow_pods();
            }
            Event::Loaded { gateway, pod, loaded } => {
                match loaded {
                    Some(loaded) => drop(self.loaded.insert((gateway.clone(), pod), loaded)),
                    None => drop(self.loaded.remove(&(gateway.clone(), pod))),
                }
                self.reports.gateway(&gateway);
                self.choose_format(&gateway);
            }
            // It is looked at again: what it says may have become another.
            Event::Unwritten(kind, key) => self.reported(kind, &key),
            Event::Config(config) => {
                self.watches.restart(&self.watching, &config, &self.settings.namespaces, &self.events);
                self.config = config;
                self.hosts.invalidate();
                // Namespaces of bundles may be others now, and are listed anew.
                self.indexes.clear();
                self.wanted.clear();
                self.hosts_due = true;
                self.pods.clear();
                self.formats.clear();
                self.everything();
                self.follow_pods();
            }
        }
    }

    /// What an object of this kind says is looked at.
    fn reported(&mut self, kind: &str, key: &ObjectKey) {
        match kind {
            "Stage" => self.reports.stage(key),
            "ApiDefinition" => self.reports.api(key),
            _ => self.reports.plans([key]),
        }
    }

    /// What this operator did when it led before says nothing any more: another may have led since. What is in the
    /// cluster does.
    fn forget_terms(&mut self) {
        self.handled.clear();
        for program in self.programs.values_mut() {
            program.decision.handled_deploy = None;
        }
        self.beside.forget();
        self.undelivered.clear();
        self.certificates.forget();
        self.hosts_due = true;
    }

    /// Every API is looked at again.
    fn everything(&mut self) {
        self.full = true;
        self.dirty.extend(self.cluster.world.api_definitions.keys().cloned());
        self.dirty.extend(self.cluster.world.stages.iter().map(|(key, stage)| api_of(key, stage)));
        let unreadable: Vec<_> = self.cluster.unreadable.keys().cloned().collect();
        unreadable.iter().for_each(|(kind, key)| self.reported(kind, key));
        self.reports.plans(self.cluster.world.usage_plans.keys());
        self.all_callers();
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::ApiDefinition(key, object) => {
                let status_only = is_same_spec(self.cluster.world.api_definitions.get(&key), object.as_deref());
                self.cluster.api_definition(&key, object.map(|object| *object));
                self.reports.api(&key);
                if !status_only {
                    self.contracts.remove(&key);
                    self.dirty.insert(key);
                } else if self.contracts.contains_key(&key) {
                    // The same document again, with every status that is written.
                    self.cluster.forget_document(&key);
                }
            }
            Change::Stage(key, object) => {
                let before = self.cluster.world.stages.get(&key).cloned();
                let status_only = is_same_stage(before.as_deref(), object.as_deref());
                self.cluster.stage(&key, object.map(|object| *object));
                self.reports.stage(&key);
                if status_only {
                    return;
                }
                let after = self.cluster.world.stages.get(&key);
                let gateway = |stage: &Arc<crds::Stage>| stage.spec.gateway.clone();
                if before.as_ref().map(gateway) != after.map(gateway) {
                    self.callers.changed(&key.namespace);
                }
                self.dirty.extend(before.iter().chain(after).map(|stage| api_of(&key, stage)));
                let plans = self.cluster.world.usage_plans.keys().filter(|plan| plan.namespace == key.namespace);
                self.reports.plans(plans);
            }
            Change::UsagePlan(key, object) => {
                let spec = |plan: &crds::UsagePlan| (plan.metadata.uid.clone(), plan.metadata.generation);
                let before = self.cluster.world.usage_plans.get(&key).map(|plan| spec(plan));
                if before != object.as_deref().map(spec) {
                    self.callers.changed(&key.namespace);
                }
                self.cluster.usage_plan(&key, object.map(|object| *object));
                self.reports.plans(std::iter::once(&key));
            }
            Change::ApiKeys(key, keys) => {
                if self.cluster.api_keys(&key, keys.map(|keys| *keys)) {
                    self.callers.changed(&key.namespace);
                }
            }
            Change::ReferenceGrant(key, object) => self.reference_grant(&key, object.map(|object| *object)),
            Change::Unreadable(key, unreadable) => {
                let Unreadable { kind, ref error, .. } = *unreadable;
                tracing::error!(kind, %key, error, "an object cannot be read; what it was stays");
                self.reported(kind, &key);
                self.cluster.unreadable.insert((kind, key), *unreadable);
            }
            Change::Meta(kind, key, metadata) => self.metadata(kind, &key, metadata.as_deref()),
            Change::Index(key, known) => self.index(key, known.map(|known| *known)),
            Change::Pod(gateway, key, pod) => {
                let at = (gateway.clone(), key);
                match pod {
                    Some(pod) => drop(self.pods.insert(at, pod)),
                    None => {
                        self.loaded.remove(&(gateway.clone(), at.1.name.clone()));
                        self.pods.remove(&at);
                    }
                }
                self.reports.gateway(&gateway);
                self.choose_format(&gateway);
                self.follow_pods();
            }
        }
    }

    /// A grant is there, or is gone: what it is about is looked at again.
    fn reference_grant(&mut self, key: &ObjectKey, object: Option<ReferenceGrant>) {
        let (before, changed) = self.cluster.reference_grant(key, object);
        if !changed {
            return;
        }
        let after = self.cluster.world.reference_grants.get(key);
        let from = before.iter().chain(after).flat_map(|grant| &grant.spec.from);
        let namespaces: BTreeSet<&str> = from.map(|from| from.namespace.as_str()).collect();
        let stages = self.cluster.world.stages.iter().filter(|(key, _)| namespaces.contains(key.namespace.as_str()));
        self.dirty.extend(stages.map(|(key, stage)| api_of(key, stage)));
        self.hosts.invalidate();
        self.full = true;
    }

    /// Chooses the format of a gateway's bundles by what its proxies say that they read.
    fn choose_format(&mut self, gateway: &str) {
        let readers =
            self.pods.iter().filter(|((name, _), pod)| name == gateway && !pod.ending).map(|((_, key), pod)| {
                let loaded = self.loaded.get(&(gateway.to_owned(), key.name.clone()));
                let formats = loaded.map(|loaded| loaded.formats.as_slice()).filter(|formats| !formats.is_empty());
                Reader { pod: &key.name, ready: pod.ready, formats }
            });
        let choice = choose(WRITTEN, &readers.collect::<Vec<_>>());
        let before = self.formats.get(gateway);
        if before == Some(&choice) {
            return;
        }
        if let Choice::Nothing(why) = &choice {
            tracing::error!(gateway, why, "no bundle is written");
        }
        self.formats.insert(gateway.to_owned(), choice);
        // What is written already may have to be written otherwise.
        self.full = true;
    }

    /// The format of a gateway's bundles.
    fn format(&self, gateway: &str) -> Choice {
        self.formats.get(gateway).cloned().unwrap_or_else(|| choose(WRITTEN, &[]))
    }

    /// Whether this operator leads at this very moment: asked before every write.
    fn may_write(&self) -> bool {
        self.leads && self.tenure.holds()
    }

    fn metadata(
        &mut self,
        kind: Kind,
        key: &ObjectKey,
        metadata: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>,
    ) {
        let world = &self.cluster.world;
        let in_namespace = |other: &ObjectKey| other.namespace == key.namespace;
        match kind {
            Kind::ConfigMap => {
                if let Some((api, number, meta)) = metadata.and_then(|metadata| history::describe(key, metadata)) {
                    let known = self.histories.entry(api.clone()).or_default().insert(number, meta.clone());
                    if known.as_ref() != Some(&meta) {
                        self.dirty.insert(api);
                    }
                    return;
                }
                if let (None, Some((api, number))) = (metadata, history::named(key)) {
                    let gone = self.histories.get_mut(&api).and_then(|deployments| deployments.remove(&number));
                    if gone.is_some() {
                        self.dirty.insert(api);
                    }
                    return;
                }
                let version = metadata.and_then(|metadata| metadata.resource_version.clone());
                let users: Vec<ObjectKey> = world
                    .api_definitions
                    .iter()
                    .filter(|(api, object)| {
                        in_namespace(api) && config_maps_of(&object.spec).any(|name| name == key.name)
                    })
                    .map(|(api, _)| api.clone())
                    .collect();
                if self.cluster.version(kind, key, version) {
                    for api in users {
                        self.contracts.remove(&api);
                        self.dirty.insert(api);
                    }
                }
            }
            Kind::Secret => {
                if self.beside.note(key, metadata) {
                    self.full = true;
                }
                let version = metadata.and_then(|metadata| metadata.resource_version.clone());
                let users: Vec<ObjectKey> = world
                    .stages
                    .iter()
                    .filter(|(stage, object)| {
                        in_namespace(stage) && secrets_of(&object.spec).any(|name| name == key.name)
                    })
                    .map(|(stage, object)| api_of(stage, object))
                    .collect();
                let shared = self.config.gateways.iter().filter_map(|gateway| gateway.default_tls.as_ref());
                let default =
                    shared.into_iter().any(|tls| tls.namespace == key.namespace && tls.secret_name == key.name);
                if self.cluster.version(kind, key, version) {
                    self.dirty.extend(users);
                }
                if default {
                    self.hosts.invalidate();
                    self.everything();
                }
            }
        }
    }

    /// An index Secret is there, or is gone. One that is not what was written last is looked at again.
    fn index(&mut self, key: ObjectKey, known: Option<KnownIndex>) {
        let stage = |known: &KnownIndex| match &known.index.as_ref()?.subject {
            bundle::object::Subject::Stage(stage) => Some(stage.clone()),
            bundle::object::Subject::Host(_) | bundle::object::Subject::Plan(_) | bundle::object::Subject::Keys(_) => {
                None
            }
        };
        let before = match known {
            Some(known) => {
                let same = self.indexes.get(&key) == Some(&known);
                if same {
                    return;
                }
                self.indexes.insert(key.clone(), known)
            }
            None => self.indexes.remove(&key),
        };
        let after = self.indexes.get(&key);
        for stage in before.as_ref().and_then(stage).into_iter().chain(after.and_then(stage)) {
            let key = ObjectKey::new(&stage.namespace, &stage.name);
            if let Some(object) = self.cluster.world.stages.get(&key) {
                self.dirty.insert(api_of(&key, object));
                self.reports.stage(&key);
            }
        }
        let content = self.wanted.get(&key).is_some_and(|wanted| {
            let choice = self.format(&wanted.gateway);
            after.is_none_or(|known| !wanted.is_delivered(known, &choice))
        });
        if content && self.dirty.is_empty() {
            // Somebody else has changed or deleted a host's: the next pass writes it.
            self.everything();
        }
    }

    /// Asks the pods that are there what they have loaded; nobody while another operator leads.
    fn follow_pods(&mut self) {
        let mut wanted = BTreeMap::new();
        for ((gateway, key), pod) in &self.pods {
            let Some(config) = self.config.gateway(gateway) else { continue };
            if let (true, false, Some(address)) = (self.leads, pod.ending, &pod.address) {
                let address = match address.contains(':') {
                    true => format!("[{address}]:{}", config.admin_port),
                    false => format!("{address}:{}", config.admin_port),
                };
                wanted.insert((gateway.clone(), key.name.clone()), address);
            }
        }
        self.polls.set(&wanted, &self.events);
    }
}

/// What is tried again, each after a pause of its own that doubles from a tenth of a second to half a minute.
#[derive(Default)]
struct Again {
    due: BTreeMap<ObjectKey, Instant>,
    pauses: HashMap<ObjectKey, Duration>,
}

impl Again {
    /// It failed.
    fn later(&mut self, api: ObjectKey) {
        let pause = self.pauses.entry(api.clone()).or_insert(FIRST_PAUSE);
        self.due.entry(api).or_insert_with(|| Instant::now() + *pause);
        *pause = (*pause * 2).min(LONGEST_PAUSE);
    }

    /// It is tried now; what fails again comes back.
    fn done(&mut self, api: &ObjectKey) {
        self.due.remove(api);
    }

    /// Whether it waits for another try.
    fn waits(&self, api: &ObjectKey) -> bool {
        self.due.contains_key(api)
    }

    /// Those whose time has come. Who has not failed for long starts with a short pause again.
    fn due(&mut self, now: Instant) -> Vec<ObjectKey> {
        if self.due.is_empty() {
            self.pauses.clear();
        }
        let due: Vec<ObjectKey> = self.due.iter().filter(|(_, at)| **at <= now).map(|(api, _)| api.clone()).collect();
        for api in &due {
            self.due.remove(api);
        }
        due
    }
}

/// Whether only status or metadata that means nothing differ.
fn is_same_spec(before: Option<&Arc<crds::ApiDefinition>>, after: Option<&crds::ApiDefinition>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            before.metadata.uid == after.metadata.uid && before.metadata.generation == after.metadata.generation
        }
        _ => false,
    }
}

fn is_same_stage(before: Option<&crds::Stage>, after: Option<&crds::Stage>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            let (one, other) = (&before.metadata, &after.metadata);
            one.uid == other.uid && one.generation == other.generation && one.annotations == other.annotations
        }
        _ => false,
    }
}
