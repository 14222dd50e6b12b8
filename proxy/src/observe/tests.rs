use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use bundle::{ApiKind, Digest, StageKey};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::core::CoreStage;
use crate::exchange::{RequestIds, Routed};
use crate::live::{Action, Route};
use crate::observe::log::{AccessLog, Closed};
use crate::options::LocalCertificates;
use crate::proxy::Shared;

/// An output that can be blocked, and shows what was written.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Pipe>);

#[derive(Default)]
struct Pipe {
    state: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Output {
    pub(crate) fn block(&self, blocked: bool) {
        self.0.state.lock().unwrap().1 = blocked;
        self.0.changed.notify_all();
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.state.lock().unwrap().0.clone()).unwrap()
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.0.changed.wait_while(self.0.state.lock().unwrap(), |state| state.1).unwrap();
        state.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct NoCertificates;

impl LocalCertificates for NoCertificates {
    fn certificate(&self, _: Option<&str>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
}

pub(crate) fn shared(access_log: AccessLog) -> Arc<Shared> {
    Arc::new(Shared { access_log, ..Shared::default() })
}

fn core(access_log: AccessLog) -> Rc<Core> {
    let options = Options {
        https: SocketAddr::from(([127, 0, 0, 1], 0)),
        plain: false,
        http: None,
        admin: None,
        workers: 1,
        max_connections: Options::MAX_CONNECTIONS,
        access_log: true,
        timeouts: Default::default(),
        certificates: Arc::new(NoCertificates),
        services: Default::default(),
        endpoints: Default::default(),
        egress: Default::default(),
        trusted_hops: 0,
        lends_aws_credentials: Default::default(),
    };
    Core::new(0, Arc::new(options), shared(access_log)).expect("the system has randomness")
}

pub(crate) fn stage(name: &str, version: &str, resources: &[&str]) -> Arc<Stage> {
    let route = |resource: &&str| Route {
        resource: (*resource).into(),
        resource_id: "abc123".into(),
        verb: "GET".into(),
        parameters: Vec::new(),
        api_key: false,
        validation: None,
        action: Action::Refuse(bundle::route::Refusal { reason: "Broken".into(), message: "does not work".into() }),
    };
    Arc::new(Stage {
        key: StageKey { namespace: "shop".into(), name: format!("orders-{name}") },
        digest: Digest::of(version.as_bytes()),
        api_name: "orders".into(),
        api_id: "0123456789".into(),
        kind: ApiKind::Rest,
        name: name.into(),
        deployment: 7,
        account_id: "123456789012".into(),
        region: "eu-west-1".into(),
        variables: Default::default(),
        router: Default::default(),
        routes: resources.iter().map(route).collect(),
        binary_types: Default::default(),
        minimum_compression_size: None,
        cors: None,
        canary: None,
        canary_request: None,
        gateway_responses: Default::default(),
        aws: crate::live::aws::Aws::parse(&crate::fixture::stage("prod", &[])),
        broken: Vec::new(),
    })
}

fn exchange(parts: http::request::Parts) -> Exchange {
    let client = Client::new(([192, 0, 2, 1], 5000).into(), ([192, 0, 2, 2], 443).into(), None);
    Exchange {
        method: parts.method,
        uri: parts.uri,
        path: Default::default(),
        version: parts.version,
        steering: crate::exchange::Steering::of(&parts.headers),
        headers: parts.headers,
        body: Body::empty(),
        upgrade: None,
        client: Arc::new(client),
        received: Instant::now(),
        ids: RequestIds {
            request: http::HeaderValue::from_static("request-id"),
            extended: http::HeaderValue::from_static("extended-id="),
        },
        routed: None,
        record: Default::default(),
    }
}

/// Sends `request` through a real codec whose service answers with `answer`; the client goes away when it has read
/// `patience` bytes.
async fn call(core: &Rc<Core>, request: &str, patience: usize, answer: fn(Body) -> Response<Body>) -> String {
    let (mut near, far) = tokio::io::duplex(4 << 10);
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (parts, body) = request.into_parts();
        let mut exchange = Box::new(exchange(parts));
        exchange.trust(1);
        let in_flight = begin(core, exchange);
        let response = watch(in_flight, answer(Body::wire(body)));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let client = async {
        near.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        (&mut near).take(patience as u64).read_to_end(&mut read).await.unwrap();
        drop(near);
        String::from_utf8(read).unwrap()
    };
    let server = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
    let (_served, read) = tokio::join!(server, client);
    read
}

/// What one call left behind: its log line and the text of the metrics.
async fn observed(
    request: &str,
    patience: usize,
    answer: fn(Body) -> Response<Body>,
) -> (String, serde_json::Value, String) {
    let output = Output::default();
    let core = core(AccessLog::to(output.clone()).unwrap());
    let read = call(&core, request, patience, answer).await;
    assert!(core.observer.flush());
    assert_eq!(core.shared.access_log.close(Duration::from_secs(5)), Closed::Written);
    let lines = output.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let metrics = String::from_utf8(core.shared.metrics.text()).unwrap();
    assert!(metrics.contains("stagegate_requests_in_flight 0\n"), "{metrics}");
    (read, lines[0].clone(), metrics)
}

fn counted(class: &str) -> String {
    format!(
        "stagegate_requests_total{{namespace=\"\",api=\"\",stage=\"\",route=\"\",method=\"\",status_class=\"{class}\"}} 1\n"
    )
}

#[tokio::test]
async fn a_full_body() {
    let request = "GET /a/b?secret=1 HTTP/1.1\r\nhost: example.com:8443\r\nuser-agent: test\r\nauthorization: hidden\r\nconnection: close\r\n\r\n";
    let (read, line, metrics) = observed(request, 10_000, |_| Response::new(Body::full("hello"))).await;
    assert!(read.ends_with("hello"), "{read}");
    assert_eq!(line["path"], "/a/b");
    assert_eq!(line["host"], "example.com");
    assert_eq!(line["userAgent"], "test");
    assert_eq!(line["sourceIp"], "192.0.2.1");
    assert_eq!(line["requestId"], "request-id");
    assert_eq!((&line["status"], &line["responseLength"]), (&200.into(), &5.into()));
    assert_eq!(line.get("clientLeft"), None);
    assert!(!line.to_string().contains("hidden") && !line.to_string().contains("secret"));
    assert!(metrics.contains(&counted("2xx")), "{metrics}");
}

#[tokio::test]
async fn bodies_that_are_never_sent() {
    for (request, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        let request = format!("{request} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer: fn(Body) -> Response<Body> = match status {
            204 => |_| Response::builder().status(204).body(Body::full("never")).unwrap(),
            304 => |_| Response::builder().status(304).body(Body::full("never")).unwrap(),
            _ => |_| Response::new(Body::full("never")),
        };
        let (read, line, _) = observed(&request, 10_000, answer).await;
        assert!(!read.ends_with("never"), "{read}");
        assert_eq!((&line["status"], &line["responseLength"]), (&status.into(), &0.into()));
        assert_eq!(line.get("clientLeft"), None);
    }
}

#[tokio::test]
async fn an_empty_body() {
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let (_, line, metrics) =
        observed(request, 10_000, |_| Response::builder().status(404).body(Body::empty()).unwrap()).await;
    assert_eq!((&line["status"], &line["responseLength"]), (&404.into(), &0.into()));
    assert_eq!(line.get("clientLeft"), None);
    assert!(metrics.contains(&counted("4xx")), "{metrics}");
}

#[tokio::test]
async fn a_streamed_body() {
    for framing in
        ["transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", "content-length: 7\r\n\r\nabcdefg"]
    {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{framing}");
        let (_, line, _) = observed(&request, 10_000, Response::new).await;
        assert_eq!((&line["status"], &line["responseLength"]), (&200.into(), &7.into()));
        assert_eq!(line.get("clientLeft"), None);
    }
}

#[tokio::test]
async fn a_client_that_leaves_within_the_body() {
    // The echo waits for the rest, which never comes.
    let request = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let (read, line, metrics) = observed(request, 12, Response::new).await;
    assert_eq!(read, "HTTP/1.1 200");
    assert_eq!(line["status"], 200);
    // Here the client is the body's source as well, and that may be seen first.
    assert!(line["clientLeft"] == true || line["error"] == "the backend broke off within its body", "{line}");
    assert!(metrics.contains(&counted("2xx")), "{metrics}");
}

#[tokio::test]
async fn a_watch_dropped_early_is_a_client_that_left() {
    let output = Output::default();
    let core = core(AccessLog::to(output.clone()).unwrap());
    // In HTTP/2, whose streams take a body when their client has room for it.
    let parts = || http::Request::get("/x").version(http::Version::HTTP_2).body(()).unwrap().into_parts().0;
    drop(watch(begin(&core, Box::new(exchange(parts()))), Response::new(Body::full("never read"))));
    // And one that leaves before there is an answer at all.
    drop(begin(&core, Box::new(exchange(parts()))));
    core.observer.flush();
    core.shared.access_log.close(Duration::from_secs(5));
    let lines = output.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["clientLeft"], &lines[0]["status"]), (&true.into(), &200.into()));
    assert_eq!((&lines[1]["clientLeft"], lines[1].get("status")), (&true.into(), None));
    let metrics = String::from_utf8(core.shared.metrics.text()).unwrap();
    assert!(metrics.contains(&counted("2xx")) && metrics.contains(&counted("none")), "{metrics}");
}

#[tokio::test]
async fn a_routed_request_and_its_record() {
    let output = Output::default();
    let core = core(AccessLog::to(output.clone()).unwrap());
    let live = stage("prod", "1", &["/a", "/b/{id}"]);
    let meters = core.observer.stage(&live);
    let stage = Rc::new(CoreStage { live, meters, pools: Vec::new(), canary: None });
    for route in [Some(1), None] {
        let parts = http::Request::get("/prod/b/1").body(()).unwrap().into_parts().0;
        let mut in_flight = begin(&core, Box::new(exchange(parts)));
        let stage = Rc::clone(&stage);
        in_flight.routed = Some(Routed {
            stage,
            route,
            parameters: Vec::new(),
            resource_start: 5,
            preflight: false,
            custom_host: false,
        });
        in_flight.record.integration_latency = Some(Duration::from_millis(3));
        in_flight.record.integration_status = Some(503);
        in_flight.record.reason = Some("IntegrationFailure");
        in_flight.record.error = Some("connection refused".to_owned());
        in_flight.record.trace_id = Some(http::HeaderValue::from_static("Root=1-2-3"));
        drop(watch(in_flight, Response::builder().status(504).body(Body::empty()).unwrap()));
    }
    core.observer.flush();
    core.shared.access_log.close(Duration::from_secs(5));
    let lines = output.lines();
    assert_eq!(lines[0]["resourcePath"], "/b/{id}");
    assert_eq!(lines[1].get("resourcePath"), None);
    for (name, value) in [
        ("namespace", "shop".into()),
        ("api", "orders".into()),
        ("stage", "prod".into()),
        ("deployment", 7.into()),
        ("reason", "IntegrationFailure".into()),
        ("error", "connection refused".into()),
        ("integrationLatency", serde_json::json!(3)),
        ("integrationStatus", 503.into()),
        ("traceId", "Root=1-2-3".into()),
    ] {
        assert_eq!(lines[0][name], value, "{name}");
    }
    let metrics = String::from_utf8(core.shared.metrics.text()).unwrap();
    for row in [
        r#"stagegate_requests_total{namespace="shop",api="orders",stage="prod",route="/b/{id}",method="GET",status_class="5xx"} 1"#,
        r#"stagegate_requests_total{namespace="shop",api="orders",stage="prod",route="",method="",status_class="5xx"} 1"#,
        r#"stagegate_integration_duration_seconds_bucket{namespace="shop",api="orders",stage="prod",route="/b/{id}",method="GET",le="0.0025"} 0"#,
        r#"stagegate_integration_duration_seconds_bucket{namespace="shop",api="orders",stage="prod",route="/b/{id}",method="GET",le="0.005"} 1"#,
        r#"stagegate_gateway_overhead_seconds_count{namespace="shop",api="orders",stage="prod"} 2"#,
        r#"stagegate_rejections_total{reason="IntegrationFailure"} 2"#,
    ] {
        assert!(metrics.contains(&format!("{row}\n")), "{row} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn what_the_codec_refuses() {
    let output = Output::default();
    let core = core(AccessLog::to(output.clone()).unwrap());
    let client = Client::new(([192, 0, 2, 9], 1).into(), ([192, 0, 2, 2], 443).into(), None);
    core.observer.refused(431, "HeadersTooLarge", &client);
    core.observer.flush();
    core.shared.access_log.close(Duration::from_secs(5));
    let line = &output.lines()[0];
    assert_eq!(
        (&line["status"], &line["reason"], &line["sourceIp"]),
        (&431.into(), &"HeadersTooLarge".into(), &"192.0.2.9".into())
    );
    let metrics = String::from_utf8(core.shared.metrics.text()).unwrap();
    assert!(metrics.contains(&counted("4xx")), "{metrics}");
    assert!(metrics.contains("stagegate_rejections_total{reason=\"HeadersTooLarge\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn connections_and_panics() {
    let core = core(AccessLog::off());
    let failed = core.observer.connection();
    let mut good = core.observer.connection();
    good.established();
    good.established();
    core.observer.panicked();
    let text = || String::from_utf8(core.shared.metrics.text()).unwrap();
    assert!(
        text().contains("stagegate_connections{state=\"handshake\"} 1\nstagegate_connections{state=\"open\"} 1\n"),
        "{}",
        text()
    );
    drop((failed, good));
    for row in [
        "stagegate_connections{state=\"handshake\"} 0\nstagegate_connections{state=\"open\"} 0\n",
        "stagegate_connections_accepted_total 2\n",
        "stagegate_handshake_failures_total 1\n",
        "stagegate_panics_total 1\n",
    ] {
        assert!(text().contains(row), "{row} is not in\n{}", text());
    }
}

/// Breaks when the body it is attached to is read.
struct Breaks;

impl crate::body::Watch for Breaks {
    fn data(&mut self, _bytes: usize) {
        panic!("a test breaks on purpose");
    }

    fn end(&mut self) {}
}

#[test]
fn a_panic_is_its_requests_500_and_nobody_elses() {
    use crate::fixture::{core, default_host, mock_of, request, route, serve, set, stage};
    let reads = mock_of("#set($body = $input.body){\"statusCode\": 200}", &[(None, "fine")]);
    let reads = route("POST /a", bundle::route::Action::Serve(Box::new(bundle::integration::Integration::Mock(reads))));
    let (core, _) = core(&set(vec![stage("prod", &[reads])], vec![default_host("example.com", &["prod"])]));
    let ask = |body| {
        let mut exchange = request("POST", "/prod/a", &[]);
        exchange.body = body;
        let (status, _, text) = serve(&core, exchange);
        (status, text)
    };
    let breaks = Body::full("x").encoded(crate::compression::Coding::Gzip).watched(Box::new(Breaks));
    assert_eq!(ask(breaks), (500, r#"{"message":"Internal server error"}"#.to_owned()));
    let text = String::from_utf8(core.shared.metrics.text()).unwrap();
    assert!(text.contains("stagegate_panics_total 1\n"), "{text}");
    assert_eq!(ask(Body::full("x")), (200, "fine".to_owned()));
}

#[tokio::test]
async fn a_lone_line_is_flushed_soon() {
    let output = Output::default();
    let core = core(AccessLog::to(output.clone()).unwrap());
    let lines = async {
        drop(begin(&core, Box::new(exchange(http::Request::get("/x").body(()).unwrap().into_parts().0))));
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        () = keep_flushing(Rc::clone(&core)) => unreachable!("it never ends while there is a log"),
        () = lines => {}
    }
    core.shared.access_log.close(Duration::from_secs(5));
    assert_eq!(output.lines().len(), 1);
}

#[tokio::test]
async fn the_client_is_whom_trusted_proxies_name() {
    let request =
        "GET /a HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 203.0.113.9, 198.51.100.7\r\nconnection: close\r\n\r\n";
    let (_, line, _) = observed(request, 10_000, |_| Response::new(Body::full("hello"))).await;
    assert_eq!(line["sourceIp"], "198.51.100.7");
}
