//! EndpointSlices: where the pods of Services are.
//!
//! A slice names the ports of pods, not the Service's, and Services are not read. So a Service is reached by its
//! slices when they all have one TCP port, whose name is then the only one there is; with several it is reached by
//! its DNS name, where Kubernetes knows which port leads to which. A Service without slices (ExternalName), or whose
//! slices name no address that serves, is reached by its DNS name too.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::mpsc;

use crate::endpoints::{Endpoints, Table};
use crate::source::cluster::chain;
use crate::source::patience::Patience;

/// Label with the name of the Service that a slice belongs to.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// News that may wait to be taken.
const NEWS: usize = 1024;

/// Everything that slices say.
pub(super) struct Slices {
    endpoints: Arc<Endpoints>,
    services: BTreeMap<(Box<str>, Box<str>), BTreeMap<String, Slice>>,
    table: Table,
    sender: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
}

/// What a watch has seen.
pub(super) enum News {
    Applied(Box<EndpointSlice>),
    Deleted(Box<EndpointSlice>),
    /// Of a namespace (or of all, for an empty one) only these slices are there.
    Only {
        namespace: String,
        names: HashSet<(String, String)>,
    },
}

/// One slice, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    /// TCP ports by their names.
    ports: BTreeMap<String, u16>,
    endpoints: Vec<(IpAddr, Health)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Ready,
    /// It still serves, but will end: used only when none is ready.
    Leaving,
}

impl Slices {
    pub(super) fn new(endpoints: Arc<Endpoints>) -> Self {
        let (sender, news) = mpsc::channel(NEWS);
        Self { endpoints, services: BTreeMap::new(), table: Table::new(), sender, news }
    }

    pub(super) fn sender(&self) -> mpsc::Sender<News> {
        self.sender.clone()
    }

    pub(super) async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Takes news, and what has arrived with it; tells the cores if addresses have changed.
    pub(super) fn take(&mut self, news: Option<News>) {
        let mut touched = HashSet::new();
        let mut next = news;
        while let Some(news) = next {
            self.note(news, &mut touched);
            next = self.news.try_recv().ok();
        }
        let mut changed = false;
        for key in touched {
            let addresses = self.services.get(&key).and_then(|slices| addresses(slices.values()));
            let same = self.table.get(&key).map(|known| &**known) == addresses.as_deref();
            if !same {
                changed = true;
                match addresses {
                    Some(addresses) => drop(self.table.insert(key, addresses.into())),
                    None => drop(self.table.remove(&key)),
                }
            }
        }
        if changed {
            self.endpoints.publish(self.table.clone());
        }
    }

    fn note(&mut self, news: News, touched: &mut HashSet<(Box<str>, Box<str>)>) {
        match news {
            News::Applied(slice) => {
                let Some((key, name)) = place(&slice) else { return };
                self.services.entry(key.clone()).or_default().insert(name, Slice::of(&slice));
                touched.insert(key);
            }
            News::Deleted(slice) => {
                let Some((key, name)) = place(&slice) else { return };
                if let Some(slices) = self.services.get_mut(&key) {
                    slices.remove(&name);
                }
                touched.insert(key);
            }
            News::Only { namespace, names } => {
                for (key, slices) in &mut self.services {
                    if namespace.is_empty() || *key.0 == *namespace {
                        let before = slices.len();
                        slices.retain(|name, _| names.contains(&(key.0.to_string(), name.clone())));
                        if slices.len() != before {
                            touched.insert(key.clone());
                        }
                    }
                }
            }
        }
        self.services.retain(|_, slices| !slices.is_empty());
    }
}

/// Namespace and name of a Service.
type Service = (Box<str>, Box<str>);

/// The Service a slice belongs to, and the slice's name.
fn place(slice: &EndpointSlice) -> Option<(Service, String)> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    let namespace = slice.metadata.namespace.as_deref()?;
    Some(((namespace.into(), service.as_str().into()), slice.metadata.name.clone()?))
}

impl Slice {
    fn of(slice: &EndpointSlice) -> Self {
        let ports = slice.ports.iter().flatten().filter_map(|port| {
            let tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
            let number = u16::try_from(port.port?).ok()?;
            tcp.then(|| (port.name.clone().unwrap_or_default(), number))
        });
        let endpoints = slice.endpoints.iter().flat_map(|endpoint| {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let terminating = conditions.terminating.unwrap_or(false);
            // Ready may be said of what does not serve, where a Service publishes what is not ready.
            let health = match (conditions.ready.unwrap_or(true), conditions.serving.unwrap_or(true)) {
                (true, _) if !terminating => Some(Health::Ready),
                (_, true) if terminating => Some(Health::Leaving),
                _ => None,
            };
            // The addresses of one endpoint are the same pod: the first is enough.
            let address = endpoint.addresses.first().and_then(|address| address.parse().ok());
            address.zip(health)
        });
        Self { ports: ports.collect(), endpoints: endpoints.collect() }
    }
}

/// Where a Service's pods are, or `None` when its DNS name has to be asked.
fn addresses<'a>(slices: impl Iterator<Item = &'a Slice> + Clone) -> Option<Vec<SocketAddr>> {
    // A slice without endpoints has no ports that matter.
    let filled = slices.filter(|slice| !slice.endpoints.is_empty());
    let mut names = filled.clone().flat_map(|slice| slice.ports.keys());
    let name = names.next()?;
    if names.any(|other| other != name) {
        return None;
    }
    let of = |wanted: Health, v6: bool| {
        let mut found: Vec<SocketAddr> = filled
            .clone()
            .filter_map(|slice| Some((slice.ports.get(name)?, slice)))
            .flat_map(|(&port, slice)| slice.endpoints.iter().map(move |&(address, health)| (address, health, port)))
            .filter(|&(address, health, _)| health == wanted && address.is_ipv6() == v6)
            .map(|(address, _, port)| SocketAddr::new(address, port))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    // A pod with addresses of both families is two endpoints; IPv4 is the family that always works.
    let choices = [(Health::Ready, false), (Health::Ready, true), (Health::Leaving, false), (Health::Leaving, true)];
    choices.into_iter().map(|(health, v6)| of(health, v6)).find(|found| !found.is_empty())
}

/// Watches the slices of a namespace, or of all for an empty one, for ever.
pub(super) async fn watch(api: Api<EndpointSlice>, namespace: String, news: mpsc::Sender<News>) {
    let wanted = watcher::Config::default().labels(SERVICE_LABEL);
    let mut events = pin!(watcher(api, wanted).backoff(Patience::default()));
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        let told = match event {
            Err(error) => {
                tracing::warn!(%namespace, error = %chain(&error), "the watch of EndpointSlices failed and is made anew");
                continue;
            }
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(slice)) => {
                let meta = &slice.metadata;
                if let (Some(namespace), Some(name)) = (&meta.namespace, &meta.name) {
                    listed.insert((namespace.clone(), name.clone()));
                }
                News::Applied(Box::new(slice))
            }
            Ok(Event::InitDone) => News::Only { namespace: namespace.clone(), names: std::mem::take(&mut listed) },
            Ok(Event::Apply(slice)) => News::Applied(Box::new(slice)),
            Ok(Event::Delete(slice)) => News::Deleted(Box::new(slice)),
        };
        if news.send(told).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
