//! From resources to bundles: pure, total, synchronous.
//!
//! Text becomes values (`source`), objects become a `World`, `world::attach` gives every Stage what it depends on,
//! [`compile_stage`] makes one Stage's bundle of that, and [`link`] joins the Stages of one gateway. Nothing here
//! returns an error: whatever is wrong is a [`Finding`], and all findings are collected. No clock, no socket, no
//! randomness: the same inputs give the same bytes.

#![deny(missing_docs)]

pub mod callers;
mod client_ca;
pub mod deploy;
pub mod finding;
pub mod gateway;
pub mod grant;
pub mod ident;
pub mod link;
mod lower;
mod quantity;
mod read;
pub mod source;
pub mod support;
pub mod unit;
pub mod world;

pub use callers::{Callers, callers};
pub use finding::{Finding, ObjectRef, Reason, Severity};
pub use gateway::Gateway;
pub use grant::{Grants, ReferenceGrant};
pub use link::{Linked, link};
pub use source::{Document, SourceError};
pub use unit::{Unit, check_api, compile_stage};
pub use world::{Attached, CanaryInputs, Contract, ObjectKey, Origin, StageInputs, World, attach};
