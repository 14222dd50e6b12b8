//! The configuration file: the gateways that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Groups of proxies.
    pub gateways: Vec<Gateway>,
}

/// A named group of proxies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// What a Stage's `spec.gateway` says.
    pub name: String,
    /// Namespace of its pods.
    pub namespace: String,
    /// Which pods they are.
    pub selector: Selector,
    /// Where they answer `/loaded`. Default 8444.
    #[serde(default = "admin_port")]
    pub admin_port: u16,
    /// Where they read bundles.
    pub bundle_namespace: String,
    /// Default hosts are `{api}.{namespace}.{baseDomain}`.
    pub base_domain: String,
    /// Certificate of hosts without one of their own. Default: leaves of a local CA.
    #[serde(default)]
    pub default_tls: Option<DefaultTls>,
    /// `$context.accountId` of Stages that set none.
    #[serde(default = "account_id")]
    pub account_id: String,
    /// Region of Stages that set none.
    #[serde(default = "region")]
    pub region: String,
    /// Where requests may go; the proxies have it from their own options.
    #[serde(default)]
    pub egress: Egress,
    /// Namespaces whose Stages may use the proxies' own AWS credentials.
    #[serde(default)]
    pub aws_credential_namespaces: BTreeSet<String>,
    /// Stages whose bundle also goes into their own namespace.
    #[serde(default)]
    pub sidecars: Vec<Sidecar>,
}

/// Which pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Labels they all have.
    pub match_labels: BTreeMap<String, String>,
}

/// A `kubernetes.io/tls` Secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefaultTls {
    /// Its name.
    pub secret_name: String,
    /// Its namespace.
    pub namespace: String,
}

/// Where requests may go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Egress {
    /// Ranges that are allowed although they are the cluster's.
    #[serde(default)]
    pub allow: Vec<String>,
    /// The cluster's own ranges.
    #[serde(default)]
    pub cluster_ranges: Vec<String>,
}

/// A Stage served by sidecars.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sidecar {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub stage: String,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    /// It is not what it should be; the text names line and field.
    #[error("{0}: {1}")]
    Malformed(String, String),
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or is not what it should be.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read(name.clone(), error))?;
        Self::parse(&text).map_err(|error| ConfigError::Malformed(name, error))
    }

    /// Reads the file's text; the error names line and field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut names = BTreeSet::new();
        for (index, gateway) in config.gateways.iter().enumerate() {
            let at = format!("gateways[{index}]");
            for (field, value) in [
                ("name", &gateway.name),
                ("namespace", &gateway.namespace),
                ("bundleNamespace", &gateway.bundle_namespace),
            ] {
                let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                if value.is_empty() || value.len() > 63 || !value.bytes().all(label) {
                    return Err(format!("{at}.{field}: `{value}` is no DNS label"));
                }
            }
            if gateway.base_domain.is_empty() {
                return Err(format!("{at}.baseDomain: it is empty"));
            }
            if !names.insert(&gateway.name) {
                return Err(format!("{at}.name: there are two gateways `{}`", gateway.name));
            }
        }
        Ok(config)
    }
}

impl Gateway {
    /// What the compiler needs of it.
    pub fn compile(&self) -> compile::Gateway {
        compile::Gateway {
            name: self.name.clone(),
            base_domain: self.base_domain.clone(),
            account_id: self.account_id.clone(),
            region: self.region.clone(),
            any_stage: false,
            default_host_optional: false,
        }
    }

    /// Its pods, as a label selector.
    pub fn pods(&self) -> String {
        let pairs: Vec<_> = self.selector.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    }

    /// Its bundle of this Stage goes to sidecars.
    pub fn is_sidecar(&self, key: &bundle::StageKey) -> bool {
        self.sidecars.iter().any(|sidecar| sidecar.namespace == key.namespace && sidecar.stage == key.name)
    }
}

fn admin_port() -> u16 {
    8444
}

fn account_id() -> String {
    "123456789012".to_owned()
}

fn region() -> String {
    "eu-west-1".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "gateways:\n- name: default\n  namespace: stagegate\n  selector: {matchLabels: {app: proxy}}\n  bundleNamespace: bundles\n  baseDomain: apis.example.com\n";

    #[test]
    fn a_file_with_defaults() {
        let config = Config::parse(FILE).unwrap();
        assert_eq!(config.gateways[0].admin_port, 8444);
        assert_eq!(config.gateways[0].pods(), "app=proxy");
    }

    #[test]
    fn errors_name_line_and_field() {
        let error = Config::parse(&FILE.replace("baseDomain", "baseDomian")).unwrap_err();
        assert!(error.contains("baseDomian") && error.contains('6'), "{error}");
        let error = Config::parse(&format!("{FILE}{}", &FILE["gateways:\n".len()..])).unwrap_err();
        assert_eq!(error, "gateways[1].name: there are two gateways `default`");
        let error = Config::parse(&FILE.replace("bundles", "Bundles_")).unwrap_err();
        assert_eq!(error, "gateways[0].bundleNamespace: `Bundles_` is no DNS label");
    }
}
