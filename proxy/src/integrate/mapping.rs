//! Parameter mapping at run time, and the header tables.

pub mod document;
pub mod headers;
pub mod overrides;
pub mod parameters;
pub mod template;
pub mod uri;
