//! Values of a request's parameters, for the backend and for the client.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body as _;
use percent_encoding::percent_decode_str;

use crate::body::{Body, BodyError, BodyFault};
use crate::context;
use crate::exchange::Exchange;
use crate::integrate::mapping::document::Document;
use crate::integrate::mapping::headers::{Mapped, mapped_to_backend};
use crate::integrate::mapping::overrides::Overridden;
use crate::live::mapping::{HeaderSource, RequestParameters, Source};
use crate::rejection::Rejection;

/// Largest body a mapping can take a value from, and largest body Amazon's integrations take: 10 MB.
pub const MAX_BODY: usize = 10 << 20;

/// Largest body that is read only to be refused.
const MOST_DISCARDED: u64 = 16 << 20;

/// Where request mappings take their values from.
pub struct Values<'a> {
    pub exchange: &'a Exchange,
    /// The body, if a mapping reads it.
    pub document: Option<&'a Document>,
    /// What a template said instead.
    pub overridden: Option<&'a Overridden>,
}

impl<'a> Values<'a> {
    /// Hands every value of a source to `each`: one at most, except for the multi-value sources.
    ///
    /// # Errors
    /// When a JSONPath reaches a bound.
    pub fn each(&self, source: &'a Source, mut each: impl FnMut(Cow<'a, str>)) -> Result<(), Rejection> {
        match source {
            Source::MultiQuery(name) => query_values(self.exchange.query_pairs(), name).for_each(each),
            Source::MultiHeader(name) => self.exchange.headers.get_all(name).iter().map(lossy).for_each(each),
            Source::Path(_)
            | Source::Query(_)
            | Source::Header(_)
            | Source::Body
            | Source::BodyPath(_)
            | Source::Context(_)
            | Source::Static(_) => {
                if let Some(value) = self.one(source)? {
                    each(value);
                }
            }
        }
        Ok(())
    }

    /// The value of a source, the last one of several; joined by commas for the multi-value sources.
    ///
    /// # Errors
    /// When a JSONPath reaches a bound.
    pub fn one(&self, source: &'a Source) -> Result<Option<Cow<'a, str>>, Rejection> {
        Ok(match source {
            Source::Path(name) => self.exchange.path_parameter(name).map(Cow::Borrowed),
            Source::Query(name) => query_values(self.exchange.query_pairs(), name).last(),
            Source::Header(name) => self.exchange.headers.get_all(name).iter().next_back().map(lossy),
            Source::MultiQuery(_) | Source::MultiHeader(_) => {
                let mut values = Vec::new();
                self.each(source, |value| values.push(value))?;
                (!values.is_empty()).then(|| Cow::Owned(values.join(",")))
            }
            Source::Body => self.document.map(Document::text),
            Source::BodyPath(path) => match self.document {
                Some(document) => document.find(path)?.map(Cow::Owned),
                None => None,
            },
            Source::Context(name) => context::lookup(self.exchange, name),
            Source::Static(text) => Some(Cow::Borrowed(text)),
        })
    }
}

/// Sets the mapped headers; each replaces what is there.
///
/// # Errors
/// When one may not be set, or its value cannot be a header's.
pub fn set_headers(
    parameters: &RequestParameters,
    values: &Values<'_>,
    headers: &mut HeaderMap,
) -> Result<(), Rejection> {
    for parameter in &parameters.headers {
        let name = &parameter.name;
        let mut set = Setter::new(headers, name);
        match &parameter.value {
            HeaderSource::Static(value) => set.add(value.clone()),
            // A header's own bytes need no detour by text.
            HeaderSource::From(Source::Header(from)) => {
                if let Some(value) = values.exchange.headers.get_all(from).iter().next_back() {
                    set.add(value.clone());
                }
            }
            HeaderSource::From(source) => {
                let mut wrong = false;
                values.each(source, |value| match HeaderValue::from_bytes(value.as_bytes()) {
                    Ok(value) => set.add(value),
                    Err(_) => wrong = true,
                })?;
                if wrong {
                    return Err(Rejection::Configuration(format!("a value mapped to the header {name} is none")));
                }
            }
        }
        if set.any && parameter.illegal {
            return Err(Rejection::Configuration(format!("the header {name} cannot be mapped")));
        }
    }
    for (name, overriding) in values.overridden.iter().flat_map(|overridden| &overridden.headers) {
        match mapped_to_backend(name, parameters.flavor) {
            Mapped::Sent => {
                let mut set = Setter::new(headers, name);
                overriding.iter().cloned().for_each(|value| set.add(value));
            }
            Mapped::Dropped => {}
            Mapped::Illegal => {
                return Err(Rejection::Configuration(format!("the header {name} cannot be overridden")));
            }
        }
    }
    Ok(())
}

