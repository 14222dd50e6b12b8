//! Request validation: required parameters first, then the body against its model.

mod message;

use http::header::CONTENT_TYPE;

use crate::exchange::Exchange;
use crate::integrate::mapping::parameters::{collect, lossy, query_values};
use crate::live::template::media_type;
use crate::live::validation::{Required, Validation};
use crate::rejection::Rejection;

/// Checks a request. Its body stays in the exchange for whoever sends it on.
///
/// # Errors
/// When a parameter is missing, the body does not fit its model, or it cannot be read.
pub(super) async fn validate(exchange: &mut Exchange, validation: &Validation) -> Result<(), Rejection> {
    let missing: Vec<&str> =
        validation.parameters.iter().filter(|required| !is_there(exchange, required)).map(Required::name).collect();
    if !missing.is_empty() {
        let text = format!("Missing required request parameters: [{}]", missing.join(", "));
        return Err(Rejection::MissingParameters(text));
    }
    let content_type = exchange.headers.get(CONTENT_TYPE).map(lossy);
    let Some(model) = validation.model(media_type(content_type.as_deref().unwrap_or("application/json"))) else {
        return Ok(());
    };
    let body = collect(exchange).await?;
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    let Ok(value) = serde_json::from_slice(body) else {
        return Err(Rejection::InvalidBody("[the request body is no JSON]".to_owned()));
    };
    if model.is_valid(&value) {
        return Ok(());
    }
    Err(Rejection::InvalidBody(message::text(model.iter_errors(&value))))
}

/// A parameter without a value, or with nothing but blanks, counts as missing.
fn is_there(exchange: &Exchange, required: &Required) -> bool {
    let filled = |value: &str| !value.trim().is_empty();
    match required {
        Required::Header(_, name) => exchange.headers.get_all(name).iter().any(|value| filled(&lossy(value))),
        Required::Path(name) => exchange.path_parameter(name).is_some_and(filled),
        Required::Query(name) => query_values(exchange.query_pairs(), name).any(|value| filled(&value)),
    }
}
