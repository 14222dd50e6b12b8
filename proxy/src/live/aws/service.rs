//! AWS integrations, except for Lambda's, parsed.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, USER_AGENT};
use http::{HeaderName, HeaderValue, Method};

use crate::integrate::mapping::headers::Flavor;
use crate::integrate::trace::API_ID;
use crate::integrate::upstream::{Destination, Verification};
use crate::live::Scope;
use crate::live::aws::{Aws, Endpoint, signing_name};
use crate::live::custom::Custom;
use crate::live::mapping::header_value;
use crate::live::mapping::uri::{UriTemplate, with_variables};
use crate::live::selection::By;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// An integration with an AWS service.
#[derive(Debug)]
pub struct Service {
    pub destination: Destination,
    /// The endpoint with the path asked for, and an action's name in the query.
    pub uri: UriTemplate,
    /// `None`: the client's.
    pub method: Option<Method>,
    /// The name signatures are for.
    pub signing_name: Box<str>,
    pub region: Box<str>,
    pub role: Option<Box<str>>,
    pub timeout: Duration,
    /// Headers that are the same for every request; mapped ones replace them.
    pub headers: HeaderMap,
    pub custom: Custom,
}

/// `arn:aws:apigateway:{region}:{service}:{path|action}/{rest}`.
struct Arn<'a> {
    region: &'a str,
    service: &'a str,
    what: What<'a>,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Path(&'a str),
    Action(&'a str),
}

impl Service {
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(service: &bundle::integration::AwsService, scope: &Scope<'_>) -> Result<Self, String> {
        let bundle::integration::AwsService { uri, method, role, timeout_ms, request, responses } = service;
        let stage = scope.bundle;
        let uri = with_variables(uri, &stage.variables);
        let arn = Arn::parse(&uri).ok_or_else(|| format!("`{uri}` is no ARN of an AWS integration"))?;
        let aws = Aws::parse(stage);
        let synchronous = matches!((arn.service, arn.what), ("states", What::Action("StartSyncExecution")));
        let Endpoint { destination, base } = aws.endpoint_of(arn.service, arn.region, synchronous)?;
        let (custom, paths) = Custom::parse(request, responses, Flavor::Aws, By::Status, scope)?;
        let (path, target) = match arn.what {
            What::Path(path) => (format!("{base}/{path}"), None),
            What::Action(action) => {
                let (action, query) = action.split_once('&').unwrap_or((action, ""));
                let query = if query.is_empty() { String::new() } else { format!("&{query}") };
                (format!("{base}/?Action={action}{query}"), target(arn.service, action))
            }
        };
        let url = format!("{}://{}{path}", destination.scheme(), destination.authority());
        let uri = UriTemplate::parse(&url, Verification::default(), &paths, custom.templates.any(), &stage.variables)?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, header_value(&format!("AmazonAPIGateway_{}", stage.api.id))?);
        headers.insert(&API_ID, header_value(&stage.api.id)?);
        if let Some(Target { name, content_type }) = target {
            headers.insert(TARGET, header_value(&name)?);
            headers.extend(content_type.map(|content_type| (CONTENT_TYPE, HeaderValue::from_static(content_type))));
        }
        let method = method.as_deref().map(|method| method.parse().map_err(|_| format!("`{method}` is not a verb")));
        let role = role.as_deref().map(|role| with_variables(role, &stage.variables));
        let role = role.filter(|role| !role.is_empty() && aws.assumes_roles_for(arn.service));
        Ok(Self {
            destination,
            uri,
            method: method.transpose()?,
            signing_name: signing_name(arn.service).into(),
            region: arn.region.into(),
            role: role.map(Into::into),
            timeout: Duration::from_millis(*timeout_ms),
            headers,
            custom,
        })
    }
}

impl<'a> Arn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (arn, _partition, gateway) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, service, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let what = match rest.split_once('/')? {
            ("path", path) => What::Path(path.trim_start_matches('/')),
            ("action", action) if !action.is_empty() && !action.contains(['/', '?', '{']) => What::Action(action),
            _ => return None,
        };
        (arn == "arn" && gateway == "apigateway").then_some(Self { region, service, what })
    }
}

/// How a JSON service is told what to do.
struct Target {
    name: String,
    /// `None`: the service understands an action's query, too, and is asked in that way.
    content_type: Option<&'static str>,
}

/// The target of an action. Amazon fills it in for these; EventBridge's, as recorded, has to be mapped by hand.
fn target(service: &str, action: &str) -> Option<Target> {
    const JSON_1_0: Option<&str> = Some("application/x-amz-json-1.0");
    const JSON_1_1: Option<&str> = Some("application/x-amz-json-1.1");
    let (prefix, content_type) = match service {
        "dynamodb" => ("DynamoDB_20120810", JSON_1_0),
        "states" => ("AWSStepFunctions", JSON_1_0),
        "kinesis" => ("Kinesis_20131202", JSON_1_1),
        "firehose" => ("Firehose_20150804", JSON_1_1),
        "logs" => ("Logs_20140328", JSON_1_1),
        "secretsmanager" => ("secretsmanager", JSON_1_1),
        "kms" => ("TrentService", JSON_1_1),
        "cognito-idp" => ("AWSCognitoIdentityProviderService", JSON_1_1),
        "ssm" => ("AmazonSSM", None),
        _ => return None,
    };
    Some(Target { name: format!("{prefix}.{action}"), content_type })
}
