//! The operator's configuration file: the gateways it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use compile::Gateway;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Named groups of proxies; a Stage picks one with `spec.gateway`.
    pub gateways: Vec<GatewayConfig>,
}

/// One gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayConfig {
    /// Its name.
    pub name: String,
    /// Namespace of its proxies' pods.
    pub namespace: String,
    /// Selects its pods there.
    pub selector: Selector,
    /// Port on the pods that tells what they have loaded. Default 8444.
    #[serde(default = "admin_port")]
    pub admin_port: u16,
    /// Where its bundles go: Secrets, and nothing else should be there.
    pub bundle_namespace: String,
    /// Default hosts are `{api}.{namespace}.{baseDomain}`.
    pub base_domain: String,
    /// Certificate of hosts that bring none. Default: certificates of a local CA.
    #[serde(default)]
    pub default_tls: Option<SecretKey>,
    /// `$context.accountId` of Stages that set none.
    #[serde(default = "account_id")]
    pub account_id: String,
    /// Region of Stages that set none.
    #[serde(default = "region")]
    pub region: String,
    /// Which addresses backends by URL may reach. Enforced by the proxies, which get it as arguments.
    #[serde(default)]
    pub egress: Egress,
    /// Namespaces whose Stages may use the proxies' own AWS credentials. Enforced by the proxies too.
    #[serde(default)]
    pub aws_credential_namespaces: BTreeSet<String>,
    /// How many proxies stand in front of the gateway's: so many entries of `X-Forwarded-For`, from its end, are believed.
    /// Enforced by the proxies, which get it as an argument. Default 0: the client is whoever connects.
    #[serde(default)]
    pub trusted_hops: u8,
    /// Stages whose bundle is also written beside them, for a sidecar.
    #[serde(default)]
    pub sidecars: Vec<Sidecar>,
    /// Refused with a word: a limit that is written must not be ignored.
    #[serde(default, deserialize_with = "throttle")]
    throttle: (),
    /// Refused with a word, as `throttle` is.
    #[serde(default, deserialize_with = "store")]
    store: (),
}

/// A label selector; only labels by equality.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Labels that a pod must have.
    pub match_labels: BTreeMap<String, String>,
}

/// A Secret in any namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// Its name.
    pub secret_name: String,
    /// Its namespace.
    pub namespace: String,
}

/// Addresses that backends by URL may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Egress {
    /// Ranges that are allowed although they are the cluster's own or local.
    #[serde(default)]
    pub allow: Vec<String>,
    /// The cluster's own ranges.
    #[serde(default)]
    pub cluster_ranges: Vec<String>,
}

/// A Stage with a sidecar.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// Namespace of the Stage.
    pub namespace: String,
    /// Its name.
    pub stage: String,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// It is not what it should be; line and field are in the text.
    #[error("{path}: {message}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong, with its line.
        message: String,
    },
}

fn throttle<'de, D: Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(D::Error::custom("`throttle`: rate limits of a gateway are not served yet; remove the field"))
}

fn store<'de, D: Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(D::Error::custom("`store`: a store that proxies share is not served yet; remove the field"))
}

fn admin_port() -> u16 {
    8444
}

fn account_id() -> String {
    "000000000000".to_owned()
}

fn region() -> String {
    "us-east-1".to_owned()
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or something in it is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: name.clone(), error })?;
        Self::parse(&text).map_err(|message| ConfigError::Malformed { path: name, message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut names = BTreeSet::new();
        for (index, gateway) in config.gateways.iter().enumerate() {
            let at = format!("gateways[{index}]");
            if gateway.name.is_empty() || !names.insert(&gateway.name) {
                return Err(format!("{at}.name: `{}` is empty or there twice", gateway.name));
            }
            if gateway.selector.match_labels.is_empty() {
                return Err(format!("{at}.selector.matchLabels: without a label it would select every pod"));
            }
            if gateway.base_domain.is_empty() || gateway.bundle_namespace.is_empty() || gateway.namespace.is_empty() {
                return Err(format!("{at}: namespace, bundleNamespace and baseDomain are needed"));
            }
        }
        Ok(config)
    }

    /// The gateway of this name.
    pub fn gateway(&self, name: &str) -> Option<&GatewayConfig> {
        self.gateways.iter().find(|gateway| gateway.name == name)
    }

    /// Namespaces of bundles, each once.
    pub fn bundle_namespaces(&self) -> BTreeSet<&str> {
        self.gateways.iter().map(|gateway| gateway.bundle_namespace.as_str()).collect()
    }
}

impl GatewayConfig {
    /// The gateway as the compiler wants it.
    pub fn compiler(&self) -> Gateway {
        Gateway {
            name: self.name.clone(),
            base_domain: self.base_domain.clone(),
            account_id: self.account_id.clone(),
            region: self.region.clone(),
            any_stage: false,
            default_host_optional: false,
        }
    }
}

impl Selector {
    /// As the API server takes it.
    pub fn text(&self) -> String {
        self.match_labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "\
gateways:
- name: default
  namespace: stagegate
  selector: {matchLabels: {app: proxy}}
  bundleNamespace: bundles
  baseDomain: apis.example.com
";

    #[test]
    fn a_gateway_has_defaults() {
        let config = Config::parse(MINIMAL).unwrap();
        let gateway = config.gateway("default").unwrap();
        assert_eq!((gateway.admin_port, gateway.region.as_str(), gateway.trusted_hops), (8444, "us-east-1", 0));
        assert_eq!(gateway.selector.text(), "app=proxy");
        assert_eq!(config.bundle_namespaces().into_iter().collect::<Vec<_>>(), ["bundles"]);
        assert!(config.gateway("other").is_none());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, told) in [
            (MINIMAL.replace("baseDomain", "basedomain"), "basedomain"),
            (format!("{MINIMAL}  throttle: {{rate: 100, burst: 10}}\n"), "`throttle`: rate limits"),
            (format!("{MINIMAL}  store: redis://cache:6379\n"), "`store`: a store"),
            (format!("{MINIMAL}  store: none\n"), "line 7"),
            (format!("{MINIMAL}  trustedHops: -1\n"), "line 7"),
            (MINIMAL.replace("{app: proxy}", "{}"), "gateways[0].selector.matchLabels"),
            (format!("{MINIMAL}{}", MINIMAL.replace("gateways:\n", "")), "gateways[1].name"),
        ] {
            let error = Config::parse(&text).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
