//! A connection's place in the numbers.

use std::sync::Arc;

use crate::observe::metrics::CoreMeters;

/// Counts one connection for as long as it lives. To be made, moved on and dropped by the core that serves it.
pub struct Connection {
    core: Arc<CoreMeters>,
    established: bool,
}

impl Connection {
    /// One that was accepted and is now in its handshake.
    pub(crate) fn accepted(core: Arc<CoreMeters>) -> Self {
        core.accepted.add(1);
        core.handshaking.up();
        Self { core, established: false }
    }

    /// Its handshake is done, or it has none. Dropped without this, it counts as a failed handshake.
    pub fn established(&mut self) {
        if !std::mem::replace(&mut self.established, true) {
            self.core.handshaking.down();
            self.core.open.up();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.established {
            self.core.open.down();
        } else {
            self.core.handshaking.down();
            self.core.handshake_failures.add(1);
        }
    }
}
