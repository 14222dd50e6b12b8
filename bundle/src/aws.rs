//! How a Stage's calls to AWS services are made.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How a Stage's calls to AWS services are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aws {
    /// Absolute `http` or `https` URLs by the service's name in the integration's ARN; Amazon's own for the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, String>,
    /// Who calls.
    #[serde(default, skip_serializing_if = "Credentials::is_environment")]
    pub credentials: Credentials,
}

/// Who calls AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credentials {
    /// Whoever the proxy is: its environment variables, its web identity (IRSA), its Pod Identity.
    #[default]
    Environment,
    /// An access key from the Stage's Secret.
    Key(AccessKey),
    /// The Stage names a Secret that is not there, or holds no access key: every call fails, none is made as somebody
    /// else.
    Missing {
        /// Name of the Secret.
        secret: String,
    },
}

/// An access key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Its id, which is no secret.
    pub id: String,
    /// The secret access key.
    pub secret: String,
    /// The session token of temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
}

impl Aws {
    /// Nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Credentials {
    fn is_environment(&self) -> bool {
        matches!(self, Self::Environment)
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let key = AccessKey { id: "AKIA".into(), secret: "s3cr3t".into(), session_token: Some("t0k3n".into()) };
        let shown = format!("{:?}", Credentials::Key(key));
        assert!(shown.contains("AKIA") && !shown.contains("s3cr3t") && !shown.contains("t0k3n"), "{shown}");
    }
}
