//! How a stage's calls to AWS services are made, parsed.

pub mod action;
pub mod service;

use std::collections::BTreeMap;
use std::fmt;

use bundle::StageBundle;
use bundle::aws::{AccessKey, Credentials};
use http::uri::PathAndQuery;

use crate::integrate::upstream::{Destination, Verification};

/// How a stage's calls to AWS services are made.
#[derive(Debug)]
pub struct Aws {
    /// Of the Stage: who may use the credentials of the environment.
    pub namespace: Box<str>,
    /// The Stage's own region: where roles are assumed, and where a service is whose integration names none.
    pub region: Box<str>,
    pub caller: Caller,
    endpoints: BTreeMap<Box<str>, Result<Endpoint, String>>,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    Environment,
    Key(Key),
    /// A Secret of this name was wanted.
    Missing(Box<str>),
}

/// An access key of the Stage's.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    id: Box<str>,
    secret: Box<str>,
    session_token: Option<Box<str>>,
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub destination: Destination,
    /// Put before every path: empty, or with a leading slash and without a trailing one.
    pub base: Box<str>,
}

impl Aws {
    /// Parses a stage's settings. An endpoint that is none fails when it is asked for.
    pub fn parse(stage: &StageBundle) -> Self {
        let bundle::aws::Aws { endpoints, credentials } = &stage.aws;
        let caller = match credentials {
            Credentials::Environment => Caller::Environment,
            Credentials::Key(AccessKey { id, secret, session_token }) => Caller::Key(Key {
                id: id.as_str().into(),
                secret: secret.as_str().into(),
                session_token: session_token.as_deref().map(Into::into),
            }),
            Credentials::Missing { secret } => Caller::Missing(secret.as_str().into()),
        };
        let endpoints = endpoints.iter().map(|(service, url)| (service.as_str().into(), Endpoint::parse(url)));
        let namespace = stage.key.namespace.as_str().into();
        Self { namespace, region: stage.region.as_str().into(), caller, endpoints: endpoints.collect() }
    }

    /// Where a service is: where the Stage says, else Amazon's own host. `service` is its name in an ARN, with the
    /// subdomain it may have.
    ///
    /// # Errors
    /// When it is nowhere, as a sentence.
    pub fn endpoint(&self, service: &str, region: &str) -> Result<Endpoint, String> {
        match self.written(service) {
            Some(endpoint) => endpoint.clone(),
            None => Endpoint::of_amazon(service, region),
        }
    }

    /// Where an action of a service is: Amazon starts synchronous executions under a host of their own.
    ///
    /// # Errors
    /// When it is nowhere, as a sentence.
    pub fn endpoint_of(&self, service: &str, region: &str, synchronous: bool) -> Result<Endpoint, String> {
        match self.written(service) {
            None if synchronous => Endpoint::of_amazon(&format!("sync-{service}"), region),
            Some(_) | None => self.endpoint(service, region),
        }
    }

    /// Whether a role is assumed before this service is called. Not if the service is something that imitates
    /// Amazon's, unless STS is imitated, too.
    pub fn assumes_roles_for(&self, service: &str) -> bool {
        match self.written(service) {
            Some(Ok(endpoint)) => endpoint.is_amazons() || self.endpoints.contains_key("sts"),
            Some(Err(_)) | None => true,
        }
    }

    fn written(&self, service: &str) -> Option<&Result<Endpoint, String>> {
        let plain = service.rsplit('.').next().unwrap_or(service);
        self.endpoints.get(service).or_else(|| self.endpoints.get(plain))
    }
}

impl Endpoint {
    /// # Errors
    /// When it is no http or https URL, as a sentence.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("`{url}` is not a URL"))?;
        let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(&*scheme, "http" | "https") {
            return Err(format!("`{url}` is not an HTTP URL"));
        }
        let base = base.trim_end_matches('/');
        if !base.is_empty() && base.parse::<PathAndQuery>().is_err() || base.contains(['?', '#']) {
            return Err(format!("`{url}` is not the URL of an AWS service"));
        }
        let destination = Destination::parse(&scheme, authority, Verification::default(), false)?;
        Ok(Self { destination, base: base.into() })
    }

    /// Amazon's own host of a service.
    ///
    /// # Errors
    /// When the names are none, as a sentence.
    pub fn of_amazon(service: &str, region: &str) -> Result<Self, String> {
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        };
        if !plain(service) || !plain(region) {
            return Err(format!("`{service}` in `{region}` is no AWS service"));
        }
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let authority = match service {
            // One for all regions.
            "iam" | "cloudfront" | "route53" | "organizations" | "budgets" => format!("{service}.{domain}"),
            _ => format!("{service}.{region}.{domain}"),
        };
        let destination = Destination::parse("https", &authority, Verification::default(), false)?;
        Ok(Self { destination, base: "".into() })
    }

    /// The path of an action.
    pub fn root(&self) -> PathAndQuery {
        let base = if self.base.is_empty() { "/" } else { &*self.base };
        base.parse().unwrap_or_else(|_| PathAndQuery::from_static("/"))
    }

    /// Whether it is Amazon's own, by its host.
    fn is_amazons(&self) -> bool {
        [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|domain| self.destination.host.ends_with(domain))
    }
}

