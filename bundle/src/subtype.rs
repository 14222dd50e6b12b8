//! `integrationSubtype`: the actions of AWS services that HTTP APIs know, and their parameters.

use serde::{Deserialize, Serialize};

/// Actions that HTTP APIs know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are Amazon's")]
pub enum Subtype {
    EventBridgePutEvents,
    SqsSendMessage,
    SqsReceiveMessage,
    SqsDeleteMessage,
    SqsPurgeQueue,
    AppConfigGetConfiguration,
    KinesisPutRecord,
    StepFunctionsStartExecution,
    StepFunctionsStartSyncExecution,
    StepFunctionsStopExecution,
}

/// What a parameter of an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// JSON text.
    Json,
    /// A JSON list, or words with commas between them.
    List,
}

/// A parameter of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in Amazon's table.
    pub name: &'static str,
    /// Its name in the call.
    pub wire: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Whether the action needs it.
    pub required: bool,
}

const fn parameter(name: &'static str, wire: &'static str, kind: Kind, required: bool) -> Parameter {
    Parameter { name, wire, kind, required }
}

impl Subtype {
    /// Every one, with the name a document gives it.
    pub const ALL: [(&'static str, Self); 10] = [
        ("EventBridge-PutEvents", Self::EventBridgePutEvents),
        ("SQS-SendMessage", Self::SqsSendMessage),
        ("SQS-ReceiveMessage", Self::SqsReceiveMessage),
        ("SQS-DeleteMessage", Self::SqsDeleteMessage),
        ("SQS-PurgeQueue", Self::SqsPurgeQueue),
        ("AppConfig-GetConfiguration", Self::AppConfigGetConfiguration),
        ("Kinesis-PutRecord", Self::KinesisPutRecord),
        ("StepFunctions-StartExecution", Self::StepFunctionsStartExecution),
        ("StepFunctions-StartSyncExecution", Self::StepFunctionsStartSyncExecution),
        ("StepFunctions-StopExecution", Self::StepFunctionsStopExecution),
    ];

    /// Its parameters, except for `Region`, which each has.
    pub const fn parameters(self) -> &'static [Parameter] {
        use Kind::{Integer, Json, List, Text};
        const QUEUE: Parameter = parameter("QueueUrl", "QueueUrl", Text, true);
        match self {
            Self::EventBridgePutEvents => {
                const {
                    &[
                        parameter("Detail", "Detail", Text, true),
                        parameter("DetailType", "DetailType", Text, true),
                        parameter("Source", "Source", Text, true),
                        parameter("Time", "Time", Text, false),
                        parameter("EventBusName", "EventBusName", Text, false),
                        parameter("Resources", "Resources", List, false),
                        parameter("TraceHeader", "TraceHeader", Text, false),
                    ]
                }
            }
            Self::SqsSendMessage => {
                const {
                    &[
                        QUEUE,
                        parameter("MessageBody", "MessageBody", Text, true),
                        parameter("DelaySeconds", "DelaySeconds", Integer, false),
                        parameter("MessageAttributes", "MessageAttributes", Json, false),
                        parameter("MessageDeduplicationId", "MessageDeduplicationId", Text, false),
                        parameter("MessageGroupId", "MessageGroupId", Text, false),
                        parameter("MessageSystemAttributes", "MessageSystemAttributes", Json, false),
                    ]
                }
            }
            Self::SqsReceiveMessage => {
                const {
                    &[
                        QUEUE,
                        parameter("AttributeNames", "AttributeNames", List, false),
                        parameter("MaxNumberOfMessages", "MaxNumberOfMessages", Integer, false),
                        parameter("MessageAttributeNames", "MessageAttributeNames", List, false),
                        parameter("ReceiveRequestAttemptId", "ReceiveRequestAttemptId", Text, false),
                        parameter("VisibilityTimeout", "VisibilityTimeout", Integer, false),
                        parameter("WaitTimeSeconds", "WaitTimeSeconds", Integer, false),
                    ]
                }
            }
            Self::SqsDeleteMessage => const { &[QUEUE, parameter("ReceiptHandle", "ReceiptHandle", Text, true)] },
            Self::SqsPurgeQueue => const { &[QUEUE] },
            Self::AppConfigGetConfiguration => {
                const {
                    &[
                        parameter("Application", "Application", Text, true),
                        parameter("Environment", "Environment", Text, true),
                        parameter("Configuration", "Configuration", Text, true),
                        parameter("ClientId", "client_id", Text, true),
                        parameter("ClientConfigurationVersion", "client_configuration_version", Text, false),
                    ]
                }
            }
            Self::KinesisPutRecord => {
                const {
                    &[
                        parameter("StreamName", "StreamName", Text, true),
                        parameter("Data", "Data", Text, true),
                        parameter("PartitionKey", "PartitionKey", Text, true),
                        parameter("SequenceNumberForOrdering", "SequenceNumberForOrdering", Text, false),
                        parameter("ExplicitHashKey", "ExplicitHashKey", Text, false),
                    ]
                }
            }
            Self::StepFunctionsStartExecution => {
                const {
                    &[
                        parameter("StateMachineArn", "stateMachineArn", Text, true),
                        parameter("Name", "name", Text, false),
                        parameter("Input", "input", Text, false),
                    ]
                }
            }
            Self::StepFunctionsStartSyncExecution => {
                const {
                    &[
                        parameter("StateMachineArn", "stateMachineArn", Text, true),
                        parameter("Name", "name", Text, false),
                        parameter("Input", "input", Text, false),
                        parameter("TraceHeader", "traceHeader", Text, false),
                    ]
                }
            }
            Self::StepFunctionsStopExecution => {
                const {
                    &[
                        parameter("ExecutionArn", "executionArn", Text, true),
                        parameter("Cause", "cause", Text, false),
                        parameter("Error", "error", Text, false),
                    ]
                }
            }
        }
    }
}
