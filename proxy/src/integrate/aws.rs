//! Calls to AWS services: who signs, how, and what is asked.

pub mod action;
pub mod call;
pub mod credentials;
pub mod service;
pub mod sign;
