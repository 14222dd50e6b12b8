//! Where the pods of Services are. Filled by whoever watches, read by every core.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

/// Where the pods of Services are.
#[derive(Debug, Default)]
pub struct Endpoints {
    table: ArcSwap<Table>,
    /// Counts swaps of `table`.
    generation: AtomicU64,
}

/// Addresses by namespace and name of a Service; one that is not in it is asked for by its DNS name.
pub type Table = HashMap<(Box<str>, Box<str>), Arc<[SocketAddr]>>;

impl Endpoints {
    /// Replaces what was known.
    pub fn publish(&self, table: Table) {
        self.table.store(Arc::new(table));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Changes with every [`Self::publish`].
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The addresses of a Service, never an empty list.
    pub fn find(&self, key: &(Box<str>, Box<str>)) -> Option<Arc<[SocketAddr]>> {
        self.table.load().get(key).filter(|addresses| !addresses.is_empty()).cloned()
    }
}
