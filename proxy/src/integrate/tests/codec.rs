//! HTTP/1.1 with backends that answer early, late, in pieces, or wrongly.

use std::convert::Infallible;
use std::time::Duration;

use ::http::{Method, Request, Response, StatusCode};
use bundle::integration::BackendTarget;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::harness::*;
use crate::accept::Incoming;
use crate::body::Body;
use crate::integrate::integrate;
use crate::integrate::upstream::Destination;
use crate::rejection::Rejection;

fn to(address: std::net::SocketAddr) -> bundle::integration::Integration {
    backend(BackendTarget::Url(url(address)))
}

/// The answer to a GET that a backend writes in these pieces; `None` if there is none.
async fn answer(pieces: &'static [&'static str]) -> Result<(StatusCode, String), Rejection> {
    let address = server(move |_, mut stream| async move {
        head(&mut stream).await;
        for piece in pieces {
            say(&mut stream, piece).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let response = Served::new(&core(), to(address)).ask(Method::GET, "/prod/x", &[], "").await?;
    Ok((response.status(), text(response).await?))
}

#[test]
fn an_answer_may_come_in_pieces() {
    run(async {
        for pieces in [
            &["HTTP/1.1 2", "00 OK\r\nContent-Le", "ngth: 5\r", "\n", "\r", "\nhe", "llo"][..],
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2", "\r\nh", "e\r", "\n3\r\nllo\r\n0", "\r\n\r\n"],
            &["HTTP/1.1 200 OK\r\n\r\n", "hel", "lo"],
            &["HTTP/1.0 200 OK\r\n\r\nhello"],
            &["HTTP/1.1 200 OK\nContent-Length: 5\n", "\nhello"],
        ] {
            assert_eq!(answer(pieces).await, Ok((StatusCode::OK, "hello".into())), "{pieces:?}");
        }
    });
}

#[test]
fn informational_answers_stay_here() {
    run(async {
        for pieces in [
            &["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK][..],
            &["HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 20", "0 OK\r\nContent-Length: 2\r\n\r\nok"],
        ] {
            assert_eq!(answer(pieces).await, Ok((StatusCode::OK, "ok".into())), "{pieces:?}");
        }
        let many: &'static str = Box::leak("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(33).into_boxed_str());
        let refused = answer(Box::leak(Box::new([many, OK]))).await.unwrap_err().to_text();
        assert!(refused.contains("informational"), "{refused}");
    });
}

#[test]
fn answers_that_could_be_read_in_two_ways_are_refused() {
    run(async {
        for (head, why) in [
            ("Content-Length: 2\r\nContent-Length: 2", "Content-Length"),
            ("Content-Length: 2\r\nTransfer-Encoding: chunked", "Transfer-Encoding"),
            ("Transfer-Encoding: gzip, chunked", "Transfer-Encoding"),
            ("Content-Length: 2\r\n folded", "head"),
            ("Content-Length : 2", "head"),
        ] {
            let text: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nok").into_boxed_str());
            let refused = answer(Box::leak(Box::new([text]))).await.unwrap_err().to_text();
            assert!(refused.contains(why), "{head}: {refused}");
        }
        for head in ["HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 200 OK\r\nA: 1", ""] {
            let refused = answer(Box::leak(Box::new([head]))).await.unwrap_err().to_text();
            assert!(refused.contains("the backend broke off"), "{head}: {refused}");
        }
    });
}

#[test]
fn heads_are_bounded_on_their_way() {
    run(async {
        let address = server(|_, mut stream| async move {
            head(&mut stream).await;
            say(&mut stream, "HTTP/1.1 200 OK\r\n").await;
            // Until the gateway has had enough.
            while stream.write_all(&[b'x'; 1000]).await.is_ok() {}
        })
        .await;
        let refused = Served::new(&core(), to(address)).get().await.unwrap_err().to_text();
        assert!(refused.contains("65536 bytes"), "{refused}");
    });
}

#[test]
fn a_body_that_is_cut_off_is_not_whole() {
    run(async {
        for pieces in [
            &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"][..],
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"],
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n\r\n"],
        ] {
            assert!(answer(pieces).await.is_err(), "{pieces:?}");
        }
    });
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    run(async {
        let (address, seen) = answering("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n").await;
        let served = Served::new(&core(), to(address));
        for _ in 0..2 {
            assert_eq!(served.get().await.unwrap(), "");
        }
        assert_eq!(seen.connections(), [0, 0]);
        let (address, seen) = answering("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await;
        let served = Served::new(&core(), to(address));
        for _ in 0..2 {
            let response = served.ask(Method::HEAD, "/prod/x", &[], "").await.unwrap();
            assert_eq!(response.headers()["content-length"], "7");
            assert_eq!(text(response).await.unwrap(), "");
        }
        assert_eq!(seen.connections(), [0, 0]);
    });
}

#[test]
fn what_comes_unasked_ends_the_connection() {
    run(async {
        // Two answers to one request: the second must never be the answer to the next.
        let (address, seen) = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n").await;
        let served = Served::new(&core(), to(address));
        for _ in 0..2 {
            assert_eq!(served.get().await.unwrap(), "ok");
        }
        assert_eq!(seen.connections(), [0, 1]);
        // The same, a little later.
        let address = server(|number, mut stream| async move {
            while head(&mut stream).await.is_some() {
                say(&mut stream, &OK.replace("ok", &format!("{number:02}"))).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                say(&mut stream, OK).await;
            }
        })
        .await;
        let core = core();
        let served = Served::new(&core, to(address));
        assert_eq!(served.get().await.unwrap(), "00");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(served.get().await.unwrap(), "01");
        assert_eq!(core.upstream.connections(), 1);
    });
}

#[test]
fn an_idle_connection_that_was_closed_takes_no_post() {
    run(async {
        let address = server(|number, mut stream| async move {
            let read = head(&mut stream).await.expect("a request");
            if read.starts_with("post") {
                stream.read_exact(&mut [0; 4]).await.expect("the body");
            }
            say(&mut stream, &OK.replace("ok", &format!("{number:02}"))).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        })
        .await;
        let served = Served::new(&core(), to(address));
        for number in 0..3 {
            let response = served.ask(Method::POST, "/prod/x", &[], "body").await.unwrap();
            assert_eq!(text(response).await.unwrap(), format!("{number:02}"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

/// The body of a request of a client that the test plays, over a connection of its own.
async fn upload() -> (mpsc::UnboundedSender<&'static str>, Body) {
    let (sender, parts) = mpsc::unbounded_channel();
    let (near, far) = tokio::io::duplex(1 << 16);
    let (tell, mut told) = mpsc::unbounded_channel();
    tokio::task::spawn_local(async move {
        let service = service_fn(move |request: Request<Incoming>| {
            tell.send(request.into_body()).ok();
            std::future::pending::<Result<Response<String>, Infallible>>()
        });
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service).await.ok();
    });
    tokio::task::spawn_local(async move {
        let parts = futures_util::stream::unfold(parts, |mut parts: mpsc::UnboundedReceiver<&str>| async {
            let frame = Frame::data(Bytes::from_static(parts.recv().await?.as_bytes()));
            Some((Ok::<_, Infallible>(frame), parts))
        });
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        tokio::task::spawn_local(async { connection.await.ok() });
        sender.send_request(Request::post("/").body(StreamBody::new(Box::pin(parts))).unwrap()).await.ok();
    });
    (sender, Body::wire(told.recv().await.unwrap()))
}

#[test]
fn an_answer_may_begin_before_the_request_has_ended() {
    run(async {
        let address = server(|_, mut stream| async move {
            let seen = head(&mut stream).await.unwrap();
            assert!(seen.contains("transfer-encoding: chunked"), "{seen}");
            say(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for _ in 0..2 {
                let mut chunk = [0; 8];
                stream.read_exact(&mut chunk).await.unwrap();
                stream.write_all(&chunk).await.unwrap();
            }
            let mut end = [0; 5];
            stream.read_exact(&mut end).await.unwrap();
            stream.write_all(&end).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let core = core();
        let served = Served::new(&core, to(address));
        let (sender, body) = upload().await;
        let mut exchange = served.exchange(Method::POST, "/prod/x", &[], body);
        sender.send("one").unwrap();
        let mut body = integrate(&core, &mut exchange).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        sender.send("two").unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
        drop(sender);
        assert!(body.frame().await.is_none());
        let pool =
            core.upstream.pool(&Destination::parse("http", &address.to_string(), Default::default(), true).unwrap());
        assert!(pool.unwrap().take().is_some(), "both are complete");
    });
}

#[test]
fn a_backend_that_refuses_an_upload_is_heard() {
    run(async {
        let address = server(|_, mut stream| async move {
            head(&mut stream).await;
            say(&mut stream, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await;
        })
        .await;
        let core = core();
        let served = Served::new(&core, to(address));
        let (sender, body) = upload().await;
        sender.send("some").unwrap();
        let mut exchange = served.exchange(Method::POST, "/prod/x", &[], body);
        let response = integrate(&core, &mut exchange).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(text(response).await.unwrap(), "no");
        assert_eq!(core.upstream.connections(), 0, "the rest of the upload has nowhere to go");
    });
}

#[test]
fn a_body_is_as_long_as_its_length_says() {
    run(async {
        let (address, seen) = answering(OK).await;
        let served = Served::new(&core(), to(address));
        for (length, body) in [("5", "body"), ("3", "body"), ("x", "body"), ("", "")] {
            let refused = served.ask(Method::POST, "/prod/x", &[("content-length", length)], body).await;
            let refused = refused.map(|_| ()).unwrap_err().to_text();
            assert!(refused.contains("Content-Length"), "{length}: {refused}");
        }
        let twice = [("content-length", "4"), ("content-length", "4")];
        assert!(served.ask(Method::POST, "/prod/x", &twice, "body").await.is_err());
        served.ask(Method::POST, "/prod/x", &[("content-length", "4")], "body").await.unwrap();
        assert_eq!(seen.connections().len(), 1, "the others never reached it");
        assert_eq!(seen.header("content-length").as_deref(), Some("4"));
    });
}

#[test]
fn a_large_body_goes_out_whole_to_a_slow_reader() {
    run(async {
        let address = server(|_, mut stream| async move {
            head(&mut stream).await;
            let mut sum = 0;
            let mut buffer = vec![0; 10_000];
            while sum < 3_000_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                sum += stream.read(&mut buffer).await.unwrap();
            }
            say(&mut stream, OK).await;
        })
        .await;
        let integration = backend_with(BackendTarget::Url(url(address)), 4 << 20, 20_000);
        let served = Served::new(&core(), integration);
        let response = served.ask(Method::POST, "/prod/x", &[], &"x".repeat(3_000_000)).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "ok");
    });
}
