//! Starts the real binary and speaks plain HTTP/1.1 to it over a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) struct Function {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    /// Gone with the function.
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) struct Builder {
    options: Vec<String>,
    command: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<PathBuf>,
}

pub(crate) fn function(options: &[&str]) -> Builder {
    let handler = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/function/handler.py");
    Builder {
        options: options.iter().map(|&option| option.to_owned()).collect(),
        command: vec!["python3".into(), "-S".into(), handler.display().to_string()],
        environment: Vec::new(),
        directory: None,
    }
}

impl Builder {
    pub(crate) fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn directory(mut self, directory: PathBuf) -> Self {
        self.directory = Some(directory);
        self
    }

    pub(crate) fn process(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stagegate"));
        command.args(["function", "--listen", "127.0.0.1:0"]).args(&self.options).arg("--").args(&self.command);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_LAMBDA_RUNTIME_API", "RUST_LOG"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(self) -> Function {
        let mut child = self.process().spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "ended before it listened: {}", log.lock().unwrap());
            log.lock().unwrap().push_str(&line);
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split_once(": ").unwrap().0.parse().unwrap();
            }
        };
        collect(lines, Arc::clone(&log));
        collect(BufReader::new(child.stdout.take().unwrap()), Arc::clone(&log));
        Function { child, address, log, directory: tempfile::tempdir().unwrap() }
    }
}

fn collect(mut from: impl BufRead + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut line = String::new();
        while from.read_line(&mut line).unwrap_or(0) > 0 {
            log.lock().unwrap().push_str(&line);
            line.clear();
        }
    });
}

impl Function {
    /// Calls it and waits for the answer.
    pub(crate) fn invoke(&self, event: impl AsRef<str>) -> Reply {
        self.invoke_with(&[], event.as_ref().as_bytes())
    }

    pub(crate) fn invoke_with(&self, headers: &[(&str, &str)], payload: &[u8]) -> Reply {
        self.send("POST", "/2015-03-31/functions/test/invocations", headers, payload)
    }

    pub(crate) fn stream(&self, event: &str) -> Reply {
        self.send("POST", "/2021-11-15/functions/test/response-streaming-invocations", &[], event.as_bytes())
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], payload: &[u8]) -> Reply {
        read_reply(self.begin(method, path, headers, payload))
    }

    /// Sends a request and leaves the answer in the socket.
    pub(crate) fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], payload: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", payload.len()));
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(payload).expect("the payload is taken, if only to be refused");
        socket
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        until(&format!("{text:?} in the log"), || self.log().contains(text));
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Waits until the program has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- its log:\n{}---", self.log());
        }
        // Asked rather than killed, so that it ends its processes.
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::INT);
            std::thread::sleep(Duration::from_millis(20));
            self.signal(Signal::INT);
            self.ended();
        }
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.text()))
    }

    /// What came of a call that succeeded.
    pub(crate) fn success(&self) -> Value {
        assert_eq!((self.status, self.header("x-amz-function-error")), (200, None), "{}", self.text());
        self.json()
    }

    /// The error of a call that failed in the function.
    pub(crate) fn failure(&self) -> Value {
        assert_eq!((self.status, self.header("x-amz-function-error")), (200, Some("Unhandled")), "{}", self.text());
        self.json()
    }
}

pub(crate) fn read_reply(mut socket: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).expect("an answer in time");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply { status, head, body: bytes.split_off(end) };
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = unchunked(&reply.body);
    }
    reply
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = bytes.windows(2).position(|two| two == b"\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 2 + size + 2..];
    }
}

pub(crate) fn until(what: &str, mut true_now: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !true_now() {
        assert!(begun.elapsed() < Duration::from_secs(15), "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn alive(pid: i64) -> bool {
    // A process that nobody has reaped yet is dead all the same.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Where it is, if it is there; else says so.
pub(crate) fn installed(what: &str, path: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let found = cache.map(|cache| cache.join("stagegate").join(path)).filter(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: {what} is not installed; e2e/functions/install does it");
    }
    found
}
