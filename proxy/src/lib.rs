//! The data plane: bundles in, requests through.
//!
//! A request's way is the order of the modules: `accept` → `dispatch` → `guard` → `integrate` → `reply` →
//! `observe`; `serve` is the story that calls them. `live` is what a request meets, parsed and immutable.

pub mod core;
pub mod options;
pub mod proxy;
pub mod undelivered;
pub mod worker;

pub mod body;
pub mod compression;
pub mod context;
pub mod exchange;
pub mod rejection;
pub mod serve;
pub mod turn;

pub mod accept;
pub mod dispatch;
pub mod guard;
pub mod integrate;
pub mod observe;
pub mod reply;

pub mod admin;
pub mod egress;
pub mod endpoints;
pub mod live;
pub mod source;

#[cfg(test)]
mod fixture;

pub use options::{Options, Timeouts};
pub use proxy::{LoadReport, Proxy, StartError};
