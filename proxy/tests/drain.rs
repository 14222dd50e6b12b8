//! The end of connections: nobody who has been heard loses an answer, and nobody is reset who need not be.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bundle::BundleSet;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::Timeouts;
use support::backend::Echo;
use support::{Gateway, one_backend};

const LARGE: usize = 5 << 20;

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

/// A backend that answers every connection's first request with 5 MiB.
fn large_backend() -> BundleSet {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("asked");
            std::thread::spawn(move || {
                head(&mut stream);
                let body: Vec<u8> = (0..LARGE).map(byte).collect();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
                // A gateway that has gone is seen by what the test's client misses.
                drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
            });
        }
    });
    one_backend(url, 1 << 20)
}

/// Reads a header section.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a header section");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

fn drain(gateway: &mut Gateway, grace: Duration) -> JoinHandle<Duration> {
    let proxy = gateway.proxy.take().expect("running");
    std::thread::spawn(move || {
        let began = Instant::now();
        proxy.drain(grace);
        began.elapsed()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn a_slow_reader_gets_every_byte_across_the_drain() {
    let mut gateway = Gateway::start();
    gateway.load(&large_backend());
    let mut client = gateway.connect("localhost");
    client.send(b"GET /prod/x HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut taken = client.some().expect("begun");
    // By now all of it is somewhere between the backend and this client.
    std::thread::sleep(Duration::from_millis(500));
    let draining = drain(&mut gateway, Duration::from_secs(30));
    let began = Instant::now();
    let whole = |taken: &[u8]| {
        let head = taken.windows(4).position(|end| end == b"\r\n\r\n").expect("a header section") + 4;
        (taken.len() - head == LARGE).then_some(head)
    };
    let head = loop {
        if let Some(head) = whole(&taken) {
            break head;
        }
        taken.extend(client.some().expect("every byte"));
        // 16 KiB at a time: 5 s for all of it.
        std::thread::sleep(Duration::from_millis(15));
    };
    assert!(taken[head..].iter().enumerate().all(|(at, found)| *found == byte(at)));
    assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(!draining.is_finished(), "it waits for what the client has not taken");
    assert!(client.closed());
    drop(client);
    assert!(draining.join().expect("drained") < Duration::from_secs(15));
}

#[test]
fn a_slow_http2_stream_gets_every_byte_and_the_connection_takes_no_more() {
    let mut gateway = Gateway::start();
    gateway.load(&large_backend());
    let (address, connector) = (gateway.address, gateway.connector(&[b"h2"]));
    runtime().block_on(async move {
        let stream = tokio::net::TcpStream::connect(address).await.expect("accepted");
        let stream = connector.connect("localhost".try_into().expect("a name"), stream).await.expect("TLS");
        let (mut send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(128 << 10)
            .initial_connection_window_size(256 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let request = || {
            let request = http::Request::get("https://localhost/prod/x");
            request.body(Empty::<Bytes>::new()).expect("a request")
        };
        let mut answer = send.send_request(request()).await.expect("answered").into_body();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let draining = drain(&mut gateway, Duration::from_secs(30));
        let mut taken = 0;
        while let Some(frame) = answer.frame().await {
            let data = frame.expect("every byte").into_data().expect("data");
            assert!(data.iter().enumerate().all(|(at, found)| *found == byte(taken + at)));
            taken += data.len();
            if taken < LARGE / 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert_eq!(taken, LARGE);
        assert!(send.send_request(request()).await.is_err(), "GOAWAY: no more on this connection");
        connection.await.expect("no panic").expect("closed well");
        drop(send);
        assert!(draining.join().expect("drained") < Duration::from_secs(20));
    });
}

#[test]
fn an_idle_connection_is_told_in_the_delay_and_closed_well_after_it() {
    let echo = Echo::start();
    let mut gateway = Gateway::start();
    gateway.load(&one_backend(echo.url(), 1 << 20));
    let [mut told, mut silent, mut late] = [(); 3].map(|()| gateway.connect("localhost"));
    for client in [&mut told, &mut silent, &mut late] {
        assert_eq!(client.get("/prod/1").header("connection"), None);
    }
    gateway.proxy.as_ref().expect("running").leave();
    let answer = told.get("/prod/2");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(told.closed());
    let draining = drain(&mut gateway, Duration::from_secs(10));
    assert!(silent.ends_well(), "closed, not reset");
    std::thread::sleep(Duration::from_millis(300));
    // It crosses the goodbye: no answer, but no reset either.
    late.send(b"GET /prod/3 HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    assert!(late.ends_well(), "closed, not reset");
    drop((told, silent, late));
    assert!(draining.join().expect("drained") < Duration::from_secs(9));
}

#[test]
fn a_request_on_its_way_at_the_end_of_the_delay_is_answered() {
    let echo = Echo::start();
    let mut gateway = Gateway::start();
    gateway.load(&one_backend(echo.url(), 1 << 20));
    let mut client = gateway.connect("localhost");
    client.get("/prod/1");
    client.send(b"GET /prod/2 HTTP/1.1\r\nHo").expect("sent");
    std::thread::sleep(Duration::from_millis(100));
    let draining = drain(&mut gateway, Duration::from_secs(10));
    std::thread::sleep(Duration::from_millis(500));
    client.send(b"st: localhost\r\n\r\n").expect("sent");
    let answer = client.answer(false).expect("answered");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    drop(client);
    draining.join().expect("drained");
}

#[test]
fn who_was_connected_before_the_end_is_answered() {
    let echo = Echo::start();
    let mut gateway = Gateway::start();
    gateway.load(&one_backend(echo.url(), 1 << 20));
    // More than a worker accepts in one go; many of them are about to be handed over, too.
    let waiting: Vec<_> = (0..600).map(|_| TcpStream::connect(gateway.address).expect("connected")).collect();
    let draining = drain(&mut gateway, Duration::from_secs(20));
    let (answered, failed): (Vec<_>, Vec<_>) = waiting
        .into_iter()
        .map(|stream| {
            let mut client = gateway.over(stream, "localhost");
            client.send(b"GET /prod/x HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            client.answer(false)
        })
        .partition(Result::is_ok);
    assert_eq!(failed.len(), 0, "{} answered, {:?}", answered.len(), failed.first());
    assert!(answered.iter().flatten().all(|answer| answer.header("connection") == Some("close")));
    draining.join().expect("drained");
}

#[test]
fn a_connection_that_is_old_leaves_with_its_next_answer() {
    let echo = Echo::start();
    let timeouts = Timeouts { connection_age: Duration::from_secs(1), ..Timeouts::default() };
    let gateway = Gateway::start_with(timeouts);
    gateway.load(&one_backend(echo.url(), 1 << 20));
    let mut client = gateway.connect("localhost");
    assert_eq!(client.get("/prod/1").header("connection"), None);
    std::thread::sleep(Duration::from_millis(2500));
    let answer = client.get("/prod/2");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(client.ends_well());

    let (address, connector) = (gateway.address, gateway.connector(&[b"h2"]));
    runtime().block_on(async move {
        let stream = tokio::net::TcpStream::connect(address).await.expect("accepted");
        let stream = connector.connect("localhost".try_into().expect("a name"), stream).await.expect("TLS");
        let executor = TokioExecutor::new();
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        for pause in [2500, 0] {
            assert!(!connection.is_finished());
            let request = http::Request::get("https://localhost/prod/x").body(Empty::<Bytes>::new());
            let answer = send.send_request(request.expect("a request")).await.expect("answered");
            assert_eq!(answer.status(), 200);
            answer.into_body().collect().await.expect("whole");
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let ended = tokio::time::timeout(Duration::from_secs(20), connection).await.expect("GOAWAY ends it");
        ended.expect("no panic").expect("closed well");
    });
}

#[test]
fn a_tunnel_is_waited_for_until_the_grace_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut gateway = Gateway::start();
    gateway.load(&one_backend(format!("http://{}", listener.local_addr().expect("an address")), 1 << 20));
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("asked");
        head(&mut stream);
        let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(switching.as_bytes()).expect("switched");
        let mut piece = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            stream.write_all(&piece[..count]).expect("echoed");
        }
        tell.send(()).expect("the test waits");
    });
    let mut client = gateway.connect("localhost");
    client
        .send(b"GET /prod/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .expect("sent");
    assert_eq!(client.answer(true).expect("switched").status, 101);
    let draining = drain(&mut gateway, Duration::from_secs(5));
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        client.send(b"still here").expect("sent");
        assert_eq!(client.some().expect("echoed"), b"still here");
    }
    let took = draining.join().expect("drained");
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(15), "{took:?}");
    assert!(client.closed());
    told.recv_timeout(Duration::from_secs(20)).expect("the backend is told");
}
