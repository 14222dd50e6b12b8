//! The operator as a process, on a real API server: one for all of these tests.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

mod callers;
mod certificates;
mod client_ca;
mod deployments;
mod gateways;
mod grants;
mod hosts;
mod parts;
mod proxies;
mod roles;
mod scale;
mod sidecars;
mod support;
mod unreadable;
