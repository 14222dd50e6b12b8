//! Rendering a template for a request.

use vtl::value::Value;
use vtl::{Input, Kind, Limits, Overrides, Scope, Template, Text};

use crate::context;
use crate::exchange::Exchange;
use crate::integrate::mapping::document::text_of;
use crate::integrate::mapping::parameters::{decoded, lossy};
use crate::rejection::Rejection;

/// What a template made.
pub struct Rendered {
    pub text: String,
    /// The body as JSON, if that was wanted and it is.
    pub json: Option<Value>,
}

/// Renders a template. `body` is what `$input` reads: the client's body, or the backend's answer. `wants_json` asks for
/// the body as JSON besides, which is then read once for both.
///
/// # Errors
/// 400 if the template needs JSON and the body is none, 500 for everything else that fails in it.
pub fn render(
    template: &Template,
    exchange: &Exchange,
    body: &[u8],
    overrides: Option<&Overrides>,
    wants_json: bool,
) -> Result<Rendered, Rejection> {
    if let (Some(text), false) = (template.as_plain(), wants_json) {
        return Ok(Rendered { text: text.to_owned(), json: None });
    }
    let body = text_of(body);
    let input = if template.mentions_parameters() {
        Input::new(&body, path(exchange), query(exchange), headers(exchange))
    } else {
        Input::of_body(&body)
    };
    let context = match overrides {
        Some(overrides) if template.mentions_context() => context::value(exchange, overrides),
        Some(_) | None => Value::Null,
    };
    let stage_variables = if template.mentions_stage_variables() { variables(exchange) } else { Value::Null };
    let mut scope = Scope { input, context, stage_variables };
    let text = template.render(&mut scope, &Limits::default()).map_err(|error| {
        let message = format!("the {}, line {}, column {}: {}", error.template, error.line, error.column, error.gist());
        match error.kind {
            Kind::Payload => Rejection::InvalidPayload(message),
            Kind::Syntax | Kind::Evaluation | Kind::Limit => Rejection::Configuration(message),
        }
    })?;
    let json = if wants_json { scope.input.document().ok().cloned() } else { None };
    Ok(Rendered { text, json })
}

/// With the escapes they came with, as everywhere.
fn path(exchange: &Exchange) -> Value {
    let names = exchange.routed.as_ref().and_then(|routed| routed.route()).map_or(&[][..], |route| &route.parameters);
    let value = |name: &str| Some((Text::from(name), Value::from(exchange.path_parameter(name)?)));
    Value::map(names.iter().filter_map(|name| value(name)))
}

/// The last value of each.
fn query(exchange: &Exchange) -> Value {
    Value::map(exchange.query_pairs().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (Text::from(&*decoded(name)), Value::from(&*decoded(value)))
    }))
}

/// The last value of each.
fn headers(exchange: &Exchange) -> Value {
    let values = exchange.headers.iter().map(|(name, value)| (Text::from(name.as_str()), Value::from(&*lossy(value))));
    Value::headers(values)
}

fn variables(exchange: &Exchange) -> Value {
    let variables = exchange.routed.iter().flat_map(|routed| &routed.stage.live.variables);
    Value::map(variables.map(|(name, value)| (Text::from(name.as_str()), Value::from(value.as_str()))))
}
