//! From every core's numbers to what Prometheus reads.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use crate::observe::metrics::meter::{Bounds, LATENCY, OVERHEAD, Sum};
use crate::observe::metrics::table::{CLASSES, StageLabels};
use crate::observe::metrics::{CoreMeters, Numbers, lock};

const STAGE: [&str; 3] = ["namespace", "api", "stage"];
const ROUTE: [&str; 5] = ["namespace", "api", "stage", "route", "method"];
const REQUEST: [&str; 6] = ["namespace", "api", "stage", "route", "method", "status_class"];

/// Reads all numbers when Prometheus asks.
pub(crate) struct Gatherer {
    numbers: Arc<Numbers>,
    descriptions: Vec<Desc>,
}

/// One name and its rows.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: proto::MetricType,
    labels: &'static [&'static str],
    rows: Vec<proto::Metric>,
}

impl Gatherer {
    pub(crate) fn new(numbers: Arc<Numbers>) -> Self {
        let describe = |family: Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
                .inspect_err(|error| tracing::error!(%error, name = family.name, "a metric has no description"))
                .ok()
        };
        let descriptions = gather(&Numbers::default()).into_iter().filter_map(describe).collect();
        Self { numbers, descriptions }
    }
}

impl Collector for Gatherer {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        gather(&self.numbers).into_iter().map(Family::finish).collect()
    }
}

/// Every family, always in the same order and with the same labels.
fn gather(numbers: &Numbers) -> Vec<Family> {
    let mut families = Vec::from(routes(numbers));
    families.extend(cores(&lock(&numbers.cores), numbers));
    families.extend(process(numbers));
    families
}

/// Numbers of routes and stages.
fn routes(numbers: &Numbers) -> [Family; 4] {
    let mut requests =
        Family::counter("stagegate_requests_total", "Requests answered, or left by their client.", &REQUEST);
    let mut duration = Family::histogram(
        "stagegate_request_duration_seconds",
        "From a request's header section to the end of the answer's body.",
        &ROUTE,
    );
    let mut integration = Family::histogram(
        "stagegate_integration_duration_seconds",
        "From handing a request to its backend until the backend's response headers.",
        &ROUTE,
    );
    let mut overhead = Family::histogram(
        "stagegate_gateway_overhead_seconds",
        "From a request's header section to the answer's, without the backend's part.",
        &STAGE,
    );
    for stage in numbers.table.view(Instant::now()) {
        let StageLabels { namespace, api, stage: name } = &stage.labels;
        overhead.sum([namespace, api, name], &OVERHEAD, &total(&stage.overhead, |histogram| histogram));
        for route in &stage.routes {
            let labels: [&str; 5] = [namespace, api, name, &route.resource, &route.verb];
            for (index, class) in CLASSES.into_iter().enumerate() {
                let count: u64 = route
                    .meters
                    .iter()
                    .filter_map(|(_, meters)| meters.classes.get(index))
                    .map(|class| class.get())
                    .sum();
                if count > 0 {
                    let [namespace, api, name, resource, verb] = labels;
                    requests.count([namespace, api, name, resource, verb, class], count);
                }
            }
            duration.sum(labels, &LATENCY, &total(&route.meters, |meters| &meters.duration));
            integration.sum(labels, &LATENCY, &total(&route.meters, |meters| &meters.integration));
        }
    }
    [requests, duration, integration, overhead]
}

