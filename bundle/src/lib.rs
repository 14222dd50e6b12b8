//! The contract between whoever compiles and whoever serves: wire types, codec, digest.
