//! One process after another, and the calls that each of them takes: what Lambda calls an execution environment.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::failure::Failure;
use super::invocation::{Answer, Call, Finished, Invocation};
use super::output::{TAIL, Tail};
use super::pool::{Phase, Pool};
use super::process::{Process, ended};
use super::runtime_api::{Delivery, Report};
use super::settings::VERSION;

/// A process that reported why it cannot start is given this long to end by itself.
const FAREWELL: Duration = Duration::from_millis(500);

/// A process that ended may have handed in its answer just before.
const LAST_REPORT: Duration = Duration::from_millis(20);

/// What a handler printed before it answered is in the pipe by then; this long without more means that it was read.
const QUIET: Duration = Duration::from_millis(2);
const MAX_UNQUIET: u32 = 10;

/// How many chunks of a streamed answer may wait for the caller before the handler waits.
const CHUNKS: usize = 16;

/// A process that waits for its next call.
type Ready = oneshot::Sender<Delivery>;

enum Life {
    /// The process is gone and another is wanted, to take this call if there is one.
    Again(Option<Call>),
    Over,
}

pub(super) async fn keep(pool: Rc<Pool>, mut call: Option<Call>) {
    while let Life::Again(next) = live(&pool, call.take()).await {
        call = next;
    }
    pool.closed();
}

/// The life of one process.
async fn live(pool: &Rc<Pool>, mut call: Option<Call>) -> Life {
    let mut process = match Process::start(&pool.settings, &pool.printer).await {
        Ok(process) => process,
        Err(error) => {
            let command = pool.settings.command.first().map_or("", String::as_str);
            return does_not_start(pool, call, Failure::CannotStart(format!("cannot start {command}: {error}")));
        }
    };
    pool.starts();
    let ready = tokio::select! {
        ready = becomes_ready(&mut process, pool.settings.init_timeout) => ready,
        () = pool.reached(Phase::Stopped) => Err(Failure::Stopped),
    };
    pool.started();
    let mut ready = match ready {
        Ok(ready) => ready,
        Err(failure) => {
            process.kill().await;
            return does_not_start(pool, call, failure);
        }
    };
    pool.works();
    loop {
        let call = match call.take().or_else(|| pool.waiting()) {
            Some(call) => call,
            None => match wait(pool, &mut process, &mut ready).await {
                Waited::Called(call) => call,
                Waited::Stopped => {
                    process.stop().await;
                    return Life::Over;
                }
                Waited::Ended(call) => {
                    process.kill().await;
                    // Without a call nobody misses it; the next call starts another.
                    return call.map_or(Life::Over, |call| Life::Again(Some(call)));
                }
            },
        };
        if let Ok(Some(status)) = process.child.try_wait() {
            // It died unnoticed, so the call did not reach it and may go to the next.
            tracing::warn!(reason = Failure::Exited(status).reason(), "a process ended between calls");
            process.kill().await;
            return Life::Again(Some(call));
        }
        match run(pool, &mut process, ready, call).await {
            Some(again) => ready = again,
            None if pool.phase() == Phase::Stopped => {
                process.stop().await;
                return Life::Over;
            }
            None => {
                process.kill().await;
                return Life::Again(None);
            }
        }
    }
}

fn does_not_start(pool: &Pool, call: Option<Call>, failure: Failure) -> Life {
    if !matches!(failure, Failure::Stopped) {
        tracing::warn!(reason = failure.reason(), "the function does not start");
        pool.does_not_start(&failure);
    }
    if let Some(call) = call {
        call.fail(failure);
    }
    Life::Over
}

/// Waits until a process asks for a call: for the first one, that is its initialisation.
async fn becomes_ready(process: &mut Process, limit: Duration) -> Result<Ready, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let report = tokio::select! {
            biased;
            report = process.reports.recv() => report,
            status = ended(&mut process.child) => match timeout(LAST_REPORT, process.reports.recv()).await {
                Ok(report @ Some(Report::InitFailed { .. })) => report,
                Ok(_) | Err(_) => return Err(Failure::Exited(status)),
            },
            () = sleep_until(deadline) => return Err(Failure::TimedOut(limit)),
        };
        match report {
            Some(Report::Next(ready)) => return Ok(ready),
            Some(Report::InitFailed { failure, taken }) => {
                // It wants to hear that, and then it ends, most often.
                taken.send(()).unwrap_or_default();
                drop(timeout(FAREWELL, ended(&mut process.child)).await);
                return Err(failure);
            }
            // Answers to nothing; dropping them tells the process so.
            Some(Report::Finished { .. } | Report::StreamBegins { .. } | Report::StreamEnds { .. }) => {}
            None => return Err(Failure::Exited(ended(&mut process.child).await)),
        }
    }
}

