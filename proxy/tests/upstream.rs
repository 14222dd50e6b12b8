//! Backends through the whole gateway: what needs both sides of a socket.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bundle::BundleSet;
use bundle::integration::{Backend, BackendTarget, Integration};
use bundle::route::{Action, Route, Verb};
use support::{Gateway, everywhere, stage};

/// `/prod/{proxy+}` to this address.
fn backend(address: SocketAddr, max_body_bytes: u64) -> BundleSet {
    let mut stage = stage("kit", "prod");
    let target = Backend {
        target: BackendTarget::Url(format!("http://{address}")),
        response_header_timeout_ms: 5000,
        idle_timeout_ms: 5000,
        max_body_bytes,
    };
    stage.routes = vec![Route {
        resource: "/{proxy+}".to_owned(),
        resource_id: "abc123".to_owned(),
        verb: Verb::Any,
        operation: None,
        requires: Default::default(),
        action: Action::Serve(Box::new(Integration::Backend(target))),
    }];
    everywhere(vec![stage])
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
    let address = server(|mut stream| {
        head(&mut stream);
        let start =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\n\n\r\n";
        stream.write_all(start).expect("sent");
        std::thread::sleep(Duration::from_millis(1500));
        stream.write_all(b"3\r\nb\n\n\r\n0\r\n\r\n").expect("sent");
    });
    let gateway = Gateway::start();
    gateway.load(&backend(address, 100));
    let mut client = gateway.connect("localhost");
    client.send(b"GET /prod/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let began = Instant::now();
    let mut got = Vec::new();
    while !got.windows(3).any(|window| window == b"a\n\n") {
        got.extend(client.some().expect("the first event"));
    }
    assert!(began.elapsed() < Duration::from_millis(1200), "{:?}", began.elapsed());
}
