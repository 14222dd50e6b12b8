//! An HTTP/1.1 request on its way from the codec to who answers it, and the answer on its way back.
//!
//! The codec could drive the answering itself. But then every step of that, a turn or the backend's bytes, would make it
//! look at the client's connection too, and most of a request's steps are not the client's. So the codec has a waker of
//! its own, which says that the step is the codec's, and the answering is driven beside it.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use http::{Request, Response};

use crate::accept::Incoming;
use crate::accept::activity::Activity;
use crate::body::Body;

/// Between a connection's codec and the answering of its requests, one at a time.
pub struct Handoff {
    request: Cell<Option<Request<Incoming>>>,
    response: Cell<Option<Response<Body>>>,
    woken: Arc<Woken>,
    waker: Waker,
}

/// Whether something has happened that the codec waits for.
struct Woken {
    codec: AtomicBool,
    activity: Arc<Activity>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.codec.store(true, Relaxed);
        self.activity.wake();
    }
}

impl Handoff {
    /// For a connection whose task [listens](Activity::listen) to `activity`. The codec has the first step.
    pub fn new(activity: &Arc<Activity>) -> Self {
        let woken = Arc::new(Woken { codec: AtomicBool::new(true), activity: Arc::clone(activity) });
        Self { request: Cell::default(), response: Cell::default(), waker: Arc::clone(&woken).into(), woken }
    }

    /// Takes a request from the codec, and resolves to the answer. Only [`Self::step`] brings that on.
    pub fn ask(&self, request: Request<Incoming>) -> impl Future<Output = Result<Response<Body>, Infallible>> + '_ {
        self.request.set(Some(request));
        poll_fn(|_| self.response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response))))
    }

    /// The next step is the codec's, because there is news that it was not woken for.
    pub fn rouse(&self) {
        self.woken.codec.store(true, Relaxed);
    }

    /// Lets `codec` go on, if there is anything for it, and the answering of the request that it has handed over.
    /// Ready when the codec is; what is being answered then has lost its client, and ends.
    pub fn step<T, F: Future<Output = Response<Body>>>(
        &self,
        cx: &mut Context<'_>,
        mut codec: impl FnMut(&mut Context<'_>) -> Poll<T>,
        answer: impl Fn(Request<Incoming>) -> F,
        answering: &mut Option<Pin<Box<F>>>,
    ) -> Poll<T> {
        let mut due = self.woken.codec.swap(false, Relaxed);
        loop {
            if due {
                if let Poll::Ready(ended) = codec(&mut Context::from_waker(&self.waker)) {
                    *answering = None;
                    return Poll::Ready(ended);
                }
                if let Some(request) = self.request.take() {
                    // Boxed, because its room is needed only as long as it is answered.
                    *answering = Some(Box::pin(answer(request)));
                }
            }
            let Some(future) = answering else { return Poll::Pending };
            let Poll::Ready(response) = future.as_mut().poll(cx) else { return Poll::Pending };
            *answering = None;
            self.response.set(Some(response));
            due = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::accept::activity::Clock;

    /// A client's end of a connection whose requests `answer` answers, and how often the codec was asked.
    async fn with_client<F: Future<Output = Response<Body>>>(
        answer: impl Fn(Request<Incoming>) -> F,
        client: impl AsyncFnOnce(tokio::io::DuplexStream),
    ) -> usize {
        let activity = Activity::new(Arc::new(Clock::default()), 60);
        let (near, far) = tokio::io::duplex(1 << 10);
        let handoff = Handoff::new(&activity);
        let service = hyper::service::service_fn(|request| handoff.ask(request));
        let mut serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
        let (mut answering, mut steps) = (None, 0);
        let serve = poll_fn(|cx| {
            activity.listen(cx.waker());
            let codec = |cx: &mut Context<'_>| {
                steps += 1;
                Pin::new(&mut serving).poll(cx)
            };
            handoff.step(cx, codec, &answer, &mut answering)
        });
        let (ended, ()) = tokio::join!(serve, client(near));
        ended.expect("the connection ends well");
        steps
    }

    async fn read(client: &mut tokio::io::DuplexStream, until: &str) -> String {
        let mut read = String::new();
        while !read.ends_with(until) {
            let mut buffer = [0; 512];
            let length = client.read(&mut buffer).await.expect("an answer");
            assert!(length > 0, "the connection ended after {read}");
            read.push_str(std::str::from_utf8(&buffer[..length]).expect("text"));
        }
        read
    }

    #[tokio::test(flavor = "current_thread")]
    async fn requests_sent_at_once_are_answered_in_order() {
        let answer = async |request: Request<Incoming>| {
            tokio::task::yield_now().await;
            Response::new(Body::full(request.uri().path().to_owned()))
        };
        with_client(answer, async |mut client| {
            let requests = ["/1", "/2", "/3"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client.write_all(requests.concat().as_bytes()).await.expect("it listens");
            let answers = read(&mut client, "/3").await;
            assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
            assert!(answers.find("/1") < answers.find("/2"), "{answers}");
        })
        .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_body_that_comes_bit_by_bit_gets_to_the_answer() {
        let answer = async |request: Request<Incoming>| {
            let body = Body::wire(request.into_body()).collect(100).await.expect("a body");
            let mut response = Response::new(Body::full(body));
            *response.status_mut() = StatusCode::CREATED;
            response
        };
        with_client(answer, async |mut client| {
            client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nab").await.expect("it listens");
            for bytes in [b"cd", b"ef"] {
                tokio::time::sleep(Duration::from_millis(5)).await;
                client.write_all(bytes).await.expect("it listens");
            }
            let answer = read(&mut client, "abcdef").await;
            assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        })
        .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_codec_is_asked_only_when_there_is_something_for_it() {
        let answer = async |_: Request<Incoming>| {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Response::new(Body::empty())
        };
        let steps = with_client(answer, async |mut client| {
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it listens");
            read(&mut client, "\r\n\r\n").await;
        })
        .await;
        assert!(steps < 8, "{steps} steps for one request");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_client_that_goes_away_ends_the_answering() {
        struct Gone(std::rc::Rc<Cell<bool>>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let gone = std::rc::Rc::new(Cell::new(false));
        let activity = Activity::new(Arc::new(Clock::default()), 60);
        let (mut near, far) = tokio::io::duplex(1 << 10);
        let handoff = Handoff::new(&activity);
        let service = hyper::service::service_fn(|request| handoff.ask(request));
        let mut serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
        let mut answering = None;
        let answer = |_| {
            let gone = Gone(std::rc::Rc::clone(&gone));
            async move {
                let _gone = gone;
                std::future::pending().await
            }
        };
        let serve = poll_fn(|cx| {
            activity.listen(cx.waker());
            handoff.step(cx, |cx| Pin::new(&mut serving).poll(cx), answer, &mut answering)
        });
        let client = async {
            near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it listens");
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(near);
        };
        let (ended, ()) = tokio::join!(serve, client);
        assert!(ended.is_err_and(|error| error.is_incomplete_message()));
        assert!(gone.get());
    }
}
