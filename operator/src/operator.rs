//! The loop: changes in, bundles and statuses out. What belongs to one pass is in `pass`, to statuses in `status`.

mod hosts;
mod pass;
mod status;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bundle::object::{Index, Subject};
use bundle::{Certificate, StageKey};
use compile::ObjectKey;
use compile::world::api_of;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::acknowledge::{Proxy, poll};
use crate::certificates::LocalCa;
use crate::collect::{self, Change, Held, PodState};
use crate::config::{Config, Gateway};
use crate::metrics::Metrics;
use crate::report;
use crate::state::{State, Subjected};

/// Changes that wait for the loop; watchers wait when there are more.
const INBOX: usize = 1024;
/// After something failed.
const RETRY: Duration = Duration::from_secs(1);
/// Between two rounds of upkeep.
const UPKEEP: Duration = Duration::from_secs(60);

/// What does not change while the process lives.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace.
    pub namespace: String,
    /// Namespaces served; none: all.
    pub namespaces: Vec<String>,
    /// This replica.
    pub identity: String,
}

/// The operator under one configuration.
pub struct Operator {
    client: Client,
    config: Config,
    settings: Settings,
    metrics: Metrics,
    leading: watch::Receiver<bool>,
    changes: mpsc::Sender<Change>,
    inbox: mpsc::Receiver<Change>,
    watchers: JoinSet<()>,
    state: State,
    ca: Option<LocalCa>,
    /// Certificates of gateways, with the version of their Secret.
    default_tls: HashMap<ObjectKey, (String, Certificate)>,
    /// By gateway and pod.
    proxies: BTreeMap<(String, String), Proxy>,
    /// When each Stage's bundle was written last.
    delivered: HashMap<StageKey, Instant>,
    reports: Reports,
    retry: Option<(Instant, BTreeSet<ObjectKey>, bool)>,
    upkeep: Instant,
    /// Parts that no index names, since when.
    unreferenced: HashMap<ObjectKey, Instant>,
    /// APIs that are gone, since when.
    orphans: HashMap<ObjectKey, Instant>,
}

/// Statuses to be written.
#[derive(Debug, Default)]
struct Reports {
    due: HashMap<Subjected, Instant>,
    in_flight: HashSet<Subjected>,
    written: HashMap<Subjected, Instant>,
}

impl Operator {
    /// Begins to watch.
    pub fn new(
        client: Client,
        config: Config,
        settings: Settings,
        leading: watch::Receiver<bool>,
        metrics: Metrics,
    ) -> Self {
        let (changes, inbox) = mpsc::channel(INBOX);
        let mut watchers = JoinSet::new();
        let unsynced = collect::start(&client, &settings.namespaces, &config, &changes, &mut watchers);
        Self {
            client,
            config,
            settings,
            metrics,
            leading,
            changes,
            inbox,
            watchers,
            state: State { unsynced, ..State::default() },
            ca: None,
            default_tls: HashMap::new(),
            proxies: BTreeMap::new(),
            delivered: HashMap::new(),
            reports: Reports::default(),
            retry: None,
            upkeep: Instant::now() + UPKEEP,
            unreferenced: HashMap::new(),
            orphans: HashMap::new(),
        }
    }

    /// Works until a watcher ends, which it does not.
    pub async fn run(mut self) {
        let mut led = false;
        loop {
            let due = self.next_due();
            tokio::select! {
                biased;
                changed = self.leading.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                change = self.inbox.recv() => {
                    let Some(change) = change else { return };
                    self.take(change);
                    // What has arrived already goes into the same pass; nothing is waited for.
                    while let Ok(change) = self.inbox.try_recv() {
                        self.take(change);
                    }
                }
                () = tokio::time::sleep_until(due) => {}
                ended = self.watchers.join_next(), if !self.watchers.is_empty() => {
                    tracing::error!(?ended, "a watcher has ended");
                    return;
                }
            }
            if self.state.unsynced > 0 {
                continue;
            }
            if !self.metrics.synced.swap(true, Ordering::Relaxed) {
                tracing::info!(
                    apis = self.state.apis.len(),
                    stages = self.state.world.stages.len(),
                    "everything is read"
                );
            }
            let lead = self.leads();
            if lead != led {
                led = lead;
                self.metrics.leading.set(i64::from(lead));
                self.lead(lead);
            }
            self.retry();
            let started = Instant::now();
            if self.pass().await {
                self.metrics.pass.observe(started.elapsed().as_secs_f64());
            }
            if lead {
                self.report();
                if self.upkeep <= Instant::now() {
                    self.upkeep = Instant::now() + UPKEEP;
                    self.keep_up().await;
                }
            }
        }
    }

    fn leads(&self) -> bool {
        *self.leading.borrow()
    }

