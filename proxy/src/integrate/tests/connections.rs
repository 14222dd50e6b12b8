//! Connections are kept, found dead, bounded in time.

use std::time::{Duration, Instant};

use ::http::{Method, StatusCode};
use bundle::integration::BackendTarget;
use tokio::io::AsyncReadExt;

use super::harness::*;
use crate::integrate::upstream::{Destination, Verification};
use crate::rejection::Rejection;

/// The Service `orders` in `shop`.
fn orders() -> BackendTarget {
    BackendTarget::Service {
        namespace: "shop".into(),
        name: "orders".into(),
        port: 8080,
        scheme: bundle::integration::Scheme::Http,
    }
}

fn to(address: std::net::SocketAddr) -> bundle::integration::Integration {
    backend(BackendTarget::Url(url(address)))
}

#[test]
fn one_connection_serves_requests_one_after_the_other() {
    run(async {
        let (address, seen) = answering(OK).await;
        let core = core();
        let served = Served::new(&core, to(address));
        for _ in 0..5 {
            assert_eq!(served.get().await.unwrap(), "ok");
        }
        assert_eq!(seen.connections(), [0, 0, 0, 0, 0]);
        assert_eq!(core.upstream.connections(), 1);
    });
}

#[test]
fn requests_at_once_have_a_connection_each_and_the_latest_is_used_first() {
    run(async {
        let (address, seen) = answering(OK).await;
        let core = core();
        let served = Served::new(&core, to(address));
        let (first, second) = tokio::join!(served.get(), served.get());
        assert_eq!((first.unwrap(), second.unwrap()), ("ok".into(), "ok".into()));
        let mut connections = seen.connections();
        connections.sort_unstable();
        assert_eq!(connections, [0, 1]);
        served.get().await.unwrap();
        served.get().await.unwrap();
        let later = seen.connections().split_off(2);
        assert_eq!(later[0], later[1]);
    });
}

#[test]
fn an_answer_not_read_to_its_end_closes_its_connection() {
    run(async {
        // More than one read of the codec.
        let long: &'static str = Box::leak(
            format!("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n{}", "x".repeat(3_000_000)).into_boxed_str(),
        );
        let (address, seen) = answering(long).await;
        let served = Served::new(&core(), to(address));
        drop(served.ask(Method::GET, "/prod/x", &[], "").await.unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(served.ask(Method::GET, "/prod/x", &[], "").await.unwrap());
        assert_eq!(seen.connections(), [0, 1]);
    });
}

#[test]
fn a_long_answer_read_to_its_end_gives_its_connection_back() {
    run(async {
        let long: &'static str = Box::leak(
            format!("HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n{}", "x".repeat(900_000)).into_boxed_str(),
        );
        let (address, seen) = answering(long).await;
        let served = Served::new(&core(), to(address));
        for _ in 0..3 {
            assert_eq!(served.get().await.unwrap().len(), 900_000);
        }
        assert_eq!(seen.connections(), [0, 0, 0]);
    });
}

/// A server that answers once per connection, and then does `then`.
async fn fickle(close_at_once: bool) -> (std::net::SocketAddr, Seen) {
    let seen = Seen::default();
    let remember = seen.clone();
    let address = server(move |number, mut stream| {
        let seen = remember.clone();
        async move {
            let first = head(&mut stream).await.unwrap();
            seen.add(number, first);
            say(&mut stream, OK).await;
            if close_at_once {
                return;
            }
            // Closes when the next request has been read in part.
            let mut some = [0; 10];
            stream.read_exact(&mut some).await.unwrap();
            seen.add(number, "half".into());
        }
    })
    .await;
    (address, seen)
}

#[test]
fn a_connection_closed_between_requests_is_not_used() {
    run(async {
        let (address, seen) = fickle(true).await;
        let served = Served::new(&core(), to(address));
        for _ in 0..3 {
            assert_eq!(served.get().await.unwrap(), "ok");
        }
        assert_eq!(seen.connections(), [0, 1, 2]);
    });
}

#[test]
fn a_get_on_a_connection_that_dies_is_sent_once_more() {
    run(async {
        let (address, seen) = fickle(false).await;
        let served = Served::new(&core(), to(address));
        assert_eq!(served.get().await.unwrap(), "ok");
        assert_eq!(served.get().await.unwrap(), "ok");
        assert_eq!(seen.connections(), [0, 0, 1]);
    });
}

#[test]
fn a_post_on_a_connection_that_dies_is_not_sent_again() {
    run(async {
        let (address, seen) = fickle(false).await;
        let served = Served::new(&core(), to(address));
        assert_eq!(served.get().await.unwrap(), "ok");
        for body in ["", "body"] {
            // The second time there is no idle connection, so a fresh one takes it.
            let answer = served.ask(Method::POST, "/prod/x", &[], body).await;
            if body.is_empty() {
                assert!(matches!(answer, Err(Rejection::IntegrationFailure(_))), "{:?}", answer.map(|_| ()));
            }
        }
        assert_eq!(seen.connections()[..2], [0, 0]);
    });
}

#[test]
fn an_answer_that_is_none_is_not_asked_for_again() {
    run(async {
        let seen = Seen::default();
        let remember = seen.clone();
        let address = server(move |number, mut stream| {
            let seen = remember.clone();
            async move {
                for answer in [OK, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"] {
                    let Some(head) = head(&mut stream).await else { return };
                    seen.add(number, head);
                    say(&mut stream, answer).await;
                }
            }
        })
        .await;
        let served = Served::new(&core(), to(address));
        assert_eq!(served.get().await.unwrap(), "ok");
        let answer = served.ask(Method::DELETE, "/prod/x", &[], "").await;
        assert!(matches!(answer, Err(Rejection::IntegrationFailure(_))), "{:?}", answer.map(|_| ()));
        assert_eq!(seen.connections(), [0, 0], "a DELETE that was carried out is not carried out again");
    });
}

