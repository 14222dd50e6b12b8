//! Backends through the whole gateway: what needs both sides of a socket.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use bundle::integration::{BackendTarget, Endpoint, HttpProxy, Integration};
use bundle::mapping::{RequestTarget, Source};
use bundle::route::Action;
use bundle::{BundleSet, StageBundle, Stamped};
use support::{Gateway, everywhere, one_backend};

/// `/prod/{proxy+}` to this address.
fn backend(address: SocketAddr, max_body_bytes: u64) -> BundleSet {
    one_backend(format!("http://{address}"), max_body_bytes)
}

/// A server that handles one connection after the other.
fn server(handle: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            handle(stream.expect("a connection"));
        }
    });
    address
}

fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("readable") > 0 {
        read.push(byte[0]);
    }
    String::from_utf8(read).expect("text").to_ascii_lowercase()
}

#[test]
fn a_websocket_is_a_tunnel_both_ways_until_the_backend_leaves() {
    let (tell, told) = mpsc::channel();
    let address = server(move |mut stream| {
        tell.send(head(&mut stream)).expect("the test waits");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: abc\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).expect("sent");
        let mut buffer = [0; 4];
        while stream.read_exact(&mut buffer).is_ok() {
            stream.write_all(&buffer).expect("sent");
            if &buffer == b"quit" {
                return;
            }
        }
    });
    let gateway = Gateway::start();
    gateway.load(&backend(address, 100));
    let mut client = gateway.connect("localhost");
    client
        .send(
            b"GET /prod/chat?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
              Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .expect("sent");
    let answer = client.answer(true).expect("answered");
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("abc"));
    let seen = told.recv().expect("asked");
    assert!(seen.starts_with("get /chat?x=1 http/1.1"), "{seen}");
    for part in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-key: k\r\n"] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
    let mut got = client.some().expect("the backend speaks first");
    client.send(b"ping").expect("sent");
    while got.len() < 9 {
        got.extend(client.some().expect("echoed"));
    }
    assert_eq!(got, b"helloping");
    client.send(b"quit").expect("sent");
    assert_eq!(client.some().expect("echoed"), b"quit");
    assert!(client.closed());
}

