//! `$context`: a place holder until the module of this name is here.

use std::borrow::Cow;

use crate::exchange::Exchange;

/// The value of a `$context` variable, by its name without `$context.`.
pub fn lookup<'a>(exchange: &'a Exchange, name: &str) -> Option<Cow<'a, str>> {
    let stage = exchange.routed.as_ref().map(|routed| &routed.stage.live);
    Some(Cow::Borrowed(match name {
        "stage" => &stage?.name,
        "apiId" => &stage?.api_id,
        "httpMethod" => exchange.method.as_str(),
        "path" => exchange.path.as_str(),
        "requestId" => exchange.ids.request.to_str().ok()?,
        _ => return None,
    }))
}
