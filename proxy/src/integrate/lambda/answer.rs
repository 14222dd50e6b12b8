//! What a proxy function may answer, in both formats.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bundle::ApiKind;
use bundle::integration::PayloadFormat;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::body::Body;
use crate::exchange::Exchange;
use crate::integrate::lambda::JSON;
use crate::integrate::mapping::headers::function_to_client;
use crate::integrate::payload;

/// The client's answer from a function's result; else what is wrong with it.
pub(super) fn read(exchange: &Exchange, format: PayloadFormat, result: Bytes) -> Result<Response<Body>, String> {
    match format {
        PayloadFormat::V1 => v1(exchange, &result),
        PayloadFormat::V2 => v2(result),
    }
}

/// Status and headers that a streaming function says before its body.
pub(super) fn prelude(json: &[u8]) -> Result<Response<Body>, String> {
    let Prelude { status_code, headers, multi_value_headers, cookies } = parse(json)?;
    let mut response = head(status_code, headers, multi_value_headers)?;
    set_cookies(&mut response, cookies)?;
    Ok(response)
}

/// Format 1.0: an object with these members and no others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct V1<'a> {
    #[serde(default)]
    status_code: Option<Status>,
    #[serde(default, borrow)]
    headers: Option<Pairs<'a, Scalar<'a>>>,
    #[serde(default, borrow)]
    multi_value_headers: Option<Pairs<'a, Vec<Scalar<'a>>>>,
    #[serde(default, borrow)]
    body: Option<Text<'a>>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

/// Format 2.0, if it has a status. Other members are nobody's business.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct V2<'a> {
    status_code: Status,
    #[serde(default, borrow)]
    headers: Option<Pairs<'a, Scalar<'a>>>,
    #[serde(default, borrow)]
    multi_value_headers: Option<Pairs<'a, Vec<Scalar<'a>>>>,
    #[serde(default, borrow)]
    cookies: Option<Vec<Text<'a>>>,
    #[serde(default, borrow)]
    body: Option<Scalar<'a>>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prelude<'a> {
    #[serde(default)]
    status_code: Option<Status>,
    #[serde(default, borrow)]
    headers: Option<Pairs<'a, Scalar<'a>>>,
    #[serde(default, borrow)]
    multi_value_headers: Option<Pairs<'a, Vec<Scalar<'a>>>>,
    #[serde(default, borrow)]
    cookies: Option<Vec<Text<'a>>>,
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

fn v1(exchange: &Exchange, result: &[u8]) -> Result<Response<Body>, String> {
    // A derived type would also be read from a list.
    if result.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is no object".to_owned());
    }
    let V1 { status_code, headers, multi_value_headers, body, is_base64_encoded } = parse(result)?;
    let mut response = head(status_code, headers, multi_value_headers)?;
    let body = body.map(|Text(text)| text).unwrap_or_default();
    // Bytes only go to who asks for them; everybody else gets the base64.
    let decode = is_base64_encoded == Some(true) && wants_bytes(exchange);
    *response.body_mut() = content(body, decode)?;
    Ok(response)
}

fn wants_bytes(exchange: &Exchange) -> bool {
    let accept = exchange.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    exchange.routed.as_ref().is_some_and(|routed| {
        let stage = &routed.stage.live;
        stage.kind == ApiKind::Http || payload::wants_bytes(&stage.binary_types, accept)
    })
}

fn v2(result: Bytes) -> Result<Response<Body>, String> {
    match result.trim_ascii_start().first() {
        Some(b'{') => {}
        Some(b'"') => {
            // A text is the body itself.
            let Text(text) = parse(&result)?;
            return Ok(inferred(Body::full(text.into_owned())));
        }
        Some(_) => {
            parse::<serde::de::IgnoredAny>(&result)?;
            return Ok(inferred(Body::full(result)));
        }
        None => return Ok(inferred(Body::empty())),
    }
    if !parse::<HasStatus>(&result)?.0 {
        return Ok(inferred(Body::full(result)));
    }
    let V2 { status_code, headers, multi_value_headers, cookies, body, is_base64_encoded } = parse(&result)?;
    let mut response = head(Some(status_code), headers, multi_value_headers)?;
    set_cookies(&mut response, cookies)?;
    let body = body.and_then(|Scalar(body)| body).unwrap_or_default();
    *response.body_mut() = content(body, is_base64_encoded == Some(true))?;
    if !response.headers().contains_key(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=utf-8"));
    }
    Ok(response)
}

