//! One line of the access log.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::observe::clock::Clock;
use crate::observe::json::{Object, digits};

/// Bytes of a path that are shown.
const PATH: usize = 2048;
/// Bytes of a client's user agent that are shown.
const USER_AGENT: usize = 256;
/// Bytes of names: hosts, ids, stages.
const NAME: usize = 256;
/// Bytes of an error's sentence.
const ERROR: usize = 1024;

/// What is said about a request. What is not known is left out.
///
/// Never here: headers other than `Host` and `User-Agent`, and the query, which may hold secrets.
pub(crate) struct Line<'a> {
    /// When the request came in.
    pub(crate) time: SystemTime,
    pub(crate) request_id: Option<&'a [u8]>,
    pub(crate) extended_request_id: Option<&'a [u8]>,
    pub(crate) stage: Option<StageLine<'a>>,
    pub(crate) method: Option<&'a str>,
    /// Canonical, without query.
    pub(crate) path: Option<&'a str>,
    pub(crate) resource_path: Option<&'a str>,
    pub(crate) protocol: Option<&'static str>,
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) source_ip: IpAddr,
    pub(crate) user_agent: Option<&'a [u8]>,
    /// Id of the caller's API key.
    pub(crate) api_key_id: Option<&'a str>,
    /// Missing if the client left before there was an answer.
    pub(crate) status: Option<u16>,
    /// Reason label of a rejection.
    pub(crate) reason: Option<&'static str>,
    pub(crate) error: Option<&'a str>,
    /// Bytes of body handed to the client's connection.
    pub(crate) response_length: u64,
    /// From the request's header section to the end of the answer's body.
    pub(crate) latency: Duration,
    /// From handing the request to the backend until its response headers.
    pub(crate) integration_latency: Option<Duration>,
    pub(crate) integration_status: Option<u16>,
    pub(crate) trace_id: Option<&'a [u8]>,
    pub(crate) client_left: bool,
}

/// Where the request went.
pub(crate) struct StageLine<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) api: &'a str,
    pub(crate) stage: &'a str,
    pub(crate) deployment: u64,
}

impl Line<'_> {
    /// One that says only when, who and how long.
    pub(crate) fn of(time: SystemTime, source_ip: IpAddr, latency: Duration) -> Self {
        Self {
            time,
            request_id: None,
            extended_request_id: None,
            stage: None,
            method: None,
            path: None,
            resource_path: None,
            protocol: None,
            host: None,
            source_ip,
            user_agent: None,
            api_key_id: None,
            status: None,
            reason: None,
            error: None,
            response_length: 0,
            latency,
            integration_latency: None,
            integration_status: None,
            trace_id: None,
            client_left: false,
        }
    }

    /// Writes it, with its line feed.
    pub(crate) fn write(&self, out: &mut Vec<u8>, clock: &mut Clock) {
        let mut line = Object::open(out);
        line.plain("time", |out| clock.write(out, self.time));
        line.text_if("requestId", self.request_id, NAME);
        line.text_if("extendedRequestId", self.extended_request_id, NAME);
        if let Some(stage) = &self.stage {
            line.text("namespace", stage.namespace.as_bytes(), NAME);
            line.text("api", stage.api.as_bytes(), NAME);
            line.text("stage", stage.stage.as_bytes(), NAME);
            line.number("deployment", stage.deployment);
        }
        line.text_if("method", self.method.map(str::as_bytes), NAME);
        line.text_if("path", self.path.map(str::as_bytes), PATH);
        line.text_if("resourcePath", self.resource_path.map(str::as_bytes), PATH);
        line.text_if("protocol", self.protocol.map(str::as_bytes), NAME);
        line.text_if("host", self.host, NAME);
        line.plain("sourceIp", |out| address(out, self.source_ip));
        line.text_if("userAgent", self.user_agent, USER_AGENT);
        line.text_if("apiKeyId", self.api_key_id.map(str::as_bytes), NAME);
        if let Some(status) = self.status {
            line.number("status", status.into());
        }
        line.text_if("reason", self.reason.map(str::as_bytes), NAME);
        line.text_if("error", self.error.map(str::as_bytes), ERROR);
        line.number("responseLength", self.response_length);
        line.millis("latency", self.latency);
        if let Some(latency) = self.integration_latency {
            line.millis("integrationLatency", latency);
        }
        if let Some(status) = self.integration_status {
            line.number("integrationStatus", status.into());
        }
        line.text_if("traceId", self.trace_id, NAME);
        if self.client_left {
            line.flag("clientLeft");
        }
        line.close();
        out.push(b'\n');
    }
}

/// An address as text. IPv4 without the formatting machinery, which costs more than the rest of the line's numbers.
fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                digits(out, octet.into());
            }
        }
        IpAddr::V6(address) => {
            let written = write!(out, "{address}");
            debug_assert!(written.is_ok(), "a Vec takes every write");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            time: std::time::UNIX_EPOCH + Duration::from_millis(1_795_523_696_789),
            request_id: Some(b"id"),
            extended_request_id: Some(b"x="),
            stage: Some(StageLine { namespace: "shop", api: "orders", stage: "prod", deployment: 7 }),
            method: Some("GET"),
            path: Some("/prod/pets/1"),
            resource_path: Some("/pets/{id}"),
            protocol: Some("HTTP/1.1"),
            host: Some(b"api.example.com"),
            source_ip: IpAddr::from([192, 0, 2, 10]),
            user_agent: Some(b"a \"quoted\" agent"),
            api_key_id: Some("acme"),
            status: Some(200),
            reason: None,
            error: None,
            response_length: 12,
            latency: Duration::from_micros(1500),
            integration_latency: Some(Duration::from_micros(1200)),
            integration_status: Some(200),
            trace_id: None,
            client_left: false,
        }
    }

    fn written(line: &Line<'_>) -> String {
        let mut out = Vec::new();
        line.write(&mut out, &mut Clock::new());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_field() {
        assert_eq!(
            written(&line()),
            concat!(
                r#"{"time":"2026-11-24T12:34:56.789Z","requestId":"id","extendedRequestId":"x=","namespace":"shop","#,
                r#""api":"orders","stage":"prod","deployment":7,"method":"GET","path":"/prod/pets/1","#,
                r#""resourcePath":"/pets/{id}","protocol":"HTTP/1.1","host":"api.example.com","#,
                r#""sourceIp":"192.0.2.10","userAgent":"a \"quoted\" agent","apiKeyId":"acme","status":200,"responseLength":12,"#,
                r#""latency":1.500,"integrationLatency":1.200,"integrationStatus":200}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_line_has_a_bound() {
        let long = "\u{1}".repeat(100_000);
        let line = Line {
            host: Some(long.as_bytes()),
            user_agent: Some(long.as_bytes()),
            path: Some(&long),
            error: Some(&long),
            client_left: true,
            status: None,
            ..line()
        };
        let written = written(&line);
        assert!(written.len() < 32 << 10, "{}", written.len());
        let value: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(value["clientLeft"], true);
        assert_eq!(value.get("status"), None);
    }

    #[test]
    fn addresses() {
        let text = |text: &str| {
            let mut out = Vec::new();
            address(&mut out, text.parse().unwrap());
            String::from_utf8(out).unwrap()
        };
        for same in ["0.0.0.0", "255.10.9.1", "2001:db8::1", "::1"] {
            assert_eq!(text(same), same);
        }
        assert_eq!(text("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