enum Waited {
    Called(Call),
    /// By itself, perhaps in the very moment a call came.
    Ended(Option<Call>),
    Stopped,
}

async fn wait(pool: &Pool, process: &mut Process, ready: &mut Ready) -> Waited {
    let mut offered = pool.offer();
    loop {
        tokio::select! {
            biased;
            call = &mut offered => return call.map_or(Waited::Stopped, Waited::Called),
            report = process.reports.recv() => match report {
                // Its connection broke and it asks again.
                Some(Report::Next(again)) => *ready = again,
                Some(_) => {}
                None => return Waited::Stopped,
            },
            status = ended(&mut process.child) => {
                tracing::warn!(reason = Failure::Exited(status).reason(), "a process ended between calls");
                offered.close();
                return Waited::Ended(offered.try_recv().ok());
            }
            () = pool.reached(Phase::Stopped) => return Waited::Stopped,
        }
    }
}

/// One call, until the process asks for the next. `None` if the process is of no more use.
async fn run(pool: &Pool, process: &mut Process, mut ready: Ready, call: Call) -> Option<Ready> {
    let limit = pool.settings.timeout;
    let mut run = Run::new(pool, call);
    let deadline = run.began + limit;
    process.tail.clear();
    while ready.send(run.delivery(limit)).is_err() {
        // It hung up while it waited. If it lives, it asks again.
        match becomes_ready(process, limit).await {
            Ok(again) => ready = again,
            Err(failure) => {
                run.finish(process, Err(failure)).await;
                return None;
            }
        }
    }
    loop {
        let failure = tokio::select! {
            biased;
            Some(report) = process.reports.recv() => match run.take(process, report).await {
                Some(next) => return Some(next),
                None => continue,
            },
            status = ended(&mut process.child) => {
                while let Ok(Some(report)) = timeout(LAST_REPORT, process.reports.recv()).await {
                    // It cannot want another call any more.
                    drop(run.take(process, report).await);
                }
                Failure::Exited(status)
            }
            () = sleep_until(deadline) => Failure::TimedOut(limit),
            () = pool.reached(Phase::Stopped) => Failure::Stopped,
        };
        run.finish(process, Err(failure)).await;
        return None;
    }
}

/// A call that a process is working on.
struct Run<'a> {
    pool: &'a Pool,
    request_id: String,
    wants_log: bool,
    began: Instant,
    progress: Progress,
    invocation: Rc<Invocation>,
}

enum Progress {
    Running(Call),
    Streaming(oneshot::Sender<Finished>),
    Answered,
}

impl<'a> Run<'a> {
    fn new(pool: &'a Pool, call: Call) -> Self {
        Self {
            pool,
            request_id: call.invocation.request_id.clone(),
            wants_log: call.wants_log,
            began: Instant::now(),
            invocation: Rc::clone(&call.invocation),
            progress: Progress::Running(call),
        }
    }

    fn delivery(&self, limit: Duration) -> Delivery {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let deadline = (now + limit).saturating_sub(self.began.elapsed());
        Delivery { invocation: Rc::clone(&self.invocation), deadline_epoch_ms: deadline.as_millis() }
    }

