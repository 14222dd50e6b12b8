//! Settings of the gateway that serves the Stages.

/// One gateway: a named group of proxies, or `stagegate dev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its name; Stages say which one serves them.
    pub name: String,
    /// Default hosts are `{api}.{namespace}.{base_domain}`.
    pub base_domain: String,
    /// `$context.accountId` of Stages that set none.
    pub account_id: String,
    /// Region of Stages that set none.
    pub region: String,
    /// Serves Stages whatever gateway they name: there is only this one.
    pub any_stage: bool,
    /// While there is one API, hosts nobody claims get its default table.
    pub default_host_optional: bool,
}

impl Gateway {
    /// The gateway of `stagegate dev`.
    pub fn dev() -> Self {
        Self {
            name: "default".to_owned(),
            base_domain: "localhost".to_owned(),
            account_id: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            any_stage: true,
            default_host_optional: true,
        }
    }
}