impl Key {
    /// Id, secret and session token.
    pub fn parts(&self) -> (String, String, Option<String>) {
        (self.id.to_string(), self.secret.to_string(), self.session_token.as_deref().map(str::to_owned))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The name that signatures are for, where it is not the service's name in ARNs. `service` may have a subdomain.
pub fn signing_name(service: &str) -> &str {
    match service {
        "email" => "ses",
        "data.iot" => "iotdata",
        "bedrock-runtime" | "bedrock-agent-runtime" => "bedrock",
        "runtime.lex" | "runtime-v2-lex" => "lex",
        _ => match service.rsplit('.').next().unwrap_or(service) {
            "appsync-api" => "appsync",
            "sync-states" => "states",
            "iot" if service.contains('.') => "iotdata",
            plain => plain,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aws(endpoints: &[(&str, &str)]) -> Aws {
        let mut stage = crate::fixture::stage("prod", &[]);
        stage.aws.endpoints = endpoints.iter().map(|&(name, url)| (name.to_owned(), url.to_owned())).collect();
        Aws::parse(&stage)
    }

    fn shown(endpoint: &Endpoint) -> String {
        format!("{}://{}{}", endpoint.destination.scheme(), endpoint.destination.authority(), endpoint.base)
    }

    #[test]
    fn endpoints() {
        let aws = aws(&[("states", "http://localstack:4566/base/"), ("abc.appsync-api", "https://a.b")]);
        for (service, region, expected) in [
            ("states", "eu-west-1", "http://localstack:4566/base"),
            ("sync.states", "eu-west-1", "http://localstack:4566/base"),
            ("abc.appsync-api", "eu-west-1", "https://a.b"),
            ("sqs", "eu-west-1", "https://sqs.eu-west-1.amazonaws.com"),
            ("x.appsync-api", "eu-west-1", "https://x.appsync-api.eu-west-1.amazonaws.com"),
            ("sqs", "cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn"),
            ("iam", "eu-west-1", "https://iam.amazonaws.com"),
        ] {
            assert_eq!(shown(&aws.endpoint(service, region).unwrap()), expected);
        }
        for (service, region) in [("a/b", "eu-west-1"), ("sqs", ""), ("sqs", "evil.com/"), ("s@x", "r")] {
            assert!(aws.endpoint(service, region).is_err(), "{service} {region}");
        }
    }

    #[test]
    fn roles_are_not_assumed_at_amazons_for_what_imitates_it() {
        let imitated =
            aws(&[("sqs", "http://localhost:4566"), ("states", "https://vpce-1.states.eu-west-1.amazonaws.com")]);
        assert!(!imitated.assumes_roles_for("sqs"));
        assert!(imitated.assumes_roles_for("states") && imitated.assumes_roles_for("sns"));
        assert!(aws(&[("sqs", "http://localhost:1"), ("sts", "http://localhost:1")]).assumes_roles_for("sqs"));
    }

    #[test]
    fn signing_names() {
        for (service, expected) in [
            ("states", "states"),
            ("email", "ses"),
            ("abc.appsync-api", "appsync"),
            ("runtime.sagemaker", "sagemaker"),
            ("prefix-ats.iot", "iotdata"),
            ("iot", "iot"),
        ] {
            assert_eq!(signing_name(service), expected);
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let mut stage = crate::fixture::stage("prod", &[]);
        let key = AccessKey { id: "AKIA".into(), secret: "s3cr3t".into(), session_token: Some("t0k3n".into()) };
        stage.aws.credentials = Credentials::Key(key);
        let shown = format!("{:?}", Aws::parse(&stage));
        assert!(shown.contains("AKIA") && !shown.contains("s3cr3t") && !shown.contains("t0k3n"), "{shown}");
    }
}