    /// Gives back the process's wish for another call once this one is answered. What does not fit the call's
    /// progress is dropped, and the process is told.
    async fn take(&mut self, process: &mut Process, report: Report) -> Option<Ready> {
        match report {
            Report::Next(next) => return matches!(self.progress, Progress::Answered).then_some(next),
            Report::Finished { request_id, result, taken } => {
                if request_id == self.request_id && matches!(self.progress, Progress::Running(_)) {
                    let result = match result {
                        Err(failure) => Err(explained(process, failure).await),
                        Ok(payload) => Ok(payload),
                    };
                    self.finish(process, result).await;
                    taken.send(()).unwrap_or_default();
                }
            }
            Report::StreamBegins { request_id, content_type, taken } => {
                if request_id == self.request_id
                    && let Some(chunks) = self.begin_stream(content_type)
                {
                    drop(taken.send(chunks));
                }
            }
            Report::StreamEnds { request_id, failure } => {
                if request_id == self.request_id && matches!(self.progress, Progress::Streaming(_)) {
                    let result = match failure {
                        Some(failure) => Err(explained(process, failure).await),
                        None => Ok(Bytes::new()),
                    };
                    self.finish(process, result).await;
                }
            }
            Report::InitFailed { failure, taken } => {
                self.finish(process, Err(failure)).await;
                taken.send(()).unwrap_or_default();
            }
        }
        None
    }

    fn begin_stream(&mut self, content_type: Option<String>) -> Option<mpsc::Sender<Bytes>> {
        match std::mem::replace(&mut self.progress, Progress::Answered) {
            Progress::Running(call) => {
                let (sender, chunks) = mpsc::channel(CHUNKS);
                let (finish, finished) = oneshot::channel();
                drop(call.answer.send(Answer::Stream { content_type, chunks, finished }));
                self.progress = Progress::Streaming(finish);
                Some(sender)
            }
            other => {
                self.progress = other;
                None
            }
        }
    }

    /// Answers the caller, once.
    async fn finish(&mut self, process: &Process, result: Result<Bytes, Failure>) {
        if let (Progress::Answered, Err(failure)) = (&self.progress, &result) {
            // Nobody waits for it any more: it ended before it asked for another call, or never asked.
            return tracing::warn!(reason = failure.reason(), "a process ended between calls");
        }
        if let Err(failure) = &result {
            tracing::warn!(request_id = self.request_id, reason = failure.reason(), "the function failed");
        }
        let log = if self.wants_log { Some(self.log(process, result.as_ref().err()).await) } else { None };
        let finished = Finished { result, log };
        match std::mem::replace(&mut self.progress, Progress::Answered) {
            Progress::Running(call) => call.finish(finished),
            Progress::Streaming(finish) => drop(finish.send(finished)),
            Progress::Answered => {}
        }
    }

    /// The end of the log as Lambda words it, around what the handler printed.
    async fn log(&self, process: &Process, failure: Option<&Failure>) -> Vec<u8> {
        let took = self.began.elapsed();
        let log = Tail::default();
        log.push(format!("START RequestId: {} Version: {VERSION}\n", self.request_id).as_bytes());
        let printed = settled(&process.tail).await;
        log.push(&printed);
        if !printed.is_empty() && !printed.ends_with(b"\n") {
            log.push(b"\n");
        }
        if let Some(failure) = failure {
            log.push(format!("RequestId: {} Error: {}\n", self.request_id, failure.reason()).as_bytes());
        }
        let used = process.peak_memory().map_or_else(String::new, |used| format!("Max Memory Used: {used} MB\t"));
        log.push(
            format!(
                "END RequestId: {id}\nREPORT RequestId: {id}\tDuration: {took:.2} ms\tBilled Duration: {billed} ms\tMemory \
                 Size: {memory} MB\t{used}\n",
                id = self.request_id,
                took = took.as_secs_f64() * 1e3,
                billed = took.as_micros().div_ceil(1000),
                memory = self.pool.settings.function.memory,
            )
            .as_bytes(),
        );
        log.bytes()
    }
}

/// An answer broke off most often because its process ended, which says more.
async fn explained(process: &mut Process, failure: Failure) -> Failure {
    if !matches!(failure, Failure::Truncated) {
        return failure;
    }
    timeout(LAST_REPORT, ended(&mut process.child)).await.map_or(failure, Failure::Exited)
}

/// What was printed so far, once nothing more arrives for a moment.
async fn settled(tail: &Tail) -> Vec<u8> {
    let mut before = tail.bytes();
    for _ in 0..MAX_UNQUIET {
        tokio::time::sleep(QUIET).await;
        let now = tail.bytes();
        if now == before {
            break;
        }
        before = now;
    }
    debug_assert!(before.len() <= TAIL, "a tail has a bound");
    before
}
