//! What happens around a request: ports, protocols, patience, and the end.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bundle::BundleSet;
use proxy::Timeouts;
use support::backend::Echo;
use support::{Gateway, one_backend};

/// `/prod/{proxy+}` to this URL.
fn backend(url: String) -> BundleSet {
    one_backend(url, 1 << 20)
}

fn plain(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("accepted");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered and closed");
    answer
}

#[test]
fn plain_http_on_the_https_port_is_told_so() {
    let gateway = Gateway::start();
    let answer = plain(gateway.address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("This port speaks HTTPS"), "{answer}");
}

#[test]
fn both_versions_of_tls_are_spoken() {
    let gateway = Gateway::start();
    let mut roots = rustls::RootCertStore::empty();
    support::provider();
    roots.add(gateway.authority.clone()).expect("a usable certificate");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = rustls::ClientConfig::builder_with_protocol_versions(&[version]);
        let config = config.with_root_certificates(roots.clone()).with_no_client_auth();
        let stream = TcpStream::connect(gateway.address).expect("accepted");
        assert_eq!(support::client::Client::over(stream, "localhost", config).get("/").status, 403, "{version:?}");
    }
}

#[test]
fn the_plain_port_only_sends_to_https() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let gateway = Gateway::start_as(|options| options.http = Some(free));
    let answer = plain(free, "GET /a/b?c=1 HTTP/1.1\r\nHost: api.test:8080\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    let location = format!("location: https://api.test:{}/a/b?c=1\r\n", gateway.address.port());
    assert!(answer.to_ascii_lowercase().contains(&location), "{answer}");
}

#[test]
fn connections_are_kept_and_the_backends_too() {
    let echo = Echo::start();
    let gateway = Gateway::start();
    gateway.load(&backend(echo.url()));
    let mut client = gateway.connect("localhost");
    for number in 0..20 {
        assert_eq!(client.get(&format!("/prod/{number}")).status, 200);
    }
    assert_eq!(echo.requests(), 20);
    assert_eq!(echo.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let echo = Echo::start();
    let gateway = Gateway::start();
    gateway.load(&backend(echo.url()));
    let mut client = gateway.connect("localhost");
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.send((request("/prod/1") + &request("/prod/2")).as_bytes()).expect("sent");
    for path in ["/1", "/2"] {
        let answer = client.answer(false).expect("answered");
        assert!(answer.text().contains(&format!("\"path\":\"{path}\"")), "{}", answer.text());
    }
}

#[test]
fn nothing_is_served_before_the_first_load() {
    let gateway = Gateway::start();
    let answer = gateway.connect("localhost").get("/prod/x");
    assert_eq!(answer.status, 403);
    assert_eq!(answer.text(), r#"{"message":"Forbidden"}"#);
}

#[test]
fn a_header_section_that_does_not_end_is_timed_out() {
    let gateway = Gateway::start_with(Timeouts { header: Duration::from_secs(1), ..Timeouts::default() });
    let mut client = gateway.connect("localhost");
    client.send(b"GET / HTTP/1.1\r\nHost: loc").expect("sent");
    let began = Instant::now();
    let answer = client.answer(false).expect("told");
    assert_eq!(answer.status, 408);
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(client.closed());
}

#[test]
fn an_idle_connection_is_closed_and_a_silent_handshake_too() {
    let short = Duration::from_secs(1);
    let gateway = Gateway::start_with(Timeouts { idle: short, handshake: short, ..Timeouts::default() });
    let mut client = gateway.connect("localhost");
    client.get("/");
    let mut silent = TcpStream::connect(gateway.address).expect("accepted");
    let began = Instant::now();
    assert!(client.closed());
    let mut nothing = Vec::new();
    silent.read_to_end(&mut nothing).expect("closed");
    assert!(nothing.is_empty());
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let echo = Echo::start();
    let gateway = Gateway::start_with(Timeouts { body: Duration::from_secs(1), ..Timeouts::default() });
    gateway.load(&backend(echo.url()));
    let mut client = gateway.connect("localhost");
    client.send(b"POST /prod/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf").expect("sent");
    let began = Instant::now();
    let answer = client.answer(false).expect("told");
    assert_eq!(answer.status, 408);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn draining_finishes_what_is_in_flight_and_takes_nothing_new() {
    let slow = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut gateway = Gateway::start();
    gateway.load(&backend(format!("http://{}", slow.local_addr().expect("an address"))));
    let mut client = gateway.connect("localhost");
    let mut idle = gateway.connect("localhost");
    client.send(b"GET /prod/x HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let (mut stream, _) = slow.accept().expect("asked");
    let proxy = gateway.proxy.take().expect("running");
    let draining = std::thread::spawn(move || proxy.drain(Duration::from_secs(10)));
    std::thread::sleep(Duration::from_millis(300));
    assert!(TcpStream::connect(gateway.address).is_err(), "nothing new is accepted");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").expect("answered");
    let answer = client.answer(false).expect("finished");
    assert_eq!(answer.text(), "done");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(idle.closed());
    let began = Instant::now();
    draining.join().expect("drained");
    assert!(began.elapsed() < Duration::from_secs(9), "drain ends with the last connection");
}

#[test]
fn no_more_connections_are_open_than_may_be() {
    let gateway = Gateway::start_as(|options| {
        options.max_connections = 3;
        options.workers = 1;
        options.admin = Some(([127, 0, 0, 1], 0).into());
    });
    let mut open: Vec<_> = (0..3).map(|_| gateway.connect("localhost")).collect();
    for client in &mut open {
        assert_eq!(client.get("/").status, 403);
    }
    let mut nothing = Vec::new();
    let ended = TcpStream::connect(gateway.address).expect("accepted").read_to_end(&mut nothing);
    assert!(matches!(ended, Ok(0) | Err(_)), "closed at once");
    let admin = gateway.proxy.as_ref().and_then(proxy::Proxy::admin_address).expect("an admin port");
    let mut metrics = TcpStream::connect(admin).expect("accepted");
    metrics.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    metrics.read_to_string(&mut text).expect("told");
    assert!(text.contains("stagegate_connections_refused_total 1\n"), "{text}");
    // There is room again.
    drop(open.pop());
    for attempt in 0.. {
        let mut client = gateway.connect("localhost");
        if client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok() && client.answer(false).is_ok() {
            break;
        }
        assert!(attempt < 100, "nobody is let in again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(open[0].get("/").status, 403);
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let error = support::try_start(address).err().expect("refused").to_string();
    assert!(error.contains(&address.to_string()) && error.contains("HTTPS"), "{error}");
    // Another gateway would share the port silently if it were asked naively.
    let gateway = Gateway::start();
    assert!(support::try_start(gateway.address).is_err());
}
