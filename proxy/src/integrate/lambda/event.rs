//! The event that a proxy function gets, written straight into the call's body.

mod v1;
mod v2;

use bundle::ApiKind;
use bundle::integration::PayloadFormat;
use http::HeaderValue;

use crate::context;
use crate::exchange::{Exchange, Routed};
use crate::integrate::lambda::json::Writer;
use crate::live::template::media_type;
use crate::live::{Route, Stage};

/// What an event is made of.
pub(super) struct Source<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) routed: &'a Routed,
    pub(super) stage: &'a Stage,
    pub(super) route: &'a Route,
    pub(super) trace_id: &'a HeaderValue,
    pub(super) body: &'a [u8],
}

impl<'a> Source<'a> {
    /// `None` for a request that leads nowhere.
    pub(super) fn of(exchange: &'a Exchange, trace_id: &'a HeaderValue, body: &'a [u8]) -> Option<Self> {
        let routed = exchange.routed.as_ref()?;
        let route = routed.route()?;
        Some(Self { exchange, routed, stage: &routed.stage.live, route, trace_id, body })
    }

    /// The event.
    pub(super) fn write(&self, format: PayloadFormat) -> Vec<u8> {
        // Room for the usual headers twice, and for a body in base64.
        let mut out = Vec::with_capacity(3 << 10 | (self.body.len() / 3 * 4 + 64));
        match format {
            PayloadFormat::V1 => v1::write(self, &mut out),
            PayloadFormat::V2 => v2::write(self, &mut out),
        }
        out
    }

    /// The whole path with the stage's name or the base path, as the client sees it.
    fn whole_path(&self) -> &'a str {
        self.exchange.path.as_str()
    }

    /// The path of a 1.0 event: without the stage's name, with a custom host's base path.
    fn path(&self) -> &'a str {
        if self.routed.custom_host || self.stage.kind == ApiKind::Http {
            return self.whole_path();
        }
        self.exchange.resource_path()
    }

    /// Path parameters with their values, escaped as received.
    fn parameters(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let path = self.exchange.path.as_str();
        let ranges = self.routed.parameters.iter();
        self.route.parameters.iter().zip(ranges).filter_map(|(name, range)| Some((&**name, path.get(range.clone())?)))
    }

    /// Members that are `$context` variables, under their own names or others.
    fn context(&self, object: &mut Writer<'_>, members: &[(&'static str, &str)]) {
        for (member, variable) in members {
            object.text_or_null(member, context::lookup(self.exchange, variable).as_deref());
        }
    }

    /// The certificate that the client has shown, if any.
    fn certificate(&self, object: &mut Writer<'_>) {
        let Some(shown) = context::certificate(self.exchange) else { return };
        object.nested("clientCert", |object| {
            object.text("clientCertPem", &*shown.pem);
            object.text("subjectDN", &*shown.subject);
            object.text("issuerDN", &*shown.issuer);
            object.text("serialNumber", &*shown.serial);
            object.nested("validity", |object| {
                object.text("notBefore", &*shown.not_before);
                object.text("notAfter", &*shown.not_after);
            });
        });
    }

    /// `requestTimeEpoch`.
    fn epoch(&self, object: &mut Writer<'_>, member: &'static str) {
        if let Some(millis) = context::lookup(self.exchange, "requestTimeEpoch") {
            object.raw(member, millis.as_bytes());
        }
    }

    /// A REST API's binary media types, or what an HTTP API takes for text.
    fn is_binary(&self) -> bool {
        let content_type = self.exchange.headers.get(http::header::CONTENT_TYPE);
        let media_type = content_type.map(|value| value.to_str().map(media_type));
        match self.stage.kind {
            ApiKind::Rest => self.stage.binary_types.hold(media_type.unwrap_or(Ok("application/json")).ok()),
            ApiKind::Http => media_type.is_some_and(|media_type| !media_type.is_ok_and(is_text)),
        }
    }
}

/// Whether an HTTP API hands a body on as it is. Forms it does not, which surprises many.
fn is_text(media_type: &str) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    media_type.starts_with("text/")
        || ["application/json", "application/xml", "application/javascript"].contains(&media_type.as_str())
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
}

#[cfg(test)]
mod tests;
