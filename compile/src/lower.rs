//! What becomes of a document and of a Stage.

pub(crate) mod api;
mod aws;
mod aws_service;
mod backend;
mod cors;
mod draft;
mod endpoint;
mod gateway_response;
mod host;
mod http_api;
mod integration;
mod lambda;
mod mapping;
mod method_settings;
mod mock;
mod model;
mod path;
mod pattern;
mod response;
mod security;
pub(crate) mod stage;
mod subtype;
mod sweep;
mod template;
pub(crate) mod usage_plan;
mod validator;
pub(crate) mod variable;
