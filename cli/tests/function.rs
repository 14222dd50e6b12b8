//! `stagegate function` as callers, handlers and operators see it: the real binary with a small handler.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "function/harness.rs"]
#[allow(dead_code, reason = "two files of tests share it, and neither uses all of it")]
mod harness;

use std::io::Read as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{alive, function, read_reply, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const INVOKE: &str = "/2015-03-31/functions/test/invocations";

#[test]
fn a_call_reaches_the_handler_and_comes_back() {
    let function = function(&["--timeout", "7"]).env("_HANDLER", "app.handler").start();
    let context = STANDARD.encode(r#"{"custom": {"k": "v"}}"#);
    let arn = "arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Aget-order%3Alive";
    let reply = function.send(
        "POST",
        &format!("/2015-03-31/functions/{arn}/invocations"),
        &[("x-amz-client-context", &context), ("x-amzn-trace-id", "Root=1-5-6;Sampled=1")],
        br#"{"a": [1, "\u00e9"]}"#,
    );
    let answer = reply.success();
    assert_eq!(answer["event"], json!({"a": [1, "é"]}));
    assert_eq!(reply.header("x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let headers = &answer["headers"];
    assert_eq!(headers["lambda-runtime-aws-request-id"], json!(reply.header("x-amzn-requestid")));
    assert_eq!(
        headers["lambda-runtime-invoked-function-arn"],
        "arn:aws:lambda:eu-west-1:123456789012:function:get-order:live"
    );
    assert_eq!(headers["lambda-runtime-trace-id"], "Root=1-5-6;Sampled=1");
    assert_eq!(headers["lambda-runtime-client-context"], r#"{"custom":{"k":"v"}}"#);
    let deadline: u128 = headers["lambda-runtime-deadline-ms"].as_str().unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!((5000..=7000).contains(&(deadline - now)), "{} ms are left", deadline - now);
    let env = &answer["env"];
    assert_eq!(env["AWS_LAMBDA_FUNCTION_NAME"], "function");
    assert_eq!(env["AWS_LAMBDA_FUNCTION_VERSION"], "$LATEST");
    assert_eq!(env["AWS_REGION"], "us-east-1");
    assert_eq!(env["_HANDLER"], "app.handler");

    // No payload is an empty object, and no trace header is a new one.
    let plain = function.invoke("").success();
    assert_eq!(plain["event"], json!({}));
    assert!(plain["headers"]["lambda-runtime-trace-id"].as_str().unwrap().starts_with("Root=1-"));
    // An idle process is used again.
    assert_eq!(plain["pid"], answer["pid"]);
}

#[test]
fn an_error_of_the_handler_is_passed_on_and_hurts_nobody_else() {
    let function = function(&[]).start();
    let before = function.invoke(r#"{"do": "pid"}"#).success();
    let error = function.invoke(r#"{"do": "raise", "text": "boom"}"#).failure();
    assert_eq!(error, json!({"errorMessage": "boom", "errorType": "ValueError", "stackTrace": ["here"]}));
    function.wait_for_log("ValueError: boom");
    assert_eq!(function.invoke(r#"{"do": "pid"}"#).success(), before);
}

#[test]
fn a_call_that_takes_too_long_is_cut_off_with_all_its_processes() {
    let function = function(&["--timeout", "1"]).start();
    let before = function.invoke(r#"{"do": "pid"}"#).success();
    let child = function.file("child");
    let begun = Instant::now();
    let reply = function.invoke(json!({"do": "child-and-hang", "file": child}).to_string());
    let took = begun.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");
    let id = reply.header("x-amzn-requestid").unwrap();
    assert_eq!(
        reply.failure(),
        json!({"errorType": "Sandbox.Timedout", "errorMessage": format!("RequestId: {id} Error: Task timed out after 1.00 seconds")})
    );
    let child: i64 = std::fs::read_to_string(child).unwrap().parse().unwrap();
    // Not even as a zombie, of which a long-lived container would collect many.
    until("the handler's child is gone", || !std::path::Path::new(&format!("/proc/{child}")).exists());
    let after = function.invoke(r#"{"do": "pid"}"#).success();
    assert_ne!(after, before);
    assert!(!alive(before.as_i64().unwrap()));
}

#[test]
fn a_crash_is_told_and_mended() {
    let function = function(&[]).start();
    let cases = [
        (json!({"do": "exit", "code": 1}), "Runtime exited with error: exit status 1"),
        (json!({"do": "exit", "code": 0}), "Runtime exited without providing a reason"),
        (json!({"do": "kill", "signal": "SIGKILL"}), "Runtime exited with error: signal: killed"),
        (json!({"do": "kill", "signal": "SIGSEGV"}), "Runtime exited with error: signal: segmentation fault"),
    ];
    for (event, words) in cases {
        let error = function.invoke(event.to_string()).failure();
        assert_eq!(error["errorType"], "Runtime.ExitError");
        assert!(error["errorMessage"].as_str().unwrap().contains(words), "{error}");
        assert!(function.invoke(r#"{"do": "pid"}"#).success().is_i64());
    }
}

#[test]
fn a_process_that_dies_between_calls_is_replaced_for_the_next() {
    let function = function(&[]).start();
    let pid = function.invoke(r#"{"do": "pid"}"#).success().as_i64().unwrap();
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(process, Signal::KILL).unwrap();
    until("it is dead", || !alive(pid));
    let next = function.invoke(r#"{"do": "pid"}"#).success().as_i64().unwrap();
    assert_ne!(next, pid);
    function.wait_for_log("a process ended between calls");
}

#[test]
fn a_function_that_does_not_start_says_why_until_it_is_mended() {
    let directory = tempfile::tempdir().unwrap();
    let mended = directory.path().join("mended");
    let function = function(&[]).env("INIT", "fail").env("MENDED", mended.to_str().unwrap()).start();
    for _ in 0..4 {
        let error = function.invoke("{}").failure();
        assert_eq!(error["errorType"], "Runtime.ImportModuleError");
        assert_eq!(error["errorMessage"], "no module");
    }
    // A handful of calls in a row are no reason to start as many processes.
    let starts = |log: &str| log.matches("init fail").count();
    let before = starts(&function.log());
    for _ in 0..50 {
        function.invoke("{}").failure();
    }
    let after = starts(&function.log());
    assert!(after - before <= 3, "{} processes for 50 calls", after - before);
    std::fs::write(&mended, "").unwrap();
    until("it works again", || function.invoke("{}").header("x-amz-function-error").is_none());
}

#[test]
fn other_ways_not_to_start() {
    let exits = function(&[]).env("INIT", "exit").start();
    let error = exits.invoke("{}").failure();
    assert_eq!(error["errorType"], "Runtime.ExitError");
    assert!(error["errorMessage"].as_str().unwrap().ends_with("Runtime exited with error: exit status 3"), "{error}");

    let hangs = function(&["--init-timeout", "1"]).env("INIT", "hang").start();
    let error = hangs.invoke("{}").failure();
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    assert!(error["errorMessage"].as_str().unwrap().ends_with("Task timed out after 1.00 seconds"), "{error}");
}

#[test]
fn a_command_that_is_not_there_ends_the_program() {
    let output = function(&[]).command(&["/nowhere/handler", "x"]).process().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot start /nowhere/handler: No such file or directory"), "{said}");
}

#[test]
fn as_many_calls_run_at_once_as_asked_for() {
    let function = function(&["--concurrency", "3", "--timeout", "20"]).start();
    let event = r#"{"do": "pid", "seconds": 4}"#;
    let begun = Instant::now();
    let calls: Vec<_> = (0..3).map(|_| function.begin("POST", INVOKE, &[], event.as_bytes())).collect();
    let mut pids: Vec<_> = calls.into_iter().map(|call| read_reply(call).success().as_i64()).collect();
    assert!(begun.elapsed() < Duration::from_millis(11_500), "{:?}", begun.elapsed());
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 3, "each in a process of its own");
    // All three are kept.
    let again = function.invoke(r#"{"do": "pid"}"#).success().as_i64();
    assert!(pids.contains(&again));
}

#[test]
fn calls_wait_for_a_process_and_too_many_are_refused() {
    let function = function(&["--queue", "1", "--timeout", "3"]).start();
    function.invoke("{}").success();
    let slow = r#"{"do": "sleep", "seconds": 1}"#;
    let running = function.begin("POST", INVOKE, &[], slow.as_bytes());
    let waiting = function.begin("POST", INVOKE, &[], slow.as_bytes());
    std::thread::sleep(Duration::from_millis(300));
    let refused = function.invoke("{}");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("x-amzn-errortype"), Some("TooManyRequestsException"));
    assert_eq!(
        refused.json(),
        json!({"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded."})
    );
    assert_eq!(read_reply(running).success(), "slept");
    assert_eq!(read_reply(waiting).success(), "slept");
    function.invoke("{}").success();
}

#[test]
fn a_call_waits_no_longer_than_a_call_may_take() {
    let function = function(&["--queue", "2", "--timeout", "1"]).start();
    function.invoke("{}").success();
    let hang = r#"{"do": "sleep", "seconds": 30}"#;
    let calls: Vec<_> = (0..3).map(|_| function.begin("POST", INVOKE, &[], hang.as_bytes())).collect();
    let replies: Vec<_> = calls.into_iter().map(read_reply).collect();
    let throttled = replies.iter().filter(|reply| reply.status == 429).count();
    let timed_out = replies.iter().filter(|reply| reply.header("x-amz-function-error").is_some()).count();
    assert!(timed_out >= 1 && throttled >= 1 && timed_out + throttled == 3, "{timed_out} and {throttled}");
}

#[test]
fn a_slow_start_is_waited_for() {
    let function = function(&["--timeout", "1"]).env("INIT_SECONDS", "2.5").start();
    assert!(function.invoke(r#"{"do": "pid"}"#).success().is_i64());
}

#[test]
fn a_caller_who_hung_up_while_waiting_costs_no_run() {
    let function = function(&[]).start();
    let file = function.file("notes");
    let running = function.begin("POST", INVOKE, &[], br#"{"do": "sleep", "seconds": 1}"#);
    std::thread::sleep(Duration::from_millis(300));
    let left = function.begin("POST", INVOKE, &[], json!({"do": "note", "file": file}).to_string().as_bytes());
    std::thread::sleep(Duration::from_millis(200));
    drop(left);
    assert_eq!(read_reply(running).success(), "slept");
    function.invoke("{}").success();
    assert!(!file.exists());
}

#[test]
fn sizes_have_limits() {
    const MB: usize = 1024 * 1024;
    let function = function(&["--timeout", "30", "--event-retries", "0"]).start();
    let payload = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
    assert_eq!(function.invoke(payload(6 * MB)).status, 200);
    for size in [6 * MB + 1, 10 * MB] {
        let refused = function.invoke(payload(size));
        assert_eq!(refused.status, 413);
        assert_eq!(refused.header("x-amzn-errortype"), Some("RequestEntityTooLargeException"));
        let message = "Request must be smaller than 6291456 bytes for the InvokeFunction operation";
        assert_eq!(refused.json(), json!({"Type": "User", "message": message}));
    }
    let event = [("x-amz-invocation-type", "Event")];
    assert_eq!(function.invoke_with(&event, payload(MB).as_bytes()).status, 202);
    let refused = function.invoke_with(&event, payload(MB + 1).as_bytes());
    assert_eq!(refused.status, 413);
    assert_eq!(
        refused.json()["message"],
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    );

    let big = |bytes: usize| function.invoke(json!({"do": "big", "bytes": bytes}).to_string());
    assert_eq!(big(6 * MB + 100).success().as_str().unwrap().len(), 6 * MB + 98);
    assert_eq!(
        big(6 * MB + 101).failure(),
        json!({
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
        })
    );
    assert_eq!(function.invoke(r#"{"do": "what-was-it"}"#).success()[0], 413);
}

#[test]
fn what_is_no_call_is_refused() {
    let function = function(&[]).start();
    let bad = function.invoke("{not json");
    assert_eq!(bad.status, 400);
    assert_eq!(bad.header("x-amzn-errortype"), Some("InvalidRequestContentException"));
    assert!(bad.json()["message"].as_str().unwrap().starts_with("Could not parse request body into json: "));
    assert!(bad.header("x-amzn-requestid").is_some());

    let dry = function.invoke_with(&[("x-amz-invocation-type", "DryRun")], b"{}");
    assert_eq!((dry.status, dry.body.as_slice()), (204, b"".as_slice()));
    let odd = function.invoke_with(&[("x-amz-invocation-type", "Sometimes")], b"{}");
    assert_eq!((odd.status, odd.header("x-amzn-errortype")), (400, Some("InvalidParameterValueException")));
    let context = function.invoke_with(&[("x-amz-client-context", "???")], b"{}");
    assert_eq!((context.status, context.header("x-amzn-errortype")), (400, Some("InvalidRequestContentException")));
    for (method, path) in [("GET", INVOKE), ("POST", "/"), ("POST", "/2015-03-31/functions/f")] {
        assert_eq!(function.send(method, path, &[], b"").status, 404, "{method} {path}");
    }
    assert_eq!(function.send("GET", "/healthz", &[], b"").text(), "ok\n");
}

#[test]
fn the_end_of_the_log_comes_with_the_answer() {
    let function = function(&["--timeout", "1"]).start();
    let tail = [("x-amz-log-type", "Tail")];
    let log = |reply: &harness::Reply| {
        String::from_utf8(STANDARD.decode(reply.header("x-amz-log-result").unwrap()).unwrap()).unwrap()
    };
    let reply = function.invoke_with(&tail, br#"{"do": "print", "text": "first\nsecond"}"#);
    let (text, id) = (log(&reply), reply.header("x-amzn-requestid").unwrap());
    assert!(text.starts_with(&format!("START RequestId: {id} Version: $LATEST\n")), "{text}");
    for part in ["first\nsecond", "to stderr\n", &format!("END RequestId: {id}\nREPORT RequestId: {id}\tDuration: ")] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.contains("Max Memory Used: "), "{text}");
    // The next call's log is its own.
    let reply = function.invoke_with(&tail, b"{}");
    assert!(!log(&reply).contains("first"));
    // And only the last 4 KB are returned.
    let reply =
        function.invoke_with(&tail, json!({"do": "print", "text": "long ".repeat(4000)}).to_string().as_bytes());
    let text = log(&reply);
    assert!(text.len() == 4096 && text.contains("REPORT") && text.contains("long "), "{} bytes", text.len());
    // A failed call has a log, too.
    let reply = function.invoke_with(&tail, br#"{"do": "sleep", "seconds": 9}"#);
    assert!(log(&reply).contains("Task timed out after 1.00 seconds"));
    assert!(function.invoke("{}").header("x-amz-log-result").is_none());
    // What was printed is in our own output, as it was.
    function.wait_for_log("first\n");
    function.wait_for_log("to stderr\n");
}

#[test]
fn events_are_tried_again_and_then_dropped() {
    let function = function(&["--event-retry-delay", "1"]).start();
    let event = [("x-amz-invocation-type", "Event")];
    let file = function.file("notes");
    let fails = json!({"do": "note", "file": file, "fail": true}).to_string();
    let begun = Instant::now();
    let reply = function.invoke_with(&event, fails.as_bytes());
    assert_eq!((reply.status, reply.body.as_slice()), (202, b"".as_slice()));
    assert!(begun.elapsed() < Duration::from_millis(2500), "nobody waits for an event");
    let notes = || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
    function.wait_for_log("an event is dropped: it failed too often");
    assert!(begun.elapsed() >= Duration::from_secs(3), "1 s, then 2 s: {:?}", begun.elapsed());
    assert_eq!(notes(), 3);
    function.invoke_with(&event, json!({"do": "note", "file": file}).to_string().as_bytes());
    until("the second event has run", || notes() == 4);
}

#[test]
fn only_so_many_events_are_under_way() {
    let function = function(&["--event-queue", "2", "--event-retries", "0"]).start();
    let event = [("x-amz-invocation-type", "Event")];
    let slow = br#"{"do": "sleep", "seconds": 1}"#;
    assert_eq!(function.invoke_with(&event, slow).status, 202);
    assert_eq!(function.invoke_with(&event, slow).status, 202);
    let refused = function.invoke_with(&event, slow);
    assert_eq!((refused.status, refused.header("x-amzn-errortype")), (429, Some("TooManyRequestsException")));
    until("there is room again", || function.invoke_with(&event, slow).status == 202);
}

#[test]
fn a_runtime_that_speaks_out_of_turn_is_told() {
    let function = function(&[]).start();
    assert_eq!(function.invoke(r#"{"do": "echo", "twice": true}"#).status, 200);
    assert_eq!(
        function.invoke(r#"{"do": "what-was-it"}"#).success(),
        json!([400, {"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"}])
    );
    let early = function.invoke(r#"{"do": "next-too-early"}"#).success();
    assert_eq!((&early[0], &early[1]["errorType"]), (&json!(403), &json!("InvalidStateTransition")));
}

/// The messages of an event stream, each as its type and its payload; their checksums are botocore's to check.
fn messages(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let number = |bytes: &[u8]| usize::try_from(u32::from_be_bytes(bytes[..4].try_into().unwrap())).unwrap();
    while !bytes.is_empty() {
        let (total, headers) = (number(bytes), number(&bytes[4..]));
        let head = &bytes[12..12 + headers];
        let kind = ["PayloadChunk", "InvokeComplete"]
            .into_iter()
            .find(|kind| head.windows(kind.len()).any(|window| window == kind.as_bytes()))
            .expect("a known message");
        found.push((kind.to_owned(), bytes[12 + headers..total - 4].to_vec()));
        bytes = &bytes[total..];
    }
    found
}

fn end_of(messages: &[(String, Vec<u8>)]) -> Value {
    let (kind, payload) = messages.last().expect("a last message");
    assert_eq!(kind, "InvokeComplete");
    serde_json::from_slice(payload).unwrap()
}

fn payload_of(messages: &[(String, Vec<u8>)]) -> String {
    let chunks = messages.iter().filter(|(kind, _)| kind == "PayloadChunk");
    chunks.map(|(_, payload)| String::from_utf8_lossy(payload)).collect()
}

#[test]
fn a_streamed_answer_arrives_while_it_is_made() {
    let function = function(&["--timeout", "20"]).start();
    function.invoke("{}").success();
    let path = "/2021-11-15/functions/test/response-streaming-invocations";
    let event = json!({"do": "stream", "chunks": ["one ", "two ", "three"], "pause": 2});
    let begun = Instant::now();
    let socket = function.begin("POST", path, &[], event.to_string().as_bytes());
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("one ") {
        let mut some = [0; 1024];
        let read = (&socket).read(&mut some).unwrap();
        seen.extend_from_slice(&some[..read]);
    }
    assert!(begun.elapsed() < Duration::from_millis(3800), "{:?}", begun.elapsed());
    drop(socket);

    let reply = function.stream(&event.to_string());
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    assert_eq!(reply.header("x-amzn-remapped-content-type"), Some("text/plain"));
    let messages = messages(&reply.body);
    assert_eq!(payload_of(&messages), "one two three");
    assert_eq!(end_of(&messages), json!({}));
}

#[test]
fn a_stream_that_ends_badly_says_so() {
    let function = function(&["--timeout", "1"]).start();
    function.invoke("{}").success();
    let cases = [
        ("error", "Midway", "midway"),
        ("exit", "Runtime.ExitError", "exit status 7"),
        ("break", "Runtime.TruncatedResponse", "truncated"),
        ("hang", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    ];
    for (end, code, words) in cases {
        let reply = function.stream(&json!({"do": "stream", "chunks": ["some"], "end": end}).to_string());
        let messages = messages(&reply.body);
        assert_eq!(payload_of(&messages), "some", "{end}");
        let told = end_of(&messages);
        assert_eq!(told["ErrorCode"], code, "{end}: {told}");
        assert!(told["ErrorDetails"].as_str().unwrap().contains(words), "{end}: {told}");
    }
}

#[test]
fn streaming_and_buffering_meet() {
    let function = function(&[]).start();
    // A handler that does not stream, for a caller that would have it so.
    let reply = function.stream(r#"{"do": "pid"}"#);
    let all = messages(&reply.body);
    assert!(payload_of(&all).parse::<u32>().is_ok(), "{}", payload_of(&all));
    let reply = function.stream(r#"{"do": "raise", "text": "boom"}"#);
    let all = messages(&reply.body);
    assert_eq!((payload_of(&all).as_str(), &end_of(&all)["ErrorCode"]), ("", &json!("ValueError")));
    // A handler that streams, for a caller that waits for the whole.
    let whole = function.invoke(json!({"do": "stream", "chunks": ["[1,", "2]"]}).to_string());
    assert_eq!(whole.success(), json!([1, 2]));
    let failed = function.invoke(json!({"do": "stream", "chunks": ["[1,"], "end": "error"}).to_string());
    assert_eq!(failed.failure()["errorMessage"], "midway");
}

#[test]
fn told_to_stop_it_finishes_what_is_under_way() {
    let mut function = function(&[]).start();
    let pid = function.invoke(r#"{"do": "pid"}"#).success().as_i64().unwrap();
    let file = function.file("notes");
    let event = json!({"do": "note", "file": file, "seconds": 1}).to_string();
    assert_eq!(function.invoke_with(&[("x-amz-invocation-type", "Event")], event.as_bytes()).status, 202);
    let waiting = function.begin("POST", INVOKE, &[], br#"{"do": "sleep", "seconds": 1}"#);
    std::thread::sleep(Duration::from_millis(300));
    function.signal(Signal::TERM);
    assert_eq!(read_reply(waiting).success(), "slept");
    assert_eq!(function.ended().code(), Some(0));
    assert!(file.exists(), "the event ran");
    assert!(!alive(pid), "the handler's process is gone");
    assert!(std::net::TcpStream::connect(function.address).is_err());
}

#[test]
fn a_grace_has_an_end() {
    let mut function = function(&["--grace", "1", "--timeout", "60"]).start();
    let pid = function.invoke(r#"{"do": "pid"}"#).success().as_i64().unwrap();
    let hangs = function.begin("POST", INVOKE, &[], br#"{"do": "sleep", "seconds": 50}"#);
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    function.signal(Signal::TERM);
    assert_eq!(function.ended().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(!alive(pid), "the handler's process is gone");
    drop(hangs);
}
