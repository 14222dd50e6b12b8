//! `$context`: what a mapping, a gateway response or a log format may ask about a request.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use bundle::ApiKind;
use bundle::route::DEFAULT_RESOURCE;
use http::HeaderValue;
use http::header::USER_AGENT;
use vtl::{Overrides, Text, Value};

use crate::exchange::certificate::Shown;
use crate::exchange::{API_KEY, Exchange, Routed};
use crate::live::Route;

/// The value of a `$context` variable, named without `$context.`; `None` if it has none, or there is no such
/// variable.
pub fn lookup<'a>(exchange: &'a Exchange, name: &str) -> Option<Cow<'a, str>> {
    let routed = exchange.routed.as_ref();
    let stage = routed.map(|routed| &*routed.stage.live);
    let route = routed.and_then(|routed| routed.route());
    let record = &exchange.record;
    Some(match name {
        "accountId" => Cow::Borrowed(&*stage?.account_id),
        "apiId" => Cow::Borrowed(&*stage?.api_id),
        "stage" => Cow::Borrowed(&*stage?.name),
        "deploymentId" => Cow::Owned(stage?.deployment.to_string()),
        "domainName" => Cow::Borrowed(exchange.host()?),
        "domainPrefix" => Cow::Borrowed(exchange.host()?.split('.').next()?),
        "requestId" => text(&exchange.ids.request)?,
        "extendedRequestId" => text(&exchange.ids.extended)?,
        "requestTime" => Cow::Owned(clock_time(exchange.received_at())),
        "requestTimeEpoch" => Cow::Owned(millis(exchange.received_at()).to_string()),
        "httpMethod" => Cow::Borrowed(exchange.method.as_str()),
        "path" => Cow::Borrowed(exchange.path.as_str()),
        // Whatever was spoken, as Amazon has it.
        "protocol" => Cow::Borrowed("HTTP/1.1"),
        "isCanaryRequest" => Cow::Borrowed(if stage?.canary_request? { "true" } else { "false" }),
        "routeKey" if stage?.kind == ApiKind::Http => route_key(route?),
        "customDomain.basePathMatched" => base_path(exchange, routed?)?,
        "resourceId" => Cow::Borrowed(&*route?.resource_id),
        "resourcePath" => Cow::Borrowed(&*route?.resource),
        "identity.sourceIp" => Cow::Owned(exchange.source_ip().to_string()),
        "identity.clientCert.clientCertPem" => Cow::Borrowed(&*certificate(exchange)?.pem),
        "identity.clientCert.subjectDN" => Cow::Borrowed(&*certificate(exchange)?.subject),
        "identity.clientCert.issuerDN" => Cow::Borrowed(&*certificate(exchange)?.issuer),
        "identity.clientCert.serialNumber" => Cow::Borrowed(&*certificate(exchange)?.serial),
        "identity.clientCert.validity.notBefore" => Cow::Borrowed(&*certificate(exchange)?.not_before),
        "identity.clientCert.validity.notAfter" => Cow::Borrowed(&*certificate(exchange)?.not_after),
        "identity.userAgent" => text(exchange.headers.get(USER_AGENT)?)?,
        "identity.apiKeyId" => Cow::Borrowed(record.caller.as_ref()?.key_id()?),
        // The key itself, as Amazon has it, for mappings alone: nothing of this may go into a log.
        "identity.apiKey" => text(record.caller.as_ref().and_then(|_| exchange.headers.get(&API_KEY))?)?,
        "xrayTraceId" => text(record.trace_id.as_ref()?)?,
        "integrationLatency" | "integration.latency" => Cow::Owned(record.integration_latency?.as_millis().to_string()),
        "integrationStatus" | "integration.integrationStatus" => Cow::Owned(record.integration_status?.to_string()),
        "integration.status" => Cow::Owned(record.function_status?.to_string()),
        "awsEndpointRequestId" | "integration.requestId" => text(record.endpoint_request_id.as_ref()?)?,
        "integrationErrorMessage" | "integration.error" => Cow::Borrowed(record.error.as_deref()?),
        _ => return None,
    })
}