/// An answer without a status of its own.
fn inferred(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn content(text: Cow<'_, str>, decode: bool) -> Result<Body, String> {
    if decode {
        let bytes =
            STANDARD.decode(text.trim().as_bytes()).map_err(|error| format!("its body is no base64: {error}"))?;
        return Ok(Body::full(bytes));
    }
    Ok(Body::full(text.into_owned()))
}

/// Status and headers. Of a name in both maps the list comes first, and nothing twice.
fn head(
    status: Option<Status>,
    single: Option<Pairs<'_, Scalar<'_>>>,
    multiple: Option<Pairs<'_, Vec<Scalar<'_>>>>,
) -> Result<Response<Body>, String> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = match status {
        Some(Status(status)) => status,
        None => StatusCode::OK,
    };
    let headers = response.headers_mut();
    for (name, values) in multiple.into_iter().flat_map(|Pairs(pairs)| pairs) {
        for Scalar(value) in values {
            add(headers, &name, value)?;
        }
    }
    for (name, Scalar(value)) in single.into_iter().flat_map(|Pairs(pairs)| pairs) {
        let known = |value: &str| headers.get_all(&*name).iter().any(|known| known.as_bytes() == value.as_bytes());
        if !value.as_deref().is_some_and(known) {
            add(headers, &name, value)?;
        }
    }
    Ok(response)
}

fn set_cookies(response: &mut Response<Body>, cookies: Option<Vec<Text<'_>>>) -> Result<(), String> {
    for Text(cookie) in cookies.unwrap_or_default() {
        let cookie = HeaderValue::from_bytes(cookie.as_bytes()).map_err(|_| "a cookie cannot be sent".to_owned())?;
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(())
}

fn add(headers: &mut HeaderMap, name: &str, value: Option<Cow<'_, str>>) -> Result<(), String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header's name"))?;
    let (Some(name), Some(value)) = (function_to_client(&name), value) else { return Ok(()) };
    let value = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| format!("the value of the header `{name}` cannot be sent"))?;
    headers.append(name, value);
    Ok(())
}

/// A status as a number, or as text.
struct Status(StatusCode);

/// A text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A text, a number or a boolean as text; `None` for `null`.
struct Scalar<'a>(Option<Cow<'a, str>>);

/// The members of an object in their order.
struct Pairs<'a, T>(Vec<(Cow<'a, str>, T)>);

/// Whether an object says a status.
struct HasStatus(bool);

impl Status {
    fn of<E: serde::de::Error>(number: Option<u16>) -> Result<Self, E> {
        // What is below 200 ends no request.
        let status = number.filter(|number| (200..=599).contains(number)).and_then(|n| StatusCode::from_u16(n).ok());
        status.map(Self).ok_or_else(|| E::custom("statusCode is no status of an answer"))
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Status;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Status, E> {
                Status::of(u16::try_from(number).ok())
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Status, E> {
                // Some languages know no other numbers. The range is the one of `of`.
                let whole = number.fract() == 0.0 && (0.0..=65_535.0).contains(&number);
                Status::of(whole.then_some(number as u16))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Status, E> {
                Status::of(text.trim().parse().ok())
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a boolean")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Scalar<'de>, E> {
                Ok(Scalar(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scalar<'de>, E> {
                Ok(Scalar(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Scalar<'de>, E> {
                Ok(Scalar(Some(Cow::Borrowed(if value { "true" } else { "false" }))))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Scalar<'de>, E> {
                Ok(Scalar(Some(Cow::Owned(number.to_string()))))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Scalar<'de>, E> {
                Ok(Scalar(Some(Cow::Owned(number.to_string()))))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Scalar<'de>, E> {
                Ok(Scalar(Some(Cow::Owned(number.to_string()))))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Scalar<'de>, E> {
                Ok(Scalar(None))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Pairs<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Read<T> {
            type Value = Pairs<'de, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de, T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Read(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for HasStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = HasStatus;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HasStatus, A::Error> {
                let mut found = false;
                while let Some(Text(name)) = map.next_key()? {
                    found |= name == "statusCode";
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
                Ok(HasStatus(found))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests;
