//! Integration: MOCK. No backend; a template says the status, the integration response it selects is the answer.

mod status;

use http::Response;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::integrate::custom::{prepare, respond};
use crate::live::mock::Mock;
use crate::live::selection::Selector;
use crate::rejection::Rejection;

/// Answers by a MOCK integration.
///
/// # Errors
/// When the body has no template and may not pass, or the template makes no status or one that selects nothing.
pub async fn answer(exchange: &mut Exchange, mock: &Mock) -> Result<Response<Body>, Rejection> {
    let mut mapped = prepare(exchange, &mock.custom).await?;
    let said = mapped.collect().await?;
    let status = std::str::from_utf8(&said).ok().and_then(status::parse).ok_or_else(|| {
        Rejection::Configuration(
            "Unable to parse statusCode. It should be an integer that is defined in the request template.".to_owned(),
        )
    })?;
    respond(exchange, &mock.custom, mapped, Selector::Status(status), Response::new(Body::empty())).await
}

#[cfg(test)]
mod tests;
