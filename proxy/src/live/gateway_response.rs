//! Customised gateway responses, parsed.

use std::collections::BTreeMap;

use bundle::mapping::Source;
use bundle::reply::GatewayResponseType;
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::live::text::{Reference, Text};

/// The customised gateway responses of a stage.
#[derive(Debug, Default)]
pub struct GatewayResponses(BTreeMap<GatewayResponseType, GatewayResponse>);

/// One customised gateway response.
#[derive(Debug, Default)]
pub struct GatewayResponse {
    /// `None` keeps the type's own.
    pub status: Option<StatusCode>,
    pub headers: Box<[(HeaderName, Value)]>,
    /// Empty keeps the default body.
    pub templates: Box<[BodyTemplate]>,
}

/// A body for one media type.
#[derive(Debug)]
pub struct BodyTemplate {
    pub media_type: Box<str>,
    pub content_type: HeaderValue,
    pub text: Text,
}

/// Where a header's value comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    /// A literal, or a stage variable.
    Ready(HeaderValue),
    From(Reference),
}

impl GatewayResponses {
    /// Parses a stage's gateway responses. What does not work is left out, and said: an answer without a header is
    /// better than none.
    pub fn parse(
        bundles: &BTreeMap<GatewayResponseType, bundle::reply::GatewayResponse>,
        variables: &BTreeMap<String, String>,
        broken: &mut Vec<String>,
    ) -> Self {
        let parse = |(&kind, bundle): (&GatewayResponseType, _)| {
            let mut report = |message: String| broken.push(format!("the gateway response {}: {message}", kind.name()));
            (kind, GatewayResponse::parse(bundle, variables, &mut report))
        };
        Self(bundles.iter().map(parse).collect())
    }

    /// What customises a type: its own entry, or else that of its class, which `status` says.
    pub fn of(&self, kind: GatewayResponseType, status: StatusCode) -> Option<&GatewayResponse> {
        let class =
            if status.is_server_error() { GatewayResponseType::Default5xx } else { GatewayResponseType::Default4xx };
        self.0.get(&kind).or_else(|| self.0.get(&class))
    }
}

impl GatewayResponse {
    fn parse(
        bundle: &bundle::reply::GatewayResponse,
        variables: &BTreeMap<String, String>,
        report: &mut impl FnMut(String),
    ) -> Self {
        let bundle::reply::GatewayResponse { status, headers, templates } = bundle;
        let status = status.and_then(|number| {
            let status = StatusCode::from_u16(number).ok().filter(|_| (200..600).contains(&number));
            if status.is_none() {
                report(format!("{number} is no status of an answer"));
            }
            status
        });
        let headers = headers.iter().filter_map(|(name, source)| match header(name, source, variables) {
            Ok(header) => header,
            Err(message) => {
                report(message);
                None
            }
        });
        let headers = headers.collect();
        let templates = templates.iter().filter_map(|(media_type, text)| {
            let Ok(content_type) = HeaderValue::from_str(media_type) else {
                report(format!("`{media_type}` is no media type"));
                return None;
            };
            let text = Text::of_gateway_response(text, variables);
            Some(BodyTemplate { media_type: media_type.as_str().into(), content_type, text })
        });
        Self { status, headers, templates: templates.collect() }
    }
}

/// A header; `None` for a stage variable that is not set.
fn header(
    name: &str,
    source: &Source,
    variables: &BTreeMap<String, String>,
) -> Result<Option<(HeaderName, Value)>, String> {
    let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header name"))?;
    if [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(&name) {
        return Err(format!("the header `{name}` belongs to the connection"));
    }
    let ready = |text: &str| match HeaderValue::from_str(text) {
        Ok(value) => Ok(Value::Ready(value)),
        Err(_) => Err(format!("the value of header `{name}` cannot be sent")),
    };
    let value = match source {
        Source::Static(text) => ready(text)?,
        Source::StageVariable(variable) => match variables.get(variable) {
            Some(text) => ready(text)?,
            None => return Ok(None),
        },
        Source::Context(variable) => Value::From(Reference::Context(variable.as_str().into())),
        Source::Header(header) | Source::MultiHeader(header) => {
            Value::From(Reference::Header(header.parse().map_err(|_| format!("`{header}` is no header name"))?))
        }
        Source::Query(parameter) | Source::MultiQuery(parameter) => {
            Value::From(Reference::Query(parameter.as_str().into()))
        }
        Source::Path(parameter) => Value::From(Reference::Path(parameter.as_str().into())),
        Source::Body(_) => return Err(format!("the header `{name}` cannot come from the body")),
    };
    Ok(Some((name, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(status: Option<u16>, headers: &[(&str, Source)]) -> bundle::reply::GatewayResponse {
        let headers = headers.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect();
        bundle::reply::GatewayResponse { status, headers, templates: BTreeMap::new() }
    }

    #[test]
    fn an_entry_of_its_own_hides_the_default_of_its_class() {
        use GatewayResponseType::{BadRequestBody, Default4xx, Default5xx, IntegrationTimeout, Throttled};
        let bundles = BTreeMap::from([
            (Default4xx, bundle(Some(499), &[])),
            (Default5xx, bundle(Some(599), &[])),
            (Throttled, bundle(None, &[])),
        ]);
        let parsed = GatewayResponses::parse(&bundles, &BTreeMap::new(), &mut Vec::new());
        let status = |kind, own: u16| {
            let response = parsed.of(kind, StatusCode::from_u16(own).unwrap()).unwrap();
            response.status.map(|status| status.as_u16())
        };
        assert_eq!(status(BadRequestBody, 400), Some(499));
        assert_eq!(status(IntegrationTimeout, 504), Some(599));
        assert_eq!(status(Throttled, 429), None);
    }

    #[test]
    fn what_does_not_work_is_left_out_and_said() {
        let headers = [
            ("X-Fine", Source::Static("a".into())),
            ("X-Unset", Source::StageVariable("gone".into())),
            ("bad name", Source::Static("a".into())),
            ("X-Line", Source::Static("a\nb".into())),
            ("Content-Length", Source::Static("1".into())),
            ("X-Body", Source::Body(None)),
        ];
        let bundles = BTreeMap::from([(GatewayResponseType::Throttled, bundle(Some(99), &headers))]);
        let mut broken = Vec::new();
        let parsed = GatewayResponses::parse(&bundles, &BTreeMap::new(), &mut broken);
        let response = parsed.of(GatewayResponseType::Throttled, StatusCode::TOO_MANY_REQUESTS).unwrap();
        assert_eq!(response.headers.len(), 1);
        assert_eq!(response.status, None);
        assert_eq!(broken.len(), 5);
        assert!(broken[0].starts_with("the gateway response THROTTLED: "));
    }
}
