use std::net::IpAddr;
use std::time::SystemTime;

use super::*;
use crate::observe::tests::Output;

fn line(path: &str) -> Line<'_> {
    Line { path: Some(path), ..Line::of(SystemTime::now(), IpAddr::from([192, 0, 2, 1]), Duration::ZERO) }
}

/// Waits for the writer's thread.
fn until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "it has not happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn pieces_arrive_whole_and_in_order() {
    let output = Output::default();
    let log = AccessLog::to(output.clone()).unwrap();
    let (core, dropped) = (log.core().unwrap(), Counter::default());
    for index in 0..5000 {
        core.line(&line(&format!("/{index}")), &dropped);
        if index % 100 == 0 {
            until(|| core.flush());
        }
    }
    drop(core);
    assert_eq!(log.close(Duration::from_secs(10)), Closed::Written);
    assert_eq!(dropped.get(), 0);
    let text = output.text();
    assert_eq!(text.lines().count(), 5000);
    for (index, line) in text.lines().enumerate() {
        assert!(line.contains(&format!("\"path\":\"/{index}\"")), "{line}");
    }
}

#[test]
fn a_blocked_output_drops_and_counts() {
    let output = Output::default();
    output.block(true);
    let log = AccessLog::to(output.clone()).unwrap();
    let (core, dropped) = (log.core().unwrap(), Counter::default());
    let path = "x".repeat(1000);
    let total = 20_000;
    let started = Instant::now();
    for _ in 0..total {
        core.line(&line(&path), &dropped);
    }
    assert!(started.elapsed() < Duration::from_secs(30), "a request waited for its line");
    assert!(dropped.get() > 0);
    assert!(!core.flush());
    assert_eq!(log.close(Duration::from_millis(20)), Closed::Blocked);

    output.block(false);
    until(|| core.flush());
    assert_eq!(log.close(Duration::from_secs(10)), Closed::Written);
    assert_eq!(output.text().lines().count() as u64 + dropped.get(), total);
}

#[test]
fn a_broken_output_counts_what_it_lost() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = AccessLog::to(Broken).unwrap();
    let (core, dropped) = (log.core().unwrap(), Counter::default());
    for _ in 0..3 {
        core.line(&line("/"), &dropped);
    }
    assert!(core.flush());
    assert_eq!(log.close(Duration::from_secs(10)), Closed::Written);
    assert_eq!(log.lost().unwrap().load(Ordering::Relaxed), 3);
}

#[test]
fn an_output_that_takes_little_at_a_time_gets_everything() {
    struct Slow(Output, u32);
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1 += 1;
            match self.1 % 3 {
                0 => Err(ErrorKind::WouldBlock.into()),
                1 => Err(ErrorKind::Interrupted.into()),
                _ => self.0.write(&bytes[..bytes.len().min(40)]),
            }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let output = Output::default();
    let log = AccessLog::to(Slow(output.clone(), 0)).unwrap();
    let core = log.core().unwrap();
    core.line(&line("/one"), &Counter::default());
    core.line(&line("/two"), &Counter::default());
    drop(core);
    assert_eq!(log.close(Duration::from_secs(10)), Closed::Written);
    assert_eq!(output.text().lines().count(), 2);
    assert!(output.text().ends_with("}\n"));
}

#[test]
fn no_log() {
    assert!(AccessLog::off().core().is_none());
    assert_eq!(AccessLog::off().close(Duration::ZERO), Closed::Written);
}
