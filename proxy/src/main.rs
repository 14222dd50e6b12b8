//! The data plane as a program.
fn main() {}
