//! Numbers that one core writes and a scrape reads: plain loads and stores, no lock prefix.
//!
//! Two threads that wrote one of them could lose counts, so every core has its own and they are added at scrape.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; by the core that owns it.
    pub fn add(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    /// What it counts.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds one; by the core that owns it.
    pub fn up(&self) {
        self.0.store(self.get() + 1, Ordering::Relaxed);
    }

    /// Takes one off; by the core that owns it.
    pub fn down(&self) {
        self.0.store(self.get() - 1, Ordering::Relaxed);
    }

    /// What it shows.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of buckets, in nanoseconds, inclusive; beyond the last is one more.
#[derive(Debug)]
pub struct Bounds(pub [u64; BOUNDS]);

const BOUNDS: usize = 15;

const MICROSECOND: u64 = 1000;
const MILLISECOND: u64 = 1000 * MICROSECOND;
const SECOND: u64 = 1000 * MILLISECOND;

/// 0.5 ms to 30 s: what callers and backends see; the last two surround Amazon's 29 s.
pub const LATENCY: Bounds = Bounds([
    500 * MICROSECOND,
    MILLISECOND,
    2500 * MICROSECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
]);

/// 25 µs to 1 s: the gateway's own part.
pub const OVERHEAD: Bounds = Bounds([
    25 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    250 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    2500 * MICROSECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
]);

/// How often durations fell between bounds.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative.
    buckets: [Counter; BOUNDS + 1],
    /// Nanoseconds.
    sum: Counter,
}

impl Histogram {
    /// Counts a duration; by the core that owns it, always with the same bounds.
    pub fn observe(&self, bounds: &Bounds, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let index = bounds.0.iter().position(|bound| nanoseconds <= *bound).unwrap_or(BOUNDS);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.add(1);
        }
        self.sum.add(nanoseconds);
    }
}

/// Histograms added up, as a scrape shows them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sum {
    buckets: [u64; BOUNDS + 1],
    /// Nanoseconds.
    sum: u64,
}

impl Sum {
    /// Adds one core's.
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum = sum.wrapping_add(bucket.get());
        }
        self.sum = self.sum.wrapping_add(histogram.sum.get());
    }

    /// How many durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum in seconds.
    pub fn seconds(&self) -> f64 {
        self.sum as f64 / SECOND as f64
    }

    /// Upper bound in seconds and how many durations are not above it, for each bound.
    pub fn cumulative<'a>(&'a self, bounds: &'a Bounds) -> impl Iterator<Item = (f64, u64)> + 'a {
        bounds.0.iter().zip(&self.buckets).scan(0, |below, (bound, bucket)| {
            *below += bucket;
            Some((*bound as f64 / SECOND as f64, *below))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_ascend() {
        for bounds in [LATENCY, OVERHEAD] {
            assert!(bounds.0.is_sorted());
        }
    }

    proptest! {
        #[test]
        fn a_histogram_counts_what_is_not_above_each_bound(nanoseconds in proptest::collection::vec(0u64..60 * SECOND, 0..50)) {
            let (one, two) = (Histogram::default(), Histogram::default());
            for (index, value) in nanoseconds.iter().enumerate() {
                [&one, &two][index % 2].observe(&LATENCY, Duration::from_nanos(*value));
            }
            let mut sum = Sum::default();
            sum.add(&one);
            sum.add(&two);
            prop_assert_eq!(sum.count(), nanoseconds.len() as u64);
            prop_assert_eq!(sum.sum, nanoseconds.iter().sum::<u64>());
            for ((_, found), bound) in sum.cumulative(&LATENCY).zip(LATENCY.0) {
                prop_assert_eq!(found, nanoseconds.iter().filter(|value| **value <= bound).count() as u64);
            }
        }
    }
}
