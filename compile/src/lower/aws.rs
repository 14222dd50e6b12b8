//! A Stage's `aws`: where AWS services are and who calls them.

use bundle::aws::{AccessKey, Credentials};
use crds::stage::Aws;

use super::endpoint::is_http_uri;
use crate::finding::{Findings, Reason, Severity};
use crate::read::escape;

/// What `spec.aws` says.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) region: Option<String>,
    pub(super) account_id: Option<String>,
    pub(super) calls: bundle::aws::Aws,
}

/// Lowers `spec.aws`. `key` is what its Secret holds.
pub(super) fn settings(aws: &Aws, key: Option<&AccessKey>, findings: &mut Findings) -> Settings {
    let Aws { region, account_id, endpoints, credentials } = aws;
    let mut calls = bundle::aws::Aws::default();
    for (service, url) in endpoints {
        if is_http_uri(url) && !url.contains(['?', '#', '{']) {
            calls.endpoints.insert(service.clone(), url.clone());
        } else {
            let text = format!("`{url}` is no absolute http or https URL");
            let at = format!("/spec/aws/endpoints/{}", escape(service));
            findings.object(Severity::Error, Reason::InvalidSetting, at, text);
        }
    }
    if let Some(credentials) = credentials {
        calls.credentials = match key {
            Some(key) => Credentials::Key(key.clone()),
            None => Credentials::Missing { secret: credentials.secret_name.clone() },
        };
    }
    let twelve = |id: &String| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
    if account_id.as_ref().is_some_and(|id| !twelve(id)) {
        let text = "an account id is twelve digits, as text";
        findings.object(Severity::Error, Reason::InvalidSetting, "/spec/aws/accountId", text);
    }
    let region_like =
        |region: &String| !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if region.as_ref().is_some_and(|region| !region_like(region)) {
        findings.object(Severity::Error, Reason::InvalidSetting, "/spec/aws/region", "a region is as `eu-west-1`");
    }
    Settings { region: region.clone().filter(region_like), account_id: account_id.clone().filter(twelve), calls }
}
