//! How long a watch that failed waits before it tries again.

use std::time::Duration;

use kube::runtime::utils::Backoff;

const FIRST: Duration = Duration::from_millis(100);
/// Short, because an API server that is back should be noticed: there are a dozen watches.
const LONGEST: Duration = Duration::from_secs(5);

/// Twice as long after every failure, and a random part of it, so that not all watches come back at once.
#[derive(Debug)]
pub(super) struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        Some(wait.mul_f64(0.5 + fastrand::f64() / 2.0))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.0 = FIRST;
    }
}
