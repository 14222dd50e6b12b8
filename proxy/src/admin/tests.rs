use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::*;
use crate::live::Live;
use crate::observe::log::AccessLog;
use crate::observe::tests::{shared, stage};

fn start() -> (AdminHandle, Arc<Shared>) {
    let shared = shared(AccessLog::off());
    let admin = serve(TcpListener::bind("127.0.0.1:0").unwrap(), Arc::clone(&shared)).unwrap();
    (admin, shared)
}

/// Status and the rest of an answer.
fn ask(admin: &AdminHandle, verb: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin.address).unwrap();
    write!(stream, "{verb} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text)
}

fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn a_life() {
    let (admin, shared) = start();
    assert_eq!(ask(&admin, "GET", "/healthz").0, 200);
    let (status, text) = ask(&admin, "GET", "/readyz");
    assert_eq!((status, body(&text)), (503, "nothing has been loaded yet\n"));

    let live = Live { stages: vec![stage("prod", "1", &["/a"])], ..Live::default() };
    shared.status.loaded(&live, &[]);
    shared.metrics.loaded(&live);
    let (status, text) = ask(&admin, "GET", "/readyz");
    assert_eq!((status, body(&text)), (200, "ready\n"));
    let (status, text) = ask(&admin, "GET", "/loaded");
    let json: serde_json::Value = serde_json::from_str(body(&text)).unwrap();
    assert_eq!((status, &json["stages"][0]["api"]), (200, &"orders".into()));
    let (status, text) = ask(&admin, "GET", "/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
    assert!(body(&text).contains("stagegate_live_routes 1\n"), "{text}");

    shared.draining.store(true, Ordering::Relaxed);
    let (status, text) = ask(&admin, "GET", "/readyz");
    assert_eq!((status, body(&text)), (503, "draining\n"));
    assert_eq!(ask(&admin, "GET", "/healthz").0, 200);
}

#[test]
fn verbs_and_other_paths() {
    let (admin, _shared) = start();
    let (status, text) = ask(&admin, "HEAD", "/healthz");
    assert_eq!((status, body(&text)), (200, ""));
    assert_eq!(ask(&admin, "POST", "/readyz").0, 405);
    let (status, text) = ask(&admin, "GET", "/nothing?a=b");
    assert_eq!((status, body(&text)), (404, ENDPOINTS));
}

#[test]
fn it_stops_although_a_client_stays() {
    let (admin, _shared) = start();
    let address = admin.address;
    let mut idle = TcpStream::connect(address).unwrap();
    idle.write_all(b"GET /healthz HTT").unwrap();
    assert_eq!(ask(&admin, "GET", "/healthz").0, 200);
    let started = Instant::now();
    admin.stop();
    assert!(started.elapsed() < PATIENCE + Duration::from_secs(20));
    assert!(TcpStream::connect(address).is_err());
}
