//! The mapping-template language: parser and bounded evaluator.
//!
//! Apache Velocity 1.7 as Amazon API Gateway runs it, with `$input`, `$context`, `$stageVariables` and
//! `$util`, Jayway's JSONPath and json-smart's lenient reading. A [`Template`] is parsed once and rendered
//! with a [`Scope`]; a rendering is bounded by [`Limits`] and never panics. The crate knows nothing of
//! gateways beyond the values it is given.
//!
//! Departures from Velocity, each for what was recorded of the real service or for safety:
//! - a reference without a value renders as empty text, and equals `""`;
//! - arguments of macros are evaluated once, at the call;
//! - `#parse` and `#include` are refused, `.class` is empty;
//! - more than the allowed iterations of a `#foreach` are an error, not a silent end;
//! - a list or map cannot be put into itself.

mod template;

mod scope;

mod parse;

mod ast;

mod render;

mod methods;

mod util;

pub mod jsonpath;

pub mod pattern;

pub mod json;

pub mod value;

mod text;

mod limits;

mod error;

pub use error::{Error, Kind, Report};
pub use limits::{Limits, MAX_TEMPLATE_BYTES};
pub use scope::{Input, Overrides, Scope};
pub use template::Template;
pub use text::Text;
pub use value::Value;
