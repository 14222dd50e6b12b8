//! An HTTP API's integrations with one action of an AWS service: parameters in, the service's answer out.

use std::borrow::Cow;
use std::rc::Rc;

use bundle::subtype::{Kind, Subtype};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response};
use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::aws::call::{SignedCall, send};
use crate::integrate::aws::sign::Scope;
use crate::integrate::mapping::document::{Document, NotJson};
use crate::integrate::mapping::headers::proxied_to_client;
use crate::integrate::mapping::http_api::{change_response, evaluate};
use crate::integrate::mapping::parameters::{Values, collect};
use crate::integrate::trace::{self, TRACE_ID};
use crate::integrate::upstream::Pool;
use crate::live::aws::action::{Action, Call, TARGET, call};
use crate::live::mapping::Wants;
use crate::live::mapping::uri::COMPONENT;
use crate::rejection::Rejection;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Asks for the action.
///
/// # Errors
/// When a parameter has no value or a wrong one (400), the call cannot be signed, or the service does not answer.
pub async fn invoke(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: &Rc<Pool>,
    action: &Action,
) -> Result<Response<Body>, Rejection> {
    let Action { subtype, destination: _, base, signing_name, region, role, timeout, parameters: _, wants, changes } =
        action;
    let document = match wants {
        Wants::Nothing => None,
        wants => {
            let body = collect(exchange).await?;
            Some(Document::read(body, *wants).map_err(|NotJson| Rejection::InvalidJsonBody)?)
        }
    };
    let values = Values { exchange, document: document.as_ref(), overridden: None };
    let parameters = parameters(action, &values)?;
    let mut headers = HeaderMap::from_iter([(ACCEPT, JSON)]);
    let (method, path, body) = match call(*subtype) {
        Call::Json { target, content_type } => {
            headers.insert(TARGET, target);
            headers.insert(CONTENT_TYPE, content_type);
            let body = match subtype {
                Subtype::EventBridgePutEvents => json!({ "Entries": [parameters] }),
                _ => Value::Object(parameters),
            };
            (Method::POST, format!("{base}/"), body.to_string().into())
        }
        Call::Configuration => (Method::GET, configuration_path(base, &parameters), Default::default()),
    };
    let path: PathAndQuery =
        path.parse().map_err(|_| Rejection::Configuration("the path of the action is not valid".into()))?;
    let id = trace::trace_id(core, exchange);
    headers.insert(&TRACE_ID, id.clone());
    let scope = Scope { service: signing_name, region };
    let role = role.as_deref();
    let call = SignedCall { pool, scope, role, method, path, headers, body, timeout: *timeout };
    let stage = exchange.routed.as_ref().map(|routed| Rc::clone(&routed.stage)).ok_or(Rejection::NoSuchStage)?;
    let mut response = send(core, exchange, &stage.live.aws, call).await?;
    proxied_to_client(response.headers_mut());
    response.headers_mut().insert(&TRACE_ID, id);
    match changes {
        Some(changes) => change_response(changes, exchange, response).await,
        None => Ok(response),
    }
}

/// The parameters by their names in the call.
fn parameters(action: &Action, values: &Values<'_>) -> Result<Map<String, Value>, Rejection> {
    let mut parameters = Map::new();
    for (parameter, expression) in &action.parameters {
        match evaluate(expression, values)? {
            Some(text) => {
                parameters.insert(parameter.wire.to_owned(), typed(parameter.name, parameter.kind, text)?);
            }
            None if parameter.required => {
                return Err(Rejection::InvalidPayload(format!("the parameter {} has no value", parameter.name)));
            }
            None => {}
        }
    }
    Ok(parameters)
}

fn typed(name: &str, kind: Kind, text: Cow<'_, str>) -> Result<Value, Rejection> {
    let wrong = |wanted: &str| Rejection::InvalidPayload(format!("the parameter {name} is {wanted}"));
    Ok(match kind {
        Kind::Text => Value::String(text.into_owned()),
        Kind::Integer => Value::from(text.trim().parse::<i64>().map_err(|_| wrong("a whole number"))?),
        Kind::Json => serde_json::from_str(&text).map_err(|_| wrong("JSON"))?,
        Kind::List if text.trim_start().starts_with('[') => serde_json::from_str(&text).map_err(|_| wrong("a list"))?,
        Kind::List => text.split(',').map(|word| Value::String(word.trim().to_owned())).collect(),
    })
}

/// AppConfig's own way: `/applications/a/environments/e/configurations/c?client_id=…`.
fn configuration_path(base: &str, parameters: &Map<String, Value>) -> String {
    let value = |name: &str| {
        let text = parameters.get(name).and_then(Value::as_str).unwrap_or_default();
        utf8_percent_encode(text, COMPONENT).to_string()
    };
    let (application, environment) = (value("Application"), value("Environment"));
    let mut path = format!("{base}/applications/{application}/environments/{environment}/configurations/");
    path.push_str(&value("Configuration"));
    let mut separator = '?';
    for name in ["client_id", "client_configuration_version"] {
        if parameters.contains_key(name) {
            path.push(separator);
            path.push_str(name);
            path.push('=');
            path.push_str(&value(name));
            separator = '&';
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_types() {
        let typed = |kind, text: &str| typed("P", kind, text.to_owned().into());
        assert_eq!(typed(Kind::Text, "5"), Ok(json!("5")));
        assert_eq!(typed(Kind::Integer, " 5 "), Ok(json!(5)));
        assert_eq!(typed(Kind::List, "a, b"), Ok(json!(["a", "b"])));
        assert_eq!(typed(Kind::List, r#"["a"]"#), Ok(json!(["a"])));
        assert_eq!(typed(Kind::Json, r#"{"a":1}"#), Ok(json!({"a": 1})));
        for (kind, bad) in [(Kind::Integer, "x"), (Kind::Json, "{"), (Kind::List, "[1")] {
            assert!(matches!(typed(kind, bad), Err(Rejection::InvalidPayload(_))), "{bad}");
        }
    }

    #[test]
    fn a_configuration_is_a_path() {
        let parameters = json!({"Application": "a/b", "Environment": "e", "Configuration": "c", "client_id": "x y"});
        let path = configuration_path("", parameters.as_object().unwrap());
        assert_eq!(path, "/applications/a%2Fb/environments/e/configurations/c?client_id=x%20y");
    }
}