/// `$context` as a template sees it: its variables in the order that was recorded. `overrides` are what the template may
/// set.
pub fn value(exchange: &Exchange, overrides: &Overrides) -> Value {
    let named = |name: &'static str| {
        let (name, variable) = (Text::from_static(name), lookup(exchange, name));
        (name, variable.map_or(Value::Null, |text| Value::from(&*text)))
    };
    // Those without a value are there all the same, and empty.
    let member = |variable: &'static str| {
        let name = &variable["identity.".len()..];
        let value = lookup(exchange, variable).map_or(Value::Null, |text| Value::from(&*text));
        (Text::from_static(name), value)
    };
    // Only where an API key was asked for.
    let caller = exchange.record.caller.iter().flat_map(|_| CALLER).map(member);
    // Only where the host asks for it.
    let certificate = certificate(exchange).map(|shown| {
        let member = |name, text: &str| (Text::from_static(name), Value::from(text));
        let validity = [member("notBefore", &shown.not_before), member("notAfter", &shown.not_after)];
        let members = [
            member("clientCertPem", &shown.pem),
            member("subjectDN", &shown.subject),
            member("issuerDN", &shown.issuer),
            member("serialNumber", &shown.serial),
            (Text::from_static("validity"), Value::sealed(validity)),
        ];
        (Text::from_static("clientCert"), Value::sealed(members))
    });
    let identity = IDENTITY.into_iter().map(member).chain(caller).chain(certificate);
    let received = exchange.received_at();
    let epoch = i64::try_from(millis(received)).unwrap_or(i64::MAX);
    // Only while there is a canary.
    let canary = lookup(exchange, "isCanaryRequest").map(|_| named("isCanaryRequest"));
    // Only once a service has answered.
    let endpoint = exchange.record.endpoint_request_id.as_ref().map(|_| named("awsEndpointRequestId"));
    let members = [
        named("resourceId"),
        named("resourcePath"),
        named("httpMethod"),
        named("extendedRequestId"),
        (Text::from_static("requestTime"), Value::from(clock_time(received))),
        named("path"),
        named("accountId"),
        named("protocol"),
        (Text::from_static("requestOverride"), overrides.request.clone()),
        named("stage"),
        named("domainPrefix"),
        (Text::from_static("requestTimeEpoch"), Value::from(epoch)),
        named("requestId"),
        (Text::from_static("identity"), Value::sealed(identity)),
        named("domainName"),
        named("deploymentId"),
        (Text::from_static("responseOverride"), overrides.response.clone()),
        named("apiId"),
    ];
    Value::sealed(members.into_iter().chain(canary).chain(endpoint))
}

/// The certificate that the client has shown.
pub fn certificate(exchange: &Exchange) -> Option<&Shown> {
    exchange.client.certificate.as_ref().map(|certificate| certificate.shown())
}

/// How an HTTP API names a route: `GET /pets/{id}`, or `$default`.
pub fn route_key(route: &Route) -> Cow<'_, str> {
    match &*route.resource {
        DEFAULT_RESOURCE => Cow::Borrowed(DEFAULT_RESOURCE),
        resource => Cow::Owned(format!("{} {resource}", route.verb)),
    }
}

/// The base path under which a host of the Stage's own was asked; `(none)` at its root, as Amazon has it.
fn base_path<'a>(exchange: &'a Exchange, routed: &Routed) -> Option<Cow<'a, str>> {
    let path = exchange.path.as_str().get(..routed.resource_start).filter(|_| routed.custom_host)?;
    Some(Cow::Borrowed(match path.trim_matches('/') {
        "" => "(none)",
        path => path,
    }))
}

/// Members of `$context.identity`, in the order that was recorded.
const IDENTITY: [&str; 12] = [
    "identity.cognitoIdentityPoolId",
    "identity.accountId",
    "identity.cognitoIdentityId",
    "identity.caller",
    "identity.sourceIp",
    "identity.principalOrgId",
    "identity.accessKey",
    "identity.cognitoAuthenticationType",
    "identity.cognitoAuthenticationProvider",
    "identity.userArn",
    "identity.userAgent",
    "identity.user",
];

/// What an API key adds to them.
const CALLER: [&str; 2] = ["identity.apiKey", "identity.apiKeyId"];

fn text(value: &HeaderValue) -> Option<Cow<'_, str>> {
    value.to_str().ok().map(Cow::Borrowed)
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

/// `24/Nov/2026:04:05:30 +0000`.
pub fn clock_time(time: SystemTime) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hours, minutes) = (second / 3600, second / 60 % 60);
    format!("{day:02}/{}/{year}:{hours:02}:{minutes:02}:{:02} +0000", MONTHS[month as usize - 1], second % 60)
}

