//! An HTTP API's integrations with one action of an AWS service, parsed.

use std::time::Duration;

use bundle::subtype::{Parameter, Subtype};
use http::{HeaderName, HeaderValue};

use crate::integrate::upstream::Destination;
use crate::live::Scope;
use crate::live::aws::{Aws, Endpoint, signing_name};
use crate::live::http_api::{Changes, Expression};
use crate::live::mapping::Wants;
use crate::live::mapping::uri::with_variables;

pub const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// An integration with one action.
#[derive(Debug)]
pub struct Action {
    pub subtype: Subtype,
    pub destination: Destination,
    /// Put before the path.
    pub base: Box<str>,
    pub signing_name: Box<str>,
    pub region: Box<str>,
    pub role: Option<Box<str>>,
    pub timeout: Duration,
    pub parameters: Vec<(&'static Parameter, Expression)>,
    /// What the parameters need of the body.
    pub wants: Wants,
    pub changes: Option<Box<Changes>>,
}

/// How an action is asked for.
pub enum Call {
    /// By its target, with JSON of this version.
    Json { target: HeaderValue, content_type: HeaderValue },
    /// By a path of its parameters.
    Configuration,
}

impl Action {
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(action: &bundle::integration::AwsAction, scope: &Scope<'_>) -> Result<Self, String> {
        let bundle::integration::AwsAction { subtype, parameters, region, role, timeout_ms, response_changes } = action;
        let stage = scope.bundle;
        let aws = Aws::parse(stage);
        let region = region.as_deref().unwrap_or(&stage.region);
        let service = service(*subtype);
        let Endpoint { destination, base } = aws.endpoint_of(service, region, is_sync(*subtype))?;
        let mut parsed = Vec::new();
        for parameter in subtype.parameters() {
            match parameters.get(parameter.name) {
                Some(value) => parsed.push((parameter, Expression::parse(value, &stage.variables)?)),
                None if parameter.required => return Err(format!("the parameter `{}` is missing", parameter.name)),
                None => {}
            }
        }
        let role = role.as_deref().map(|role| with_variables(role, &stage.variables));
        let role = role.filter(|role| !role.is_empty() && aws.assumes_roles_for(service));
        Ok(Self {
            subtype: *subtype,
            destination,
            base,
            signing_name: signing_name(service).into(),
            region: region.into(),
            role: role.map(Into::into),
            timeout: Duration::from_millis(*timeout_ms),
            wants: parsed.iter().map(|(_, value)| value.wants()).max().unwrap_or_default(),
            parameters: parsed,
            changes: Changes::parse(&[], response_changes, &stage.variables)?,
        })
    }
}

fn is_sync(subtype: Subtype) -> bool {
    subtype == Subtype::StepFunctionsStartSyncExecution
}

fn service(subtype: Subtype) -> &'static str {
    match subtype {
        Subtype::EventBridgePutEvents => "events",
        Subtype::SqsSendMessage | Subtype::SqsReceiveMessage | Subtype::SqsDeleteMessage | Subtype::SqsPurgeQueue => {
            "sqs"
        }
        Subtype::AppConfigGetConfiguration => "appconfig",
        Subtype::KinesisPutRecord => "kinesis",
        Subtype::StepFunctionsStartExecution
        | Subtype::StepFunctionsStartSyncExecution
        | Subtype::StepFunctionsStopExecution => "states",
    }
}

/// How an action is asked for.
pub fn call(subtype: Subtype) -> Call {
    let json = |target, content_type| Call::Json {
        target: HeaderValue::from_static(target),
        content_type: HeaderValue::from_static(content_type),
    };
    const JSON_1_0: &str = "application/x-amz-json-1.0";
    const JSON_1_1: &str = "application/x-amz-json-1.1";
    match subtype {
        Subtype::EventBridgePutEvents => json("AWSEvents.PutEvents", JSON_1_1),
        Subtype::SqsSendMessage => json("AmazonSQS.SendMessage", JSON_1_0),
        Subtype::SqsReceiveMessage => json("AmazonSQS.ReceiveMessage", JSON_1_0),
        Subtype::SqsDeleteMessage => json("AmazonSQS.DeleteMessage", JSON_1_0),
        Subtype::SqsPurgeQueue => json("AmazonSQS.PurgeQueue", JSON_1_0),
        Subtype::AppConfigGetConfiguration => Call::Configuration,
        Subtype::KinesisPutRecord => json("Kinesis_20131202.PutRecord", JSON_1_1),
        Subtype::StepFunctionsStartExecution => json("AWSStepFunctions.StartExecution", JSON_1_0),
        Subtype::StepFunctionsStartSyncExecution => json("AWSStepFunctions.StartSyncExecution", JSON_1_0),
        Subtype::StepFunctionsStopExecution => json("AWSStepFunctions.StopExecution", JSON_1_0),
    }
}
