//! A stage's canary: a share of its requests, drawn anew for each.

use std::sync::Arc;

use bundle::Digest;

use crate::live::Stage;

/// A stage's canary.
pub struct Canary {
    share: Share,
    /// What serves the share.
    pub stage: Arc<Stage>,
}

/// A share of the requests, in 2⁻³² of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share(u64);

impl Canary {
    pub(super) fn parse(canary: &bundle::stage::Canary, digest: &Digest) -> Self {
        let bundle::stage::Canary { percent, use_stage_cache: _, stage } = canary;
        let mut stage = Stage::parse(stage, digest.clone());
        stage.canary_request = Some(true);
        Self { share: Share::of(*percent), stage: Arc::new(stage) }
    }

    /// Whether a request is the canary's; `drawn` is evenly distributed.
    pub fn takes(&self, drawn: u32) -> bool {
        self.share.takes(drawn)
    }
}

impl Share {
    fn of(percent: f64) -> Self {
        // Saturating: what is no number takes nothing.
        Self(((percent / 100.0).clamp(0.0, 1.0) * 4_294_967_296.0) as u64)
    }

    fn takes(self, drawn: u32) -> bool {
        u64::from(drawn) < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (percent, taken) in
            [(0.0, 0), (100.0, 1 << 32), (50.0, 1 << 31), (-1.0, 0), (250.0, 1 << 32), (f64::NAN, 0), (0.1, 4_294_967)]
        {
            assert_eq!(Share::of(percent), Share(taken), "{percent}");
        }
        assert!(Share::of(100.0).takes(u32::MAX) && !Share::of(0.0).takes(0));
    }
}
