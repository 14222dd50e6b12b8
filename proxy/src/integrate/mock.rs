//! Integration: mock.

use http::Response;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::rejection::Rejection;

/// Answers from the definition alone.
///
/// # Errors
/// When its template makes no status, or no response is defined for it.
pub fn answer(exchange: &mut Exchange, mock: &crate::live::mock::Mock) -> Result<Response<Body>, Rejection> {
    let _ = (exchange, mock);
    Err(Rejection::Configuration("MOCK is not served".into()))
}
