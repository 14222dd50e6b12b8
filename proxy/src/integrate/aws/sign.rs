//! Signature Version 4 of a request for an AWS service.

use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign as sigv4,
};
use aws_sigv4::sign::v4::SigningParams;
use http::header::{CONTENT_TYPE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::integrate::aws::credentials::Keys;
use crate::rejection::Rejection;

/// Escaped in the path of an object of S3.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What a signature is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The service's signing name, `states`.
    pub service: &'a str,
    pub region: &'a str,
}

/// A request as it will be sent.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    pub method: &'a Method,
    pub path: &'a PathAndQuery,
    pub body: &'a [u8],
}

/// Signs a request: sets `X-Amz-Date`, `Authorization`, and for temporary keys `X-Amz-Security-Token`. Signed are
/// `Host`, which must be there, `Content-Type` and every `X-Amz-…`; the others may change on the way.
///
/// # Errors
/// When the request or the credentials cannot be signed with; nothing of either is told.
pub fn sign(
    keys: &Keys,
    scope: Scope<'_>,
    request: Unsigned<'_>,
    headers: &mut HeaderMap,
    now: SystemTime,
) -> Result<(), Rejection> {
    for own in ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"] {
        headers.remove(own);
    }
    let signed = headers
        .iter()
        .filter(|&(name, _)| name == HOST || name == CONTENT_TYPE || name.as_str().starts_with("x-amz-"))
        .map(|(name, value)| (name.as_str(), value.to_str()))
        .filter_map(|(name, value)| Some((name, value.ok()?)));
    let settings = settings(scope.service);
    let escaped = (settings.percent_encoding_mode == PercentEncodingMode::Single).then(|| escaped_once(request.path));
    let path = escaped.transpose()?;
    let request = Unsigned { path: path.as_ref().unwrap_or(request.path), ..request };
    let instructions = calculate(keys, scope, request, signed, settings, now)?;
    for (name, value) in instructions {
        let mut value = HeaderValue::try_from(value).map_err(|_| unsigned())?;
        value.set_sensitive(name != "x-amz-date" && name != "x-amz-content-sha256");
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

/// A path as S3 escapes it before it compares signatures, however it was sent: an object's key may be sent with `%2F`.
fn escaped_once(path: &PathAndQuery) -> Result<PathAndQuery, Rejection> {
    let decoded: Vec<u8> = percent_decode_str(path.path()).collect();
    let mut text = percent_encode(&decoded, KEY).to_string();
    if let Some(query) = path.query() {
        text.push('?');
        text.push_str(query);
    }
    text.parse().map_err(|_| unsigned())
}

/// S3 takes a path as it is and wants the payload's hash as a header; everybody else normalises the path and escapes
/// it once more.
fn settings(service: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.session_token_mode = SessionTokenMode::Include;
    if matches!(service, "s3" | "s3-outposts" | "s3-object-lambda" | "s3express") {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    settings
}

/// The headers that make a request a signed one.
fn calculate<'a>(
    keys: &Keys,
    scope: Scope<'_>,
    request: Unsigned<'a>,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    settings: SigningSettings,
    now: SystemTime,
) -> Result<Vec<(&'static str, String)>, Rejection> {
    let identity = keys.credentials().clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|_| unsigned())?
        .into();
    let body = SignableBody::Bytes(request.body);
    let signable = SignableRequest::new(request.method.as_str(), request.path.as_str(), headers, body);
    let (instructions, _) = sigv4(signable.map_err(|_| unsigned())?, &parameters).map_err(|_| unsigned())?.into_parts();
    Ok(instructions.headers().map(|(name, value)| (known(name), value.to_owned())).collect())
}

/// The signer's own headers, by the names it gives them.
fn known(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "authorization" => "authorization",
        "x-amz-date" => "x-amz-date",
        "x-amz-security-token" => "x-amz-security-token",
        _ => "x-amz-content-sha256",
    }
}

/// The signer's own words could hold what was to be signed.
fn unsigned() -> Rejection {
    Rejection::Configuration("the request for the AWS service could not be signed".into())
}

#[cfg(test)]
mod tests;