    /// Everything is looked at anew by a new leader.
    fn lead(&mut self, lead: bool) {
        if !lead {
            self.proxies.clear();
            self.ca = None;
            self.state.unreported.clear();
            self.reports = Reports::default();
            return;
        }
        let stages = self.state.world.stages.iter();
        let apis: BTreeSet<ObjectKey> = stages.map(|(key, stage)| api_of(key, stage)).collect();
        self.state.dirty.extend(apis);
        self.state.dirty.extend(self.state.apis.keys().cloned());
        self.state.relink = true;
        self.state.unreported.extend(self.state.apis.keys().cloned().map(Subjected::Api));
        self.state.unreported.extend(self.state.world.stages.keys().cloned().map(Subjected::Stage));
        let pods = self.state.pods.clone();
        for (gateway, pods) in pods {
            for (name, pod) in pods {
                self.follow(&gateway, &name, &pod);
            }
        }
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Malformed { kind, key, uid, message } => {
                tracing::warn!(kind, %key, message, "an object cannot be read; what it last was stays");
                if self.leads() {
                    self.event(kind, key, uid, "Malformed", message, true);
                }
            }
            Change::Pod { gateway, name, pod } => self.pod(&gateway, name, pod),
            Change::Loaded(loaded) => {
                let Some(proxy) = self.proxies.get_mut(&(loaded.gateway, loaded.pod)) else { return };
                if proxy.uid == loaded.uid {
                    let touched = proxy.apply(loaded.answer);
                    self.touch(touched);
                }
            }
            Change::Reported(reported) => {
                self.reports.in_flight.remove(&reported.subject);
                if reported.written {
                    self.metrics.reported.inc();
                } else {
                    self.metrics.failures.inc();
                }
                // Its echo is on the way; what changed meanwhile is seen then.
                self.reports.due.insert(reported.subject, Instant::now() + RETRY);
            }
            other => {
                let secrets = self.config.gateways.iter().filter_map(|gateway| gateway.default_tls.as_ref());
                let secrets =
                    secrets.map(|tls| ObjectKey::new(tls.namespace.clone(), tls.secret_name.clone())).collect();
                self.state.apply(other, &secrets);
            }
        }
    }

    fn pod(&mut self, gateway: &str, name: String, pod: Option<PodState>) {
        let pods = self.state.pods.entry(gateway.to_owned()).or_default();
        let before = match &pod {
            Some(pod) => pods.insert(name.clone(), pod.clone()),
            None => pods.remove(&name),
        };
        if before == pod {
            return;
        }
        let stages: Vec<StageKey> = self.state.served.keys().cloned().collect();
        match &pod {
            Some(pod) if self.leads() => {
                let at = (gateway.to_owned(), name.clone());
                let same = before.is_some_and(|before| before.address == pod.address && before.uid == pod.uid);
                if !same || !self.proxies.contains_key(&at) {
                    self.follow(gateway, &name, pod);
                }
            }
            Some(_) => {}
            None => drop(self.proxies.remove(&(gateway.to_owned(), name))),
        }
        self.touch(stages);
    }

    /// Asks a proxy what it has loaded, from now on.
    fn follow(&mut self, gateway: &str, name: &str, pod: &PodState) {
        let Some(settings) = self.gateway(gateway) else { return };
        let (address, port, uid) = (pod.address.clone(), settings.admin_port, pod.uid.clone());
        let task = poll(address, port, gateway.to_owned(), name.to_owned(), uid.clone(), self.changes.clone());
        let task = tokio::spawn(task).abort_handle();
        let proxy = Proxy { uid, formats: Vec::new(), stages: BTreeMap::new(), task };
        self.proxies.insert((gateway.to_owned(), name.to_owned()), proxy);
    }

    fn touch(&mut self, stages: Vec<StageKey>) {
        let keys = stages.into_iter().map(|key| Subjected::Stage(ObjectKey::new(key.namespace, key.name)));
        self.state.unreported.extend(keys);
    }

    fn gateway(&self, name: &str) -> Option<&Gateway> {
        self.config.gateways.iter().find(|gateway| gateway.name == name)
    }

    /// The index of a Stage, in whichever namespace it is.
    fn index_of(&self, stage: &StageKey) -> Option<(ObjectKey, &Held, &Index)> {
        let name = Subject::Stage(stage.clone()).object_name("");
        self.config.gateways.iter().find_map(|gateway| {
            let key = ObjectKey::new(gateway.bundle_namespace.clone(), name.clone());
            let held = self.state.held.get(&key)?;
            Some((key, held, held.index.as_ref()?))
        })
    }

    /// These APIs, or the hosts, are looked at again in a while.
    fn later(&mut self, apis: impl IntoIterator<Item = ObjectKey>, relink: bool) {
        let (_, known, link) = self.retry.get_or_insert_with(|| (Instant::now() + RETRY, BTreeSet::new(), false));
        known.extend(apis);
        *link |= relink;
    }

    fn retry(&mut self) {
        if self.retry.as_ref().is_some_and(|(due, ..)| *due <= Instant::now())
            && let Some((_, apis, relink)) = self.retry.take()
        {
            self.state.dirty.extend(apis);
            self.state.relink |= relink;
        }
    }

    fn next_due(&self) -> Instant {
        let reports = self.reports.due.values().copied();
        let retry = self.retry.iter().map(|(due, ..)| *due);
        reports.chain(retry).chain([self.upkeep]).min().unwrap_or(self.upkeep)
    }

    fn event(&self, kind: &'static str, key: ObjectKey, uid: String, reason: &str, note: String, warning: bool) {
        let identity = self.settings.identity.clone();
        let news = report::News { kind, key, uid, reason: reason.to_owned(), note, warning };
        tokio::spawn(report::event(self.client.clone(), news, identity));
    }
}