/// Numbers of cores that belong to no route.
fn cores(cores: &[Arc<CoreMeters>], numbers: &Numbers) -> [Family; 8] {
    let count = |read: fn(&CoreMeters) -> u64| cores.iter().map(|core| read(core)).sum::<u64>();
    let level = |read: fn(&CoreMeters) -> i64| cores.iter().map(|core| read(core)).sum::<i64>();

    let mut rejections = Family::counter(
        "stagegate_rejections_total",
        "Requests the gateway answered by itself, by reason.",
        &["reason"],
    );
    let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
    for core in cores {
        for (reason, counter) in &*lock(&core.rejections) {
            *by_reason.entry(reason).or_default() += counter.get();
        }
    }
    for (reason, count) in by_reason {
        rejections.count([reason], count);
    }

    let mut in_flight = Family::gauge("stagegate_requests_in_flight", "Requests whose answer has not ended.", &[]);
    in_flight.level([], level(|core| core.in_flight.get()));
    let mut connections = Family::gauge("stagegate_connections", "Connections of clients.", &["state"]);
    connections.level(["handshake"], level(|core| core.handshaking.get()));
    connections.level(["open"], level(|core| core.open.get()));
    let mut accepted = Family::counter("stagegate_connections_accepted_total", "Connections accepted.", &[]);
    accepted.count([], count(|core| core.accepted.get()));
    let mut turned_away = Family::counter(
        "stagegate_connections_refused_total",
        "Connections closed at once, because as many as may be were open.",
        &[],
    );
    turned_away.count([], count(|core| core.turned_away.get()));
    let mut failures = Family::counter(
        "stagegate_handshake_failures_total",
        "Connections that ended before their handshake was done.",
        &[],
    );
    failures.count([], count(|core| core.handshake_failures.get()));
    let mut panics = Family::counter("stagegate_panics_total", "Panics while serving requests; each is a 500.", &[]);
    panics.count([], count(|core| core.panics.get()));
    let mut dropped = Family::counter(
        "stagegate_access_log_dropped_total",
        "Lines of the access log that were dropped because the output was blocked or broken.",
        &[],
    );
    let lost = lock(&numbers.log_lost).as_ref().map_or(0, |lost| lost.load(Ordering::Relaxed));
    dropped.count([], count(|core| core.log_dropped.get()) + lost);
    [rejections, in_flight, connections, accepted, turned_away, failures, panics, dropped]
}

/// Numbers of the process.
fn process(numbers: &Numbers) -> [Family; 4] {
    let mut rejected =
        Family::counter("stagegate_bundle_rejected_total", "Bundles that could not be read; the old ones stay.", &[]);
    rejected.count([], numbers.bundles_rejected.load(Ordering::Relaxed));
    let mut reloads = Family::counter("stagegate_reloads_total", "Sets of bundles made live, the first included.", &[]);
    reloads.count([], numbers.reloads.load(Ordering::Relaxed));
    let mut live = Family::gauge("stagegate_live_routes", "Routes that are live.", &[]);
    live.level([], i64::try_from(numbers.live_routes.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
    let mut build = Family::gauge("stagegate_build_info", "Always 1; the label says what runs.", &["version"]);
    build.level([env!("CARGO_PKG_VERSION")], 1);
    [rejected, reloads, live, build]
}

/// One histogram of every core, added up.
fn total<T>(all: &[(usize, Arc<T>)], of: impl Fn(&T) -> &super::meter::Histogram) -> Sum {
    let mut sum = Sum::default();
    for (_, meters) in all {
        sum.add(of(meters));
    }
    sum
}

impl Family {
    fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, help, kind: proto::MetricType::COUNTER, labels, rows: Vec::new() }
    }

    fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { kind: proto::MetricType::GAUGE, ..Self::counter(name, help, labels) }
    }

    fn histogram(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { kind: proto::MetricType::HISTOGRAM, ..Self::counter(name, help, labels) }
    }

    fn count<const N: usize>(&mut self, labels: [&str; N], count: u64) {
        let mut counter = proto::Counter::default();
        counter.set_value(count as f64);
        self.row(labels, |row| row.set_counter(counter));
    }

    fn level<const N: usize>(&mut self, labels: [&str; N], level: i64) {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(level as f64);
        self.row(labels, |row| row.set_gauge(gauge));
    }

    /// A histogram; none that has counted nothing.
    fn sum<const N: usize>(&mut self, labels: [&str; N], bounds: &Bounds, sum: &Sum) {
        if sum.count() == 0 {
            return;
        }
        let bucket = |(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(sum.cumulative(bounds).map(bucket).collect());
        histogram.set_sample_count(sum.count());
        histogram.set_sample_sum(sum.seconds());
        self.row(labels, |row| row.set_histogram(histogram));
    }

    fn row<const N: usize>(&mut self, values: [&str; N], set: impl FnOnce(&mut proto::Metric)) {
        debug_assert_eq!(self.labels.len(), N, "{} has other labels", self.name);
        let pair = |(name, value): (&&str, &str)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut row = proto::Metric::default();
        row.set_label(self.labels.iter().zip(values).map(pair).collect());
        set(&mut row);
        self.rows.push(row);
    }

    fn finish(self) -> proto::MetricFamily {
        let mut family = proto::MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(self.rows);
        family
    }
}
