//! Parameter mapping at run time, and the header tables.

pub mod headers;
pub mod parameters;
pub mod uri;