/// Replaces a header's values by the ones added.
pub struct Setter<'a> {
    headers: &'a mut HeaderMap,
    name: &'a HeaderName,
    any: bool,
}

impl<'a> Setter<'a> {
    pub fn new(headers: &'a mut HeaderMap, name: &'a HeaderName) -> Self {
        Self { headers, name, any: false }
    }

    pub fn add(&mut self, value: HeaderValue) {
        if self.any {
            self.headers.append(self.name, value);
        } else {
            self.headers.insert(self.name, value);
            self.any = true;
        }
    }
}

/// Collects the request's body, and leaves it in the exchange for whoever sends it on.
///
/// # Errors
/// 413, or that the client does not send it.
pub async fn collect(exchange: &mut Exchange) -> Result<Bytes, Rejection> {
    let body = within(MAX_BODY as u64, exchange).await?;
    let bytes = body.collect(MAX_BODY).await.map_err(unread)?;
    exchange.body = Body::full(bytes.clone());
    Ok(bytes)
}

/// The client's body could not be read.
pub fn unread(error: BodyError) -> Rejection {
    match error {
        BodyError::Fault(fault) => of_client(fault),
        BodyError::Wire(_) | BodyError::Answer(_) => Rejection::RequestAborted,
    }
}

/// Takes the request's body, unless it says that it is larger than this.
///
/// Many a client reads no answer before it has sent everything, and what it sends to a closed socket destroys the
/// answer. So a body that is not much too large is read all the same, unless the client waits to be told to send it.
///
/// # Errors
/// When it is larger.
pub async fn within(most: u64, exchange: &mut Exchange) -> Result<Body, Rejection> {
    let mut body = std::mem::take(&mut exchange.body);
    let Some(length) = body.length().filter(|&length| length > most) else { return Ok(body) };
    if length <= MOST_DISCARDED && !exchange.headers.contains_key(EXPECT) {
        // A client that breaks off here needs no answer.
        while let Some(Ok(_)) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {}
    }
    Err(Rejection::RequestTooLarge)
}

/// What the client's body did, as an answer.
pub fn of_client(fault: BodyFault) -> Rejection {
    match fault {
        BodyFault::TooLarge => Rejection::RequestTooLarge,
        BodyFault::Aborted => Rejection::RequestAborted,
        BodyFault::Silent => Rejection::RequestTimeout,
    }
}

/// Decoded values of a query parameter, in their order.
pub fn query_values<'a>(pairs: impl Iterator<Item = &'a str>, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    pairs.filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*decoded(key) == *name).then(|| decoded(value))
    })
}

/// A query's name or value, decoded: `+` is a space there.
pub fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// A header's value as text.
pub fn lossy(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use bundle::ApiKind;

    use super::*;
    use crate::exchange::pairs;

    fn values(query: &str, name: &str) -> Vec<String> {
        query_values(pairs(query, ApiKind::Rest), name).map(Cow::into_owned).collect()
    }

    #[test]
    fn query_values_are_decoded_and_keep_their_order() {
        assert_eq!(values("a=1&b=2&a=3", "a"), ["1", "3"]);
        assert_eq!(values("a%20b=x%2By+z", "a b"), ["x+y z"]);
        assert_eq!(values("a&a=&b", "a"), ["", ""]);
        assert_eq!(values("b;a=1;a=2&a=%3B", "a"), ["1", "2", ";"]);
        assert!(values("", "").is_empty());
        assert!(values("A=1", "a").is_empty(), "names are case-sensitive");
    }
}
