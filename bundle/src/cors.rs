//! Cross-origin requests that the gateway answers for by itself (`x-amazon-apigateway-cors`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What pages of other origins may do. Source: developer guide, "Configuring CORS for an HTTP API".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// Origins: `https://app.example.com`, `https://*`, `http://*`, or `*`.
    #[serde(default)]
    pub allow_origins: BTreeSet<String>,
    /// Whether cookies and the like may be sent. Not together with the origin `*`.
    #[serde(default)]
    pub allow_credentials: bool,
    /// Verbs, or `*`.
    #[serde(default)]
    pub allow_methods: BTreeSet<String>,
    /// Request headers, or `*`.
    #[serde(default)]
    pub allow_headers: BTreeSet<String>,
    /// Answer headers that a page may read.
    #[serde(default)]
    pub expose_headers: BTreeSet<String>,
    /// Seconds that a browser may remember the answer to a preflight, -1 to 86,400.
    #[serde(default)]
    pub max_age: Option<i64>,
}
