//! Calls to AWS services: who signs, how, and what is asked.

pub mod call;
pub mod credentials;
pub mod sign;
