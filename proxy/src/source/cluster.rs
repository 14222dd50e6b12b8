//! Bundles from the Secrets of a namespace, followed as they change.
//!
//! What has arrived together is made live together; nothing is waited for, since an edit should be served in
//! milliseconds. A watch that fails changes nothing of what is served.

mod slices;

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bundle::object::{GATEWAY_LABEL, INDEX_TYPE, PART_TYPE, PAYLOAD_KEY};
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::task::JoinSet;

use crate::endpoints::Endpoints;
use crate::live::Live;
use crate::proxy::Proxy;
use crate::source::collection::{Came, Collection};
use crate::source::disk::Disk;
use crate::source::patience::Patience;
use slices::Slices;

/// The API server's list is waited for so long; then the copies on disk are served until it comes.
const FIRST_LIST: Duration = Duration::from_secs(1);

/// What to follow.
pub struct Settings {
    pub client: Client,
    pub gateway: String,
    /// Where the Secrets are.
    pub namespace: String,
    /// Where the last good copies are kept; `None`: nowhere.
    pub cache: Option<PathBuf>,
    /// Where EndpointSlices may be read.
    pub slices: Scope,
    /// Where is told what they say.
    pub endpoints: Arc<Endpoints>,
}

/// Namespaces whose EndpointSlices may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them, by one watch.
    All,
    /// Those that bundles name.
    Named,
    /// Of those that bundles name, these.
    Only(BTreeSet<String>),
}

/// Follows the bundles of a gateway, for ever.
///
/// # Errors
/// When the folder for copies cannot be used.
pub async fn follow(settings: Settings, proxy: &Proxy) -> io::Result<()> {
    let Settings { client, gateway, namespace, cache, slices, endpoints } = settings;
    let mut source = Source {
        bundles: Collection::of(gateway.clone()),
        disk: cache.as_deref().map(open).transpose()?,
        listed: None,
        ready: false,
        proxy,
        watches: Watches { client: client.clone(), scope: slices, known: BTreeSet::new(), running: JoinSet::new() },
        slices: Slices::new(endpoints),
    };
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let wanted = watcher::Config::default().labels(&format!("{GATEWAY_LABEL}={gateway}"));
    let mut events = pin!(watcher(secrets, wanted).backoff(Patience::default()));
    let mut late = pin!(tokio::time::sleep(FIRST_LIST));
    let mut waited = false;
    loop {
        tokio::select! {
            biased;
            event = events.next() => {
                source.take(event);
                // What has already arrived is part of the same change.
                while let Some(event) = events.next().now_or_never() {
                    source.take(event);
                }
            }
            () = &mut late, if !waited => {
                waited = true;
                source.restore();
            }
            event = source.slices.next() => source.slices.take(event),
        }
        source.serve();
    }
}

fn open(folder: &Path) -> io::Result<Disk> {
    Disk::open(folder)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot keep copies in {}: {error}", folder.display())))
}

/// What is followed, and how far.
struct Source<'a> {
    bundles: Collection,
    disk: Option<Disk>,
    /// Names met since a list began; `None` while none is coming.
    listed: Option<HashSet<String>>,
    /// A list has been complete, or copies were read: there is something to serve.
    ready: bool,
    proxy: &'a Proxy,
    watches: Watches,
    slices: Slices,
}

impl Source<'_> {
    fn take(&mut self, event: Option<Result<Event<Secret>, watcher::Error>>) {
        match event {
            // The watch never ends by itself.
            None => {}
            Some(Err(error)) => tracing::warn!(error = %chain(&error), "the watch of bundles failed and is made anew"),
            Some(Ok(Event::Init)) => self.listed = Some(HashSet::new()),
            Some(Ok(Event::InitApply(secret))) => {
                if let (Some(listed), Some(name)) = (&mut self.listed, &secret.metadata.name) {
                    listed.insert(name.clone());
                }
                self.apply(&secret);
            }
            Some(Ok(Event::InitDone)) => {
                if let Some(listed) = self.listed.take() {
                    self.bundles.retain(&listed);
                    if let Some(disk) = &self.disk {
                        disk.retain(&listed);
                    }
                }
                self.ready = true;
            }
            Some(Ok(Event::Apply(secret))) => self.apply(&secret),
            Some(Ok(Event::Delete(secret))) => {
                let name = secret.metadata.name.unwrap_or_default();
                self.bundles.remove(&name);
                if let Some(disk) = &self.disk {
                    disk.forget(name);
                }
            }
        }
    }

    fn apply(&mut self, secret: &Secret) {
        let Some(name) = &secret.metadata.name else { return };
        let data = |key: &str| Some(&*secret.data.as_ref()?.get(key)?.0);
        match secret.type_.as_deref() {
            Some(INDEX_TYPE) => {
                let came = self.bundles.index(name, data);
                self.came(name.clone(), came);
            }
            Some(PART_TYPE) => {
                for (object, came) in self.bundles.part(name, data(PAYLOAD_KEY).unwrap_or_default()) {
                    self.came(object, came);
                }
            }
            other => tracing::warn!(%name, kind = ?other, "a Secret among the bundles is none"),
        }
    }

    fn came(&self, object: String, came: Came) {
        match came {
            Came::Nothing => {}
            Came::Rejected => self.proxy.count_rejected(),
            Came::Read(read) => {
                if let Some(disk) = &self.disk {
                    disk.keep(object, *read);
                }
            }
        }
    }

    /// Serves the copies on disk, if the API server has not answered.
    fn restore(&mut self) {
        let Some(disk) = self.disk.as_ref().filter(|_| !self.ready) else { return };
        let mut count = 0;
        for (object, read) in disk.read() {
            count += usize::from(self.bundles.restore(&object, read));
        }
        if count > 0 {
            tracing::warn!(
                bundles = count,
                "the API server does not answer; the last copies of its bundles are served"
            );
            self.ready = true;
        }
    }

    fn serve(&mut self) {
        if self.ready && (self.bundles.has_changed() || !self.bundles.has_served()) {
            let began = Instant::now();
            let report = self.bundles.serve(self.proxy);
            tracing::info!(
                routes = report.routes,
                not_servable = report.broken.len(),
                milliseconds = began.elapsed().as_millis() as u64,
                "bundles are live"
            );
            self.watches.follow(&self.proxy.live(), &mut self.slices);
        }
    }
}

/// Watches of EndpointSlices.
struct Watches {
    client: Client,
    scope: Scope,
    /// Namespaces that are watched.
    known: BTreeSet<String>,
    /// Ended when this is dropped.
    running: JoinSet<()>,
}

impl Watches {
    /// Watches what the live routes name.
    fn follow(&mut self, live: &Live, slices: &mut Slices) {
        let namespaces = live.all_stages().flat_map(|stage| &stage.routes).filter_map(|route| route.action.service());
        for (namespace, _) in namespaces {
            if self.known.contains(namespace) {
                continue;
            }
            let watched = match &self.scope {
                Scope::All => "",
                Scope::Named => namespace,
                Scope::Only(only) if only.contains(namespace) => namespace,
                Scope::Only(_) => continue,
            };
            if !watched.is_empty() || self.known.is_empty() {
                let api = match watched {
                    "" => Api::all(self.client.clone()),
                    _ => Api::namespaced(self.client.clone(), watched),
                };
                self.running.spawn(slices::watch(api, watched.to_owned(), slices.sender()));
            }
            self.known.insert(namespace.to_owned());
        }
    }
}

/// An error and its causes: what Kubernetes' client says first is seldom what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