/// Year, month and day of a number of days since 1970, by Howard Hinnant's algorithm.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture::{core, custom_host, default_host, mock, request, set, stage};

    fn routed(kind: ApiKind, target: &str) -> Exchange {
        let mut bundle = stage("prod", &[mock("GET /pets/{id}"), mock("ANY $default")]);
        bundle.api.kind = kind;
        let hosts = vec![
            default_host("example.com", &["prod"]),
            custom_host("api.example.com", &[("/base", "prod")]),
            custom_host("root.example.com", &[("", "prod")]),
        ];
        let core = core(&set(vec![bundle], hosts)).0;
        let mut exchange = request("GET", target, &[]);
        crate::dispatch::dispatch(&core, &mut exchange).unwrap();
        exchange
    }

    #[test]
    fn what_http_apis_call_routes_and_requests() {
        let exchange = routed(ApiKind::Http, "/prod/pets/7");
        assert_eq!(lookup(&exchange, "routeKey").as_deref(), Some("GET /pets/{id}"));
        assert_eq!(lookup(&exchange, "requestId"), lookup(&exchange, "extendedRequestId"));
        assert_eq!(lookup(&routed(ApiKind::Http, "/prod/x/y"), "routeKey").as_deref(), Some("$default"));
        let exchange = routed(ApiKind::Rest, "/prod/pets/7");
        assert_eq!(lookup(&exchange, "routeKey"), None);
        assert_ne!(lookup(&exchange, "requestId"), lookup(&exchange, "extendedRequestId"));
    }

    #[test]
    fn base_paths_are_those_of_hosts_of_the_stages_own() {
        let matched = |target| {
            let exchange = routed(ApiKind::Rest, target);
            lookup(&exchange, "customDomain.basePathMatched").map(Cow::into_owned)
        };
        assert_eq!(matched("/prod/pets/7"), None);
        assert_eq!(matched("https://api.example.com/base/pets/7").as_deref(), Some("base"));
        assert_eq!(matched("https://root.example.com/pets/7").as_deref(), Some("(none)"));
    }

    #[test]
    fn the_certificate_of_a_client() {
        let exchange = crate::fixture::with_certificate(routed(ApiKind::Rest, "/prod/pets/7"));
        for (name, expected) in [
            ("subjectDN", "O=Partners,CN=client"),
            ("issuerDN", "O=Partners,CN=client"),
            ("serialNumber", "7"),
            ("validity.notBefore", "May 28 00:00:00 2019 GMT"),
            ("validity.notAfter", "Aug  5 00:00:00 2121 GMT"),
        ] {
            assert_eq!(lookup(&exchange, &format!("identity.clientCert.{name}")).as_deref(), Some(expected));
        }
        let templates = |exchange: &Exchange| format!("{:?}", value(exchange, &Overrides::new()));
        assert!(templates(&exchange).contains("O=Partners,CN=client"));
        assert!(!templates(&routed(ApiKind::Rest, "/prod/pets/7")).contains("clientCert"));
    }

    #[test]
    fn what_endpoints_say() {
        let mut exchange = routed(ApiKind::Rest, "/prod/pets/7");
        let known = |exchange: &Exchange| {
            let names = ["awsEndpointRequestId", "integration.requestId", "integration.status"];
            names.map(|name| lookup(exchange, name).map(Cow::into_owned))
        };
        assert_eq!(known(&exchange), [None, None, None]);
        let templates = |exchange: &Exchange| format!("{:?}", value(exchange, &Overrides::new()));
        assert!(!templates(&exchange).contains("awsEndpointRequestId"));
        exchange.record.endpoint_request_id = Some(HeaderValue::from_static("theirs"));
        exchange.record.function_status = Some(404);
        assert_eq!(known(&exchange), ["theirs", "theirs", "404"].map(|text| Some(text.to_owned())));
        assert!(templates(&exchange).contains("awsEndpointRequestId"));
    }

    #[test]
    fn templates_see_what_was_recorded_in_its_order() {
        let exchange = routed(ApiKind::Rest, "/prod/pets/7");
        let render = |source: &str| {
            let context = value(&exchange, &Overrides::new());
            let mut scope = vtl::Scope { input: vtl::Input::of_body(""), context, stage_variables: Value::Null };
            vtl::Template::parse("t", source).unwrap().render(&mut scope, &vtl::Limits::default()).unwrap()
        };
        let keys =
            |map: &str| render(&format!("#foreach($k in $context{map}.keySet())$k#if($foreach.hasNext) #end#end"));
        assert_eq!(
            keys(""),
            "resourceId resourcePath httpMethod extendedRequestId requestTime path accountId protocol requestOverride \
             stage domainPrefix requestTimeEpoch requestId identity domainName deploymentId responseOverride apiId"
        );
        assert_eq!(
            keys(".identity"),
            "cognitoIdentityPoolId accountId cognitoIdentityId caller sourceIp principalOrgId accessKey \
             cognitoAuthenticationType cognitoAuthenticationProvider userArn userAgent user"
        );
        assert_eq!(keys(".requestOverride"), "path header querystring");
        assert_eq!(keys(".responseOverride"), "header");
        assert_eq!(keys(".authorizer"), "");
        let nothing = "[$context][$context.identity][$context.identity.user][$context.identity.apiKey]\
                       [$context.authorizer.principalId][$context.status][$context.responseLatency][$context.none]";
        assert_eq!(render(nothing), "[][][][][][][][]");
    }

    #[test]
    fn clock_times() {
        for (seconds, text) in [
            (0, "01/Jan/1970:00:00:00 +0000"),
            (951_782_399, "28/Feb/2000:23:59:59 +0000"),
            (951_782_400, "29/Feb/2000:00:00:00 +0000"),
            (1_700_993_472, "26/Nov/2023:10:11:12 +0000"),
            (4_107_542_400, "01/Mar/2100:00:00:00 +0000"),
        ] {
            assert_eq!(clock_time(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
