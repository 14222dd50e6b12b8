//! What was measured, and which bars that misses.

use std::fmt;
use std::time::Duration;

/// Until every proxy has a change, on average and for 99 of 100, at 3,000 routes.
const MEAN: Duration = Duration::from_millis(30);
const P99: Duration = Duration::from_millis(100);
/// Memory in MiB at 5,000 routes.
const PROXY: f64 = 64.0;
const OPERATOR: f64 = 256.0;

/// Times of all edits on all proxies.
pub(crate) struct Propagation {
    edits: usize,
    mean: Duration,
    median: Duration,
    p99: Duration,
    slowest: Duration,
}

impl Propagation {
    pub(crate) fn of(mut times: Vec<Duration>, edits: usize) -> Self {
        times.sort_unstable();
        let count = times.len().max(1);
        // The smallest time that so many of a hundred do not exceed.
        let within = |share: usize| {
            let rank = (count * share).div_ceil(100).max(1);
            times.get(rank - 1).copied().unwrap_or_default()
        };
        let mean = times.iter().sum::<Duration>() / u32::try_from(count).unwrap_or(u32::MAX);
        Self { edits, mean, median: within(50), p99: within(99), slowest: within(100) }
    }
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { edits, mean, median, p99, slowest } = self;
        write!(
            f,
            "propagation of {edits} edits: mean {mean:.1?} (bar {MEAN:?}), p50 {median:.1?}, p99 {p99:.1?} (bar {P99:?}), slowest {slowest:.1?}"
        )
    }
}

/// Resident memory of a process in MiB.
#[derive(Clone, Copy)]
pub(crate) struct Resident {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

impl fmt::Display for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB (peak {:.1})", self.now, self.peak)
    }
}

/// Of all processes.
pub(crate) struct Memory {
    pub(crate) operator: Resident,
    pub(crate) proxies: Vec<Resident>,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxies: Vec<String> = self.proxies.iter().map(Resident::to_string).collect();
        write!(f, "memory: operator {} (bar {OPERATOR}), proxies {} (bar {PROXY})", self.operator, proxies.join(", "))
    }
}

/// Bars that are missed, as text.
pub(crate) fn missed(propagation: &Propagation, memory: &Memory) -> Vec<String> {
    let mut missed = Vec::new();
    let mut time = |what: &str, measured: Duration, bar: Duration| {
        if measured > bar {
            missed.push(format!("{what} {measured:.1?}, the bar is {bar:?}"));
        }
    };
    time("mean", propagation.mean, MEAN);
    time("p99", propagation.p99, P99);
    let mut resident = |what: &str, measured: Resident, bar: f64| {
        if measured.now > bar {
            missed.push(format!("memory of {what} {measured}, the bar is {bar}"));
        }
    };
    resident("the operator", memory.operator, OPERATOR);
    for proxy in &memory.proxies {
        resident("a proxy", *proxy, PROXY);
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_can_be_missed_and_is_named() {
        let times = |slow: usize| {
            let milliseconds = |index: usize| Duration::from_millis(if index < slow { 120 } else { 10 });
            Propagation::of((0..100).map(milliseconds).collect(), 100)
        };
        let resident = |now: f64| Resident { now, peak: now };
        let memory = |operator: f64, proxy: f64| Memory {
            operator: resident(operator),
            proxies: vec![resident(1.0), resident(proxy)],
        };
        assert!(missed(&times(1), &memory(256.0, 64.0)).is_empty(), "one of a hundred may be slow");
        assert_eq!(missed(&times(2), &memory(1.0, 1.0)), ["p99 120.0ms, the bar is 100ms"]);
        let all = missed(&times(60), &memory(257.0, 65.0));
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(all[0].starts_with("mean 76.0ms") && all[3].contains("a proxy 65.0 MiB"), "{all:?}");
        assert!(missed(&Propagation::of(Vec::new(), 0), &memory(1.0, 1.0)).is_empty());
    }
}
