//! Our own reverse proxy.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Method, Request, Response};
use bundle::integration::BackendTarget;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::harness::*;
use crate::accept::Incoming;

#[test]
fn path_query_method_and_end_to_end_headers_are_kept() {
    run(async {
        let (address, seen) = answering(
            "HTTP/1.1 201 Created\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
             Server: s\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok",
        )
        .await;
        let served = Served::new(&core(), backend(BackendTarget::Url(format!("http://{address}/base/"))));
        let sent = [
            ("connection", "x-hop, te"),
            ("x-hop", "1"),
            ("te", "gzip, trailers;q=0.5"),
            ("x-own", "1"),
            ("via", "v"),
            ("expect", "100-continue"),
            ("content-encoding", "gzip"),
            ("x-forwarded-host", "liar"),
        ];
        let answer = served.ask(Method::PATCH, "/prod/a%2Fb/c/?x=1&y", &sent, "hello").await.unwrap();
        assert_eq!(seen.line(), "patch /base/a%2fb/c/?x=1&y http/1.1");
        for (name, wanted) in [
            ("host", Some(&*address.to_string())),
            ("x-own", Some("1")),
            ("x-hop", None),
            ("te", Some("trailers")),
            ("connection", Some("te")),
            ("via", Some("v")),
            ("expect", None),
            ("content-encoding", Some("gzip")),
            ("content-length", Some("5")),
            ("x-forwarded-host", Some("gateway.example:8443")),
            ("x-forwarded-for", Some("10.0.0.9")),
            ("x-forwarded-proto", Some("https")),
        ] {
            assert_eq!(seen.header(name).as_deref(), wanted, "{name}");
        }
        assert_eq!(answer.status(), 201);
        let mut names: Vec<&str> = answer.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-encoding", "content-length", "server"]);
    });
}

#[test]
fn events_come_as_they_are_sent() {
    run(async {
        let go_on = Rc::new(tokio::sync::Notify::new());
        let told = Rc::clone(&go_on);
        let address = server(move |_, mut stream| {
            let told = Rc::clone(&told);
            async move {
                head(&mut stream).await;
                say(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:1\r\n").await;
                told.notified().await;
                say(&mut stream, "6\r\ndata:2\r\n0\r\nX-Sum: 7\r\n\r\n").await;
                std::future::pending::<()>().await;
            }
        })
        .await;
        let served = Served::new(&core(), backend(BackendTarget::Url(url(address))));
        let mut body = served.ask(Method::GET, "/prod/x", &[], "").await.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&*first, b"data:1");
        go_on.notify_one();
        assert_eq!(&*body.frame().await.unwrap().unwrap().into_data().unwrap(), b"data:2");
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers.get("x-sum").unwrap(), "7");
        assert!(body.frame().await.is_none());
    });
}

#[test]
fn an_empty_delete_has_no_body_and_a_get_may_have_one() {
    run(async {
        let (address, seen) = answering(OK).await;
        let served = Served::new(&core(), backend(BackendTarget::Url(url(address))));
        served.ask(Method::DELETE, "/prod/x", &[], "").await.unwrap();
        assert_eq!(seen.header("content-length"), None);
        served.ask(Method::GET, "/prod/x", &[], "abc").await.unwrap();
        assert_eq!(seen.header("content-length").as_deref(), Some("3"));
    });
}

/// An HTTP/2 server in clear text that answers like gRPC, and says what it saw by trailers.
async fn grpc(streams: u32) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let remember = seen.clone();
    let address = server(move |number, stream| {
        let seen = remember.clone();
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let seen = seen.clone();
                async move {
                    let head = format!(
                        "{} {}\nte: {:?}\nhost: {:?}\n",
                        request.method(),
                        request.uri(),
                        request.headers().get("te"),
                        request.headers().get("host"),
                    );
                    seen.add(number, head);
                    let incoming = request.into_body().collect().await.unwrap();
                    let sum = incoming.trailers().and_then(|trailers| trailers.get("x-sum").cloned());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    if let Some(sum) = sum {
                        trailers.insert("x-sum", sum);
                    }
                    let frames = [Frame::data(incoming.to_bytes()), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
                    let body = StreamBody::new(futures_util::stream::iter(frames));
                    Ok::<_, Infallible>(Response::new(body))
                }
            });
            hyper::server::conn::http2::Builder::new(LocalExecutor)
                .max_concurrent_streams(streams)
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        }
    })
    .await;
    (address, seen)
}

#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

fn h2c(address: SocketAddr) -> bundle::integration::Integration {
    backend(BackendTarget::Url(format!("h2c://{address}")))
}

#[test]
fn calls_share_a_connection_and_end_in_trailers() {
    run(async {
        let (address, seen) = grpc(100).await;
        let core = core();
        let served = Rc::new(Served::new(&core, h2c(address)));
        let sent = [("te", "trailers"), ("content-type", "application/grpc")];
        let ask = || async {
            let mut body = served.ask(Method::POST, "/prod/p.S/M", &sent, "hello").await.unwrap().into_body();
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
            (data, trailers.get("grpc-status").cloned().unwrap())
        };
        let answers = tokio::join!(ask(), ask(), ask());
        assert_eq!(answers.0, (Bytes::from("hello"), HeaderValue::from_static("0")));
        assert_eq!(answers.1, answers.2);
        ask().await;
        assert_eq!(seen.connections(), [0, 0, 0, 0]);
        assert_eq!(seen.line(), format!("POST http://{address}/p.S/M"));
        assert_eq!(seen.header("te").as_deref(), Some("Some(\"trailers\")"));
        assert_eq!(seen.header("host").as_deref(), Some("None"));
    });
}

#[test]
fn more_streams_than_the_server_allows_make_a_second_connection() {
    run(async {
        let (address, seen) = grpc(1).await;
        let core = core();
        let served = Served::new(&core, h2c(address));
        // The server's limit is known when the first request after its settings has been handed to the codec.
        for _ in 0..2 {
            served.ask(Method::POST, "/prod/x", &[], "a").await.unwrap().into_body().collect(10).await.unwrap();
        }
        let (first, second) =
            tokio::join!(served.ask(Method::POST, "/prod/x", &[], "a"), served.ask(Method::POST, "/prod/x", &[], "b"));
        drop((first.unwrap(), second.unwrap()));
        let mut connections = seen.connections();
        connections.sort_unstable();
        assert_eq!(connections, [0, 0, 0, 1]);
    });
}
