//! CloudFormation's functions, as far as a file by itself can answer them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::report::Report;

/// Deepest nesting of functions and conditions.
const MAX_DEPTH: usize = 64;
const NO_VALUE: &str = "AWS::NoValue";

/// Answers functions with a template's parameters, mappings, conditions and resources.
pub(crate) struct Resolver<'a> {
    template: &'a Value,
    parameters: BTreeMap<&'a str, &'a str>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(template: &'a Value, parameters: &'a [(String, String)]) -> Self {
        let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Self { template, parameters }
    }

    /// A value without functions. What cannot be answered is reported and becomes null.
    pub(crate) fn resolve(&self, value: &Value, path: &str, report: &mut Report) -> Value {
        self.value(value, path, 0, report).unwrap_or(Value::Null)
    }

    /// `None`: `AWS::NoValue`, or reported.
    fn value(&self, value: &Value, path: &str, depth: usize, report: &mut Report) -> Option<Value> {
        if depth > MAX_DEPTH {
            report.error(path, "functions are nested too deep");
            return None;
        }
        match value {
            Value::Object(map) => {
                if map.len() == 1
                    && let Some((name, argument)) = map.iter().next()
                    && (name == "Ref" || name.starts_with("Fn::"))
                {
                    return self.function(name, argument, path, depth + 1, report);
                }
                let resolved = map.iter().filter_map(|(key, value)| {
                    Some((key.clone(), self.value(value, &format!("{path}/{key}"), depth + 1, report)?))
                });
                Some(Value::Object(resolved.collect::<Map<_, _>>()))
            }
            Value::Array(items) => {
                let resolved = items.iter().enumerate();
                let resolved = resolved
                    .filter_map(|(index, item)| self.value(item, &format!("{path}/{index}"), depth + 1, report));
                Some(Value::Array(resolved.collect()))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value.clone()),
        }
    }

    fn function(&self, name: &str, argument: &Value, path: &str, depth: usize, report: &mut Report) -> Option<Value> {
        let unclear = |report: &mut Report| {
            report.error(path, format!("`{name}` is not understood here"));
            None
        };
        match name {
            "Ref" => match argument.as_str() {
                Some(NO_VALUE) => None,
                Some(reference) => self.reference(reference, path, report),
                None => unclear(report),
            },
            "Fn::GetAtt" => {
                let argument = match argument {
                    Value::String(text) => text.clone(),
                    Value::Array(parts) => {
                        let parts = parts.iter().map(|part| self.value(part, path, depth, report));
                        parts.map(|part| part.as_ref().and_then(text)).collect::<Option<Vec<_>>>()?.join(".")
                    }
                    _ => return unclear(report),
                };
                let (resource, attribute) = argument.split_once('.').unwrap_or((&argument, ""));
                self.attribute(resource, attribute, path, report)
            }
            "Fn::Sub" => {
                let (format, own) = match argument {
                    Value::String(format) => (format.as_str(), None),
                    Value::Array(parts) => match parts.as_slice() {
                        [Value::String(format), Value::Object(own)] => (format.as_str(), Some(own)),
                        [Value::String(format)] => (format.as_str(), None),
                        _ => return unclear(report),
                    },
                    _ => return unclear(report),
                };
                self.substitute(format, own, path, depth, report).map(Value::String)
            }
            "Fn::Join" => {
                let argument = self.value(argument, path, depth, report)?;
                let (Some(Value::String(separator)), Some(Value::Array(items))) = (argument.get(0), argument.get(1))
                else {
                    return unclear(report);
                };
                let items: Option<Vec<_>> = items.iter().map(text).collect();
                items.map(|items| Value::String(items.join(separator)))
            }
            "Fn::Split" => {
                let argument = self.value(argument, path, depth, report)?;
                match (argument.get(0), argument.get(1)) {
                    (Some(Value::String(separator)), Some(Value::String(text))) if !separator.is_empty() => {
                        Some(text.split(separator.as_str()).map(Value::from).collect())
                    }
                    _ => unclear(report),
                }
            }
            "Fn::Select" => {
                let argument = self.value(argument, path, depth, report)?;
                let index = argument.get(0).and_then(text).and_then(|index| index.parse::<usize>().ok());
                match index.zip(argument.get(1)).and_then(|(index, list)| list.get(index)) {
                    Some(value) => Some(value.clone()),
                    None => unclear(report),
                }
            }
            "Fn::FindInMap" => {
                let argument = self.value(argument, path, depth, report)?;
                let keys: Vec<_> = (0..3).filter_map(|index| argument.get(index).and_then(text)).collect();
                let [map, first, second] = keys.as_slice() else { return unclear(report) };
                let found =
                    self.template.get("Mappings").and_then(|mappings| mappings.get(map)?.get(first)?.get(second));
                if found.is_none() {
                    report.error(path, format!("the mapping `{map}` has no `{first}` `{second}`"));
                }
                found.cloned()
            }
            "Fn::If" => match argument.as_array().map(Vec::as_slice) {
                Some([Value::String(condition), yes, no]) => {
                    let holds = self.named_condition(condition, path, depth, report)?;
                    self.value(if holds { yes } else { no }, path, depth, report)
                }
                _ => unclear(report),
            },
            "Fn::Base64" => {
                use base64::Engine as _;
                let argument = self.value(argument, path, depth, report)?;
                let text = text(&argument)?;
                Some(Value::String(base64::engine::general_purpose::STANDARD.encode(text)))
            }
            "Fn::ImportValue" => {
                let argument = self.value(argument, path, depth, report)?;
                let export = text(&argument).unwrap_or_default();
                self.given(&export).or_else(|| {
                    report
                        .error(path, format!("`{export}` is another stack's: give it by --parameter '{export}=VALUE'"));
                    None
                })
            }
            "Fn::Transform" => {
                report.error(path, "`Fn::Transform` fetches a file: put its content there");
                None
            }
            _ => unclear(report),
        }
    }

    fn substitute(
        &self,
        format: &str,
        own: Option<&Map<String, Value>>,
        path: &str,
        depth: usize,
        report: &mut Report,
    ) -> Option<String> {
        let mut result = String::with_capacity(format.len());
        let mut rest = format;
        let mut complete = true;
        while let Some(at) = rest.find("${") {
            let (before, after) = rest.split_at(at);
            result.push_str(before);
            let Some((name, after)) = after[2..].split_once('}') else {
                result.push_str(after);
                return complete.then_some(result);
            };
            let name = name.trim();
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str(&format!("${{{literal}}}"));
            } else {
                let value = match own.and_then(|own| own.get(name)) {
                    Some(value) => self.value(value, path, depth, report),
                    None => match name.split_once('.') {
                        Some((resource, attribute)) => self.attribute(resource, attribute, path, report),
                        None => self.reference(name, path, report),
                    },
                };
                match value.as_ref().and_then(text) {
                    Some(value) => result.push_str(&value),
                    None => complete = false,
                }
            }
            rest = after;
        }
        result.push_str(rest);
        complete.then_some(result)
    }

    fn given(&self, name: &str) -> Option<Value> {
        self.parameters.get(name).map(|value| Value::String((*value).to_owned()))
    }

    fn reference(&self, name: &str, path: &str, report: &mut Report) -> Option<Value> {
        if let Some(value) = self.given(name) {
            return Some(value);
        }
        let assumed = match name {
            "AWS::Region" => Some("us-east-1"),
            "AWS::AccountId" => Some("123456789012"),
            "AWS::Partition" => return Some("aws".into()),
            "AWS::URLSuffix" => return Some("amazonaws.com".into()),
            "AWS::StackName" => Some("stack"),
            _ => None,
        };
        if let Some(assumed) = assumed {
            report.note(name, format!("taken to be `{assumed}`; --parameter {name}=VALUE says otherwise"));
            return Some(assumed.into());
        }
        if let Some(parameter) = self.template.get("Parameters").and_then(|parameters| parameters.get(name)) {
            let default = parameter.get("Default");
            if default.is_none() {
                report
                    .error(path, format!("the parameter `{name}` has no default: give it by --parameter {name}=VALUE"));
            }
            return default.cloned();
        }
        let resource = self.resource(name);
        let kind = resource.and_then(|resource| resource.get("Type")).and_then(Value::as_str);
        match kind {
            Some(
                "AWS::ApiGateway::RestApi"
                | "AWS::ApiGatewayV2::Api"
                | "AWS::Serverless::Api"
                | "AWS::Serverless::HttpApi"
                | "AWS::ApiGateway::Stage"
                | "AWS::ApiGatewayV2::Stage"
                | "AWS::ApiGateway::Deployment"
                | "AWS::ApiGatewayV2::Deployment"
                | "AWS::ApiGateway::UsagePlan"
                | "AWS::ApiGateway::ApiKey"
                | "AWS::ApiGateway::DomainName"
                | "AWS::ApiGatewayV2::DomainName",
            ) => Some(serde_json::json!({ super::template::RESOURCE: name })),
            Some("AWS::StepFunctions::StateMachine" | "AWS::Serverless::StateMachine" | "AWS::SNS::Topic") => {
                self.attribute(name, "Arn", path, report)
            }
            Some("AWS::SQS::Queue") => {
                let (region, account) = self.place(path, report)?;
                let queue = self.name_of(name, &["QueueName"], path, report);
                Some(Value::String(format!("https://sqs.{region}.amazonaws.com/{account}/{queue}")))
            }
            Some("AWS::Lambda::Function" | "AWS::Serverless::Function") => {
                Some(self.name_of(name, &["FunctionName"], path, report).into())
            }
            Some("AWS::DynamoDB::Table" | "AWS::Serverless::SimpleTable") => {
                Some(self.name_of(name, &["TableName"], path, report).into())
            }
            Some("AWS::S3::Bucket") => Some(self.name_of(name, &["BucketName"], path, report).into()),
            Some("AWS::Kinesis::Stream") => Some(self.name_of(name, &["Name"], path, report).into()),
            Some("AWS::Events::EventBus") => Some(self.name_of(name, &["Name"], path, report).into()),
            Some(kind) => {
                let text = format!("the id of the {kind} `{name}` is known to Amazon only: --parameter {name}=VALUE");
                report.error(path, text);
                None
            }
            None => {
                report.error(path, format!("`{name}` is nothing in this template: --parameter {name}=VALUE"));
                None
            }
        }
    }

    fn attribute(&self, name: &str, attribute: &str, path: &str, report: &mut Report) -> Option<Value> {
        let whole = format!("{name}.{attribute}");
        if let Some(value) = self.given(&whole) {
            return Some(value);
        }
        let kind = self.resource(name).and_then(|resource| resource.get("Type")).and_then(Value::as_str);
        let (prefix, names): (&str, &[&str]) = match (kind, attribute) {
            (Some("AWS::Lambda::Function" | "AWS::Serverless::Function"), "Arn") => {
                ("lambda:function:", &["FunctionName"])
            }
            (Some("AWS::Lambda::Alias" | "AWS::Lambda::Version"), _) | (None, _) => ("", &[]),
            (Some("AWS::StepFunctions::StateMachine"), "Arn") => ("states:stateMachine:", &["StateMachineName"]),
            (Some("AWS::Serverless::StateMachine"), "Arn") => ("states:stateMachine:", &["Name"]),
            (Some("AWS::SNS::Topic"), "Arn" | "TopicArn") => ("sns:", &["TopicName"]),
            (Some("AWS::SQS::Queue"), "Arn") => ("sqs:", &["QueueName"]),
            (Some("AWS::Kinesis::Stream"), "Arn") => ("kinesis:stream/", &["Name"]),
            (Some("AWS::DynamoDB::Table"), "Arn") => ("dynamodb:table/", &["TableName"]),
            (Some("AWS::Events::EventBus"), "Arn") => ("events:event-bus/", &["Name"]),
            (Some("AWS::SQS::Queue"), "QueueName") => {
                return Some(self.name_of(name, &["QueueName"], path, report).into());
            }
            (Some("AWS::IAM::Role"), "Arn") => {
                let (_, account) = self.place(path, report)?;
                let role = self.name_of(name, &["RoleName"], path, report);
                return Some(Value::String(format!("arn:aws:iam::{account}:role/{role}")));
            }
            (Some(_), _) => ("", &[]),
        };
        if prefix.is_empty() {
            report.error(path, format!("`{whole}` is known to Amazon only: give it by --parameter {whole}=VALUE"));
            return None;
        }
        let (service, rest) = prefix.split_once(':').unwrap_or((prefix, ""));
        let (region, account) = self.place(path, report)?;
        let own = self.name_of(name, names, path, report);
        Some(Value::String(format!("arn:aws:{service}:{region}:{account}:{rest}{own}")))
    }

    /// Region and account.
    fn place(&self, path: &str, report: &mut Report) -> Option<(String, String)> {
        let region = self.reference("AWS::Region", path, report)?;
        let account = self.reference("AWS::AccountId", path, report)?;
        Some((text(&region)?, text(&account)?))
    }

    /// The name a resource is given, or its logical one, which Amazon would have made another of.
    fn name_of(&self, name: &str, properties: &[&str], path: &str, report: &mut Report) -> String {
        let properties =
            self.resource(name).and_then(|resource| resource.get("Properties")).map(|all| (all, properties));
        let written = properties.and_then(|(all, names)| names.iter().find_map(|name| all.get(*name)));
        let written = written.and_then(|written| self.value(written, path, MAX_DEPTH / 2, report));
        written.as_ref().and_then(text).unwrap_or_else(|| {
            report.note(format!("Resources/{name}"), format!("has no name of its own: taken to be called `{name}`"));
            name.to_owned()
        })
    }

    fn resource(&self, name: &str) -> Option<&'a Value> {
        self.template.get("Resources")?.get(name)
    }

    /// Whether a resource is made at all.
    pub(crate) fn is_made(&self, resource: &Value, path: &str, report: &mut Report) -> bool {
        match resource.get("Condition").and_then(Value::as_str) {
            Some(condition) => self.named_condition(condition, path, 0, report).unwrap_or(true),
            None => true,
        }
    }

    fn named_condition(&self, name: &str, path: &str, depth: usize, report: &mut Report) -> Option<bool> {
        let condition = self.template.get("Conditions").and_then(|conditions| conditions.get(name));
        let Some(condition) = condition else {
            report.error(path, format!("there is no condition `{name}`"));
            return None;
        };
        self.condition(condition, path, depth + 1, report)
    }

    fn condition(&self, condition: &Value, path: &str, depth: usize, report: &mut Report) -> Option<bool> {
        let known = condition.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next());
        let many = |argument: &Value| argument.as_array().cloned().unwrap_or_default();
        match known.filter(|_| depth < MAX_DEPTH) {
            Some((name, argument)) => match name.as_str() {
                "Condition" => self.named_condition(argument.as_str()?, path, depth, report),
                "Fn::Equals" => {
                    let argument = self.value(argument, path, depth, report)?;
                    Some(argument.get(0).and_then(text) == argument.get(1).and_then(text))
                }
                "Fn::Not" => self.condition(argument.get(0)?, path, depth + 1, report).map(|holds| !holds),
                "Fn::And" | "Fn::Or" => {
                    let all = many(argument);
                    let all: Option<Vec<_>> =
                        all.iter().map(|one| self.condition(one, path, depth + 1, report)).collect();
                    let all = all?;
                    Some(if name == "Fn::And" { all.iter().all(|one| *one) } else { all.contains(&true) })
                }
                _ => {
                    report.error(path, format!("the condition `{name}` is not understood"));
                    None
                }
            },
            None => {
                report.error(path, "a condition is not understood");
                None
            }
        }
    }
}

/// A scalar as text.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
