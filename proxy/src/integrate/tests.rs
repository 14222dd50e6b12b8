//! Integrations against real servers on loopback.

mod codec;
mod connections;
mod harness;
mod http;
mod http_api;
mod reverse;
mod templates;
mod tls;
