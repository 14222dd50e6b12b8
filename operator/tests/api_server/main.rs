//! The operator as a process, on a real API server: one for all of these tests.

mod certificates;
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
