//! The mapping-template language: parser and bounded evaluator.

mod error;
pub mod json;
pub mod jsonpath;
mod limits;
mod pattern;
mod text;
pub mod value;

pub use error::{Error, Kind, Report};
pub use limits::{Limits, MAX_TEMPLATE_BYTES};
pub use text::Text;
pub use value::Value;
