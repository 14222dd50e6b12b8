//! What is understood and not served yet, in one table. Whoever serves a feature deletes its row and lowers it.

/// Something a document or a Stage can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// `x-amazon-apigateway-policy`.
    ResourcePolicy,
    /// A security scheme with `x-amazon-apigateway-authorizer`.
    Authorizer,
    /// `AWS_IAM` methods, `awsSigv4` schemes; a Stage's `principals` go with them.
    IamAuthorization,
    /// `credentials: arn:aws:iam::*:user/*`.
    CallerCredentials,
    /// `AWS_PROXY` to a Firehose stream.
    FirehoseProxy,
    /// A `uri` that is a load balancer's ARN.
    VpcLinkListener,
    /// `connectionType: VPC_LINK` and its companions.
    VpcLink,
    /// `x-amazon-apigateway-api-key-source: AUTHORIZER`.
    ApiKeySource,
    /// A private endpoint.
    PrivateEndpoint,
    /// A Stage's cache.
    Cache,
    /// Rate limits of methods.
    Throttle,
    /// Detailed metrics of methods.
    DetailedMetrics,
    /// Execution logs of methods.
    ExecutionLog,
    /// A Stage's access log format.
    AccessLogFormat,
    /// Rate limits of usage plans.
    PlanThrottle,
    /// Quotas of usage plans.
    Quota,
}

/// What becomes of a route or host that asks for what is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It answers 500: it would do something else than its author wrote, or let in whom he shuts out.
    Refuse,
    /// It is served without.
    Ignore,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// What is asked for.
    pub feature: Feature,
    /// What becomes of it.
    pub effect: Effect,
    /// How people call it.
    pub name: &'static str,
}

macro_rules! gaps {
    ($($feature:ident $effect:ident $name:literal),* $(,)?) => {
        /// Everything that is not served yet.
        pub const GAPS: &[Gap] =
            &[$(Gap { feature: Feature::$feature, effect: Effect::$effect, name: $name }),*];
    };
}

gaps! {
    // Whatever decides who may call fails closed.
    ResourcePolicy Refuse "the resource policy",
    Authorizer Refuse "the authorizer",
    IamAuthorization Refuse "AWS_IAM authorization",
    ApiKeySource Refuse "API keys from an authorizer",
    // What cannot be done in part.
    CallerCredentials Refuse "calls with the caller's own credentials (arn:aws:iam::*:user/*)",
    FirehoseProxy Refuse "the AWS_PROXY integration of a Firehose stream",
    VpcLinkListener Refuse "a VPC link to a listener's ARN",
    // What the rest is useful without.
    VpcLink Ignore "the VPC link (its uri is called directly)",
    PrivateEndpoint Ignore "a private endpoint (who reaches the gateway is the network's matter)",
    Cache Ignore "the response cache",
    Throttle Ignore "the rate limit",
    DetailedMetrics Ignore "detailed metrics",
    ExecutionLog Ignore "the execution log",
    AccessLogFormat Ignore "the access log's format",
    PlanThrottle Ignore "the rate limit of a usage plan",
    Quota Ignore "the quota of a usage plan",
}

impl Gap {
    /// The gap as a sentence.
    pub(crate) fn text(&self) -> String {
        format!("not served yet: {}", self.name)
    }
}

/// The row of a feature that is not served yet.
pub fn gap(feature: Feature) -> Option<&'static Gap> {
    GAPS.iter().find(|gap| gap.feature == feature)
}

/// Extensions that keep callers out, or a method from being another route's: in a place where they are not read, or
/// misspelt, they are no mere oversight.
pub(crate) const GUARDS: [&str; 5] = [
    "x-amazon-apigateway-any-method",
    "x-amazon-apigateway-auth",
    "x-amazon-apigateway-authorizer",
    "x-amazon-apigateway-authtype",
    "x-amazon-apigateway-policy",
];

/// Where an extension may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Root,
    PathItem,
    Operation,
    SecurityScheme,
    Components,
    Server,
    Tag,
    Other,
}

/// Extensions that are read, and where. Anything else that begins with `x-amazon-` is reported.
pub(crate) const EXTENSIONS: &[(&str, &[Place])] = &[
    ("x-amazon-apigateway-any-method", &[Place::PathItem]),
    ("x-amazon-apigateway-api-key-source", &[Place::Root]),
    ("x-amazon-apigateway-auth", &[Place::Operation]),
    ("x-amazon-apigateway-authorizer", &[Place::SecurityScheme]),
    ("x-amazon-apigateway-authtype", &[Place::SecurityScheme]),
    ("x-amazon-apigateway-binary-media-types", &[Place::Root]),
    ("x-amazon-apigateway-cors", &[Place::Root]),
    // Documentation has no effect at run time, and tags and versions neither.
    ("x-amazon-apigateway-documentation", &[Place::Root]),
    ("x-amazon-apigateway-endpoint-configuration", &[Place::Root, Place::Server]),
    ("x-amazon-apigateway-gateway-responses", &[Place::Root]),
    ("x-amazon-apigateway-importexport-version", &[Place::Root]),
    ("x-amazon-apigateway-integration", &[Place::Operation]),
    ("x-amazon-apigateway-integrations", &[Place::Components]),
    ("x-amazon-apigateway-minimum-compression-size", &[Place::Root]),
    ("x-amazon-apigateway-policy", &[Place::Root]),
    ("x-amazon-apigateway-request-validator", &[Place::Root, Place::Operation]),
    ("x-amazon-apigateway-request-validators", &[Place::Root]),
    ("x-amazon-apigateway-tag-value", &[Place::Tag]),
];