#[test]
fn those_who_find_a_pod_gone_together_have_found_it_gone_once() {
    run(async {
        let (alive, _) = answering(OK).await;
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let options = options();
        let pods = std::sync::Arc::from([alive, gone]);
        options.endpoints.publish([(("shop".into(), "orders".into()), pods)].into());
        let core = core_with(options, crate::integrate::upstream::tls::Clients::shared());
        let served = Served::new(&core, backend(orders()));
        let asked = futures_util::future::join_all((0..24).map(|_| served.get())).await;
        assert!(asked.into_iter().all(|answer| answer.is_ok_and(|text| text == "ok")));
        // It comes back, and has rested for a second, not for thirty.
        let listener = tokio::net::TcpListener::bind(gone).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let found = async { drop(listener.accept().await.unwrap()) };
        let asking = async {
            loop {
                drop(futures_util::future::join_all((0..4).map(|_| served.get())).await);
            }
        };
        tokio::select! {
            () = found => {}
            () = asking => {}
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nobody asks the pod again"),
        }
    });
}

#[test]
fn a_backend_that_says_nothing_is_a_timeout() {
    run(async {
        let address = server(|_, mut stream| async move {
            head(&mut stream).await;
            std::future::pending::<()>().await;
        })
        .await;
        let served = Served::new(&core(), backend_with(BackendTarget::Url(url(address)), 1, 100));
        let began = Instant::now();
        assert_eq!(served.get().await, Err(Rejection::IntegrationTimeout));
        assert!(began.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn a_backend_that_falls_silent_breaks_the_answer_off() {
    run(async {
        let address = server(|_, mut stream| async move {
            head(&mut stream).await;
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
            std::future::pending::<()>().await;
        })
        .await;
        let served = Served::new(&core(), backend_with(BackendTarget::Url(url(address)), 1, 100));
        let response = served.ask(Method::GET, "/prod/x", &[], "").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(text(response).await.unwrap_err().to_text().contains("silent"));
    });
}

#[test]
fn nobody_there_and_no_such_name_are_failures() {
    run(async {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let served = Served::new(&core(), to(free));
        assert!(served.get().await.unwrap_err().to_text().contains("cannot connect"));
        let served = Served::new(&core(), backend_with(BackendTarget::Url("http://nobody.invalid".into()), 1, 25_000));
        let text = served.get().await.unwrap_err().to_text();
        assert!(text.contains("cannot resolve nobody.invalid"), "{text}");
    });
}

#[test]
fn an_answer_that_is_no_http_is_a_failure() {
    run(async {
        let (address, _) = answering("SSH-2.0-nope\r\n\r\n").await;
        let served = Served::new(&core(), to(address));
        assert!(served.get().await.unwrap_err().to_text().contains("the backend broke off"));
    });
}

#[test]
fn endpoints_share_pools_only_if_everything_is_equal() {
    let core = core();
    let pool = |scheme: &str, host: &str, skip_issuer| {
        let verification = Verification { skip_issuer, server_name: None };
        core.upstream.pool(&Destination::parse(scheme, host, verification, true).unwrap()).unwrap()
    };
    assert!(std::rc::Rc::ptr_eq(&pool("https", "a", false), &pool("https", "A:443", false)));
    assert!(!std::rc::Rc::ptr_eq(&pool("https", "a", false), &pool("https", "a", true)));
    assert!(!std::rc::Rc::ptr_eq(&pool("https", "a", false), &pool("http", "a:443", false)));
}

#[test]
fn a_service_is_where_the_options_say() {
    run(async {
        let (address, seen) = answering(OK).await;
        let mut options = options();
        options.services.insert(("shop".into(), "orders".into(), 0), address.to_string());
        let core = core_with(options, crate::integrate::upstream::tls::Clients::shared());
        assert_eq!(Served::new(&core, backend(orders())).get().await.unwrap(), "ok");
        assert_eq!(seen.header("host").unwrap(), address.to_string());
    });
}

/// At load a pool may be missing for want of room; whoever asks later is told that, whatever his integration.
#[test]
fn a_backend_without_a_pool_says_why() {
    run(async {
        let core = core();
        let endpoints = (0..).map(|number| {
            Destination::parse("http", &format!("host-{number}.test"), Verification::default(), true).unwrap()
        });
        let full = endpoints.map(|endpoint| core.upstream.pool(&endpoint)).find_map(Result::err);
        assert_eq!(full, Some(Rejection::Overloaded));
        let (address, _) = answering(OK).await;
        let proxy = http_proxy(endpoint(&url(address)), Default::default());
        for integration in [to(address), proxy] {
            assert_eq!(Served::new(&core, integration).get().await, Err(Rejection::Overloaded));
        }
        let nowhere = BackendTarget::Service {
            namespace: "shop".into(),
            name: "not a name".into(),
            port: 80,
            scheme: bundle::integration::Scheme::Http,
        };
        let refused = Served::new(&core, backend(nowhere)).get().await;
        assert!(matches!(&refused, Err(Rejection::Configuration(text)) if text.contains("not a name")), "{refused:?}");
    });
}