#[test]
fn the_client_is_whom_trusted_proxies_name() {
    for (hops, field, client) in [
        (0, "203.0.113.9, 198.51.100.7", "127.0.0.1"),
        (1, "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        (2, "203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (2, "198.51.100.7", "127.0.0.1"),
    ] {
        let (tell, told) = mpsc::channel();
        let address = server(move |mut stream| {
            tell.send(head(&mut stream)).expect("the test waits");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("sent");
        });
        let mut stages = backend(address, 100).stages;
        let mut stage = StageBundle::clone(&stages.remove(0));
        let source = Source::Context("identity.sourceIp".to_owned());
        stage.routes[0].action = Action::Serve(Box::new(Integration::HttpProxy(HttpProxy {
            endpoint: Endpoint {
                uri: format!("http://{address}/"),
                method: None,
                timeout_ms: 5000,
                skip_tls_verification: false,
                server_name: None,
            },
            parameters: [(RequestTarget::Header("client".to_owned()), source)].into(),
            changes: Vec::new(),
            response_changes: Default::default(),
        })));
        let gateway = Gateway::start_as(|options| options.trusted_hops = hops);
        gateway.load(&everywhere(vec![stage]));
        let mut connection = gateway.connect("localhost");
        let request = format!("GET /prod/a HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {field}\r\n\r\n");
        connection.send(request.as_bytes()).expect("sent");
        assert_eq!(connection.answer(false).expect("answered").status, 200);
        let seen = told.recv().expect("asked");
        // Backends get the whole way, with who connected here at its end.
        assert!(seen.contains(&format!("\r\nx-forwarded-for: {field}, 127.0.0.1\r\n")), "{seen}");
        assert!(seen.contains(&format!("\r\nclient: {client}\r\n")), "{hops} {seen}");
    }
}

#[test]
fn an_upgrade_that_is_refused_is_an_answer_like_any_other() {
    let address = server(|mut stream| {
        head(&mut stream);
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").expect("sent");
    });
    let gateway = Gateway::start();
    gateway.load(&backend(address, 100));
    let mut client = gateway.connect("localhost");
    client
        .send(b"GET /prod/chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .expect("sent");
    let answer = client.answer(false).expect("answered");
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
}

/// Behind `h2c` a client would speak to the backend as it likes, past every route and guard.
#[test]
fn only_websocket_leaves_http() {
    let (tell, told) = mpsc::channel();
    let address = server(move |mut stream| {
        let seen = head(&mut stream);
        let answer = match seen.contains("upgrade: websocket") {
            true => "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            false => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        };
        tell.send(seen).expect("the test waits");
        stream.write_all(answer.as_bytes()).expect("sent");
    });
    let gateway = Gateway::start();
    gateway.load(&backend(address, 100));
    for (connection, protocol, status) in
        [("Upgrade, HTTP2-Settings", "h2c", 200), ("keep-alive", "websocket", 200), ("Upgrade", "websocket", 500)]
    {
        let mut client = gateway.connect("localhost");
        let request = format!(
            "GET /prod/chat HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\nUpgrade: {protocol}\r\n\
             HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
        );
        client.send(request.as_bytes()).expect("sent");
        assert_eq!(client.answer(false).expect("answered").status, status, "{connection} {protocol}");
        let seen = told.recv().expect("asked");
        assert_eq!(seen.contains("upgrade"), status != 200, "{seen}");
        assert!(!seen.contains("http2-settings"), "{seen}");
    }
}

#[test]
fn an_upload_without_a_length_is_cut_at_the_limit() {
    let address = server(|mut stream| {
        head(&mut stream);
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
    });
    let gateway = Gateway::start();
    gateway.load(&backend(address, 10));
    let mut client = gateway.connect("localhost");
    client
        .send(b"POST /prod/up HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n")
        .expect("sent");
    std::thread::sleep(Duration::from_millis(100));
    client.send(b"8\r\n12345678\r\n").expect("sent");
    let answer = client.answer(false).expect("answered");
    assert_eq!(answer.status, 413, "{}", answer.text());
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let address = server(|mut stream| {
        let head = head(&mut stream);
        assert!(!head.contains("expect"), "{head}");
        let mut body = [0; 5];
        stream.read_exact(&mut body).expect("the body");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").expect("sent");
        stream.write_all(&body).expect("sent");
    });
    let gateway = Gateway::start();
    gateway.load(&backend(address, 100));
    let mut client = gateway.connect("localhost");
    client
        .send(b"POST /prod/up HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .expect("sent");
    assert_eq!(client.answer(true).expect("told").status, 100);
    client.send(b"hello").expect("sent");
    assert_eq!(client.answer(false).expect("answered").text(), "hello");
}

#[test]
fn events_arrive_when_they_are_sent() {
    let (go_on, told) = mpsc::channel();
    let address = server(move |mut stream| {
        head(&mut stream);
        let start =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\n\n\r\n";
        stream.write_all(start).expect("sent");
        told.recv_timeout(Duration::from_secs(20)).expect("the first event has arrived");
        stream.write_all(b"3\r\nb\n\n\r\n0\r\n\r\n").expect("sent");
    });
    let gateway = Gateway::start();
    gateway.load(&backend(address, 100));
    let mut client = gateway.connect("localhost");
    client.send(b"GET /prod/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    for event in [b"a\n\n", b"b\n\n"] {
        let mut got = Vec::new();
        while !got.windows(3).any(|window| window == event) {
            got.extend(client.some().expect("an event"));
        }
        // The test's server may have ended with its answer.
        go_on.send(()).ok();
    }
}

/// Only when nothing moves either way has a call fallen silent.
#[test]
fn one_direction_may_be_silent_while_the_other_moves() {
    const IDLE: Duration = Duration::from_secs(1);
    let pause = || std::thread::sleep(IDLE / 4);
    let address = server(move |mut stream| {
        let asked = head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n<\r\n").expect("sent");
        if asked.starts_with("post /down ") {
            for _ in 0..8 {
                pause();
                stream.write_all(b"1\r\n.\r\n").expect("sent");
            }
        }
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(b"0\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length > 0) {
            read.push(byte[0]);
        }
        stream.write_all(b"1\r\n>\r\n0\r\n\r\n").expect("sent");
    });
    let mut set = backend(address, 100);
    let mut stage = StageBundle::clone(&set.stages[0]);
    if let Action::Serve(integration) = &mut stage.routes[0].action
        && let Integration::Backend(backend) = &mut **integration
    {
        backend.idle_timeout_ms = IDLE.as_millis() as u64;
    }
    set.stages[0] = Stamped::new(stage);
    let gateway = Gateway::start();
    gateway.load(&set);
    for (way, pieces, answer) in [("up", 8, "<>"), ("down", 0, "<........>")] {
        let mut client = gateway.connect("localhost");
        let head = format!(
            "POST /prod/{way} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc\r\n\
             Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        );
        client.send(head.as_bytes()).expect("sent");
        for _ in 0..pieces {
            pause();
            client.send(b"1\r\na\r\n").expect("sent");
        }
        if pieces == 0 {
            std::thread::sleep(IDLE * 2);
        }
        client.send(b"0\r\n\r\n").expect("sent");
        assert_eq!(client.answer(false).expect("answered").text(), answer, "{way}");
    }
}

mod http2 {
    //! The same through HTTP/2.

    use std::convert::Infallible;
    use std::sync::Arc;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Method, Request, Response};
    use http_body_util::{BodyExt, Empty, StreamBody};
    use hyper::body::{Frame, Incoming};
    use hyper::client::conn::http2::{SendRequest, handshake};
    use hyper::ext::Protocol;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("in time") });
    }

    async fn connect<B>(gateway: &Gateway) -> SendRequest<B>
    where
        B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        support::provider();
        let mut roots = RootCertStore::empty();
        roots.add(gateway.authority.clone()).expect("a certificate");
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = tokio::net::TcpStream::connect(gateway.address).await.expect("accepted");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS");
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(async { connection.await.ok() });
        sender
    }

    #[test]
    fn a_websocket_by_extended_connect_becomes_an_upgrade() {
        let (tell, told) = mpsc::channel();
        let address = server(move |mut stream| {
            tell.send(head(&mut stream)).expect("the test waits");
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                          Sec-WebSocket-Accept: abc\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello";
            stream.write_all(answer.as_bytes()).expect("sent");
            let mut buffer = [0; 4];
            stream.read_exact(&mut buffer).expect("four bytes");
            stream.write_all(&buffer).expect("sent");
        });
        let gateway = Gateway::start();
        gateway.load(&backend(address, 100));
        run(async {
            let mut sender = connect::<Empty<Bytes>>(&gateway).await;
            // The server's settings, which allow extended CONNECT, come with the first answer.
            let warm = Request::get("https://localhost/none").body(Empty::new()).expect("a request");
            sender.send_request(warm).await.expect("answered");
            let request = Request::builder()
                .method(Method::CONNECT)
                .uri("https://localhost/prod/chat")
                .extension(Protocol::from_static("websocket"))
                .header("sec-websocket-version", "13")
                .body(Empty::new())
                .expect("a request");
            let mut response = sender.send_request(request).await.expect("answered");
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
            assert!(!response.headers().contains_key("sec-websocket-accept"));
            let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut response).await.expect("a tunnel"));
            let mut buffer = [0; 5];
            tunnel.read_exact(&mut buffer).await.expect("the backend speaks first");
            assert_eq!(&buffer, b"hello");
            tunnel.write_all(b"ping").await.expect("sent");
            tunnel.read_exact(&mut buffer[..4]).await.expect("echoed");
            assert_eq!(&buffer[..4], b"ping");
            assert_eq!(tunnel.read(&mut buffer).await.expect("ended"), 0);
        });
        let seen = told.recv().expect("asked");
        assert!(seen.starts_with("get /chat http/1.1"), "{seen}");
        for part in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-key: ", "host: 127.0.0.1"] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
    }

    /// Echoes a call's messages as they come, and its deadline in the trailers.
    async fn call(
        request: Request<Incoming>,
    ) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = hyper::Error>>, Infallible> {
        assert_eq!(request.headers()["te"], "trailers");
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("grpc-message", request.headers()["grpc-timeout"].clone());
        let mut response = Response::new(request.into_body().with_trailers(std::future::ready(Some(Ok(trailers)))));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        Ok(response)
    }

    #[test]
    fn a_grpc_call_streams_both_ways_and_ends_in_trailers() {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("an address")).expect("the test waits");
                let (stream, _) = listener.accept().await.expect("a connection");
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(call))
                    .await
                    .ok();
            });
        });
        let address: SocketAddr = told.recv().expect("started");
        let gateway = Gateway::start();
        let mut set = backend(address, 4);
        let mut stage = StageBundle::clone(&set.stages[0]);
        if let Action::Serve(integration) = &mut stage.routes[0].action
            && let Integration::Backend(backend) = &mut **integration
        {
            backend.target = BackendTarget::Url(format!("h2c://{address}"));
        }
        set.stages[0] = Stamped::new(stage);
        gateway.load(&set);
        run(async {
            let (messages, stream) = tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, Infallible>>();
            let stream = futures_util::stream::unfold(stream, |mut stream| async {
                stream.recv().await.map(|frame| (frame, stream))
            });
            let mut sender = connect(&gateway).await;
            let request = Request::post("https://localhost/prod/p.S/Chat")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("grpc-timeout", "5S")
                .body(StreamBody::new(Box::pin(stream)))
                .expect("a request");
            messages.send(Ok(Frame::data(Bytes::from("one more than four")))).expect("open");
            let response = sender.send_request(request).await.expect("answered");
            assert_eq!(response.headers()["content-type"], "application/grpc");
            let mut body = response.into_body();
            let first = body.frame().await.expect("a frame").expect("data").into_data().expect("data");
            assert_eq!(first, "one more than four", "the answer comes before the request has ended");
            messages.send(Ok(Frame::data(Bytes::from("two")))).expect("open");
            let second = body.frame().await.expect("a frame").expect("data").into_data().expect("data");
            assert_eq!(second, "two");
            drop(messages);
            let trailers = loop {
                let frame = body.frame().await.expect("a frame").expect("trailers");
                if let Ok(trailers) = frame.into_trailers() {
                    break trailers;
                }
            };
            assert_eq!(trailers["grpc-status"], "0");
            assert_eq!(trailers["grpc-message"], "5S");
        });
    }
}
