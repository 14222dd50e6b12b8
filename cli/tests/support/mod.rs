//! The real binary, and a client that sees what a client sees.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

/// Longer than anything should take, on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn stagegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagegate"));
    // What the developer's shell says must not change what a test sees.
    for name in ["RUST_LOG", "STAGEGATE_STATE", "STAGEGATE_HTTPS", "STAGEGATE_ADMIN", "STAGEGATE_CA_OUT"] {
        command.env_remove(name);
    }
    command
}

/// An API with one route, `GET /`, that answers with a text.
pub(crate) fn api(name: &str, text: &str) -> String {
    format!(
        "apiVersion: stagegate.dev/v1alpha1
kind: ApiDefinition
metadata: {{name: {name}}}
spec:
  openapi:
    openapi: 3.0.3
    info: {{title: {name}, version: '1'}}
    paths:
      /:
        get:
          responses: {{'200': {{description: fine}}}}
          x-amazon-apigateway-integration:
            type: mock
            requestTemplates: {{application/json: '{{\"statusCode\": 200}}'}}
            responses:
              default:
                statusCode: '200'
                responseTemplates: {{application/json: '{text}'}}
"
    )
}

/// A Stage of an API, with the API's name and as a host of its own.
pub(crate) fn stage(api: &str) -> String {
    format!(
        "apiVersion: stagegate.dev/v1alpha1
kind: Stage
metadata: {{name: {api}}}
spec:
  apiRef: {{name: {api}}}
  stageName: prod
  hosts: [{{name: {api}.test}}]
"
    )
}

/// A running `stagegate dev`. Its files are in `folder`.
pub(crate) struct Dev {
    child: Child,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    said: Arc<Mutex<String>>,
    home: Option<TempDir>,
}

/// Files for a gateway to be.
pub(crate) struct Files(pub(crate) TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("files")).unwrap();
        Self(home)
    }

    pub(crate) fn with(self, name: &str, text: &str) -> Self {
        write(&self.0.path().join("files").join(name), text);
        self
    }

    pub(crate) fn dev(self, arguments: &[&str]) -> Dev {
        Dev::start(self.0, arguments, None)
    }

    /// With the default state folder, in this folder of the user's data.
    pub(crate) fn dev_of(self, data: &Path) -> Dev {
        Dev::start(self.0, &[], Some(data))
    }
}

/// Writes as most programs do: opened, cut, written.
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// Writes as careful editors do: beside, then renamed.
pub(crate) fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, path).unwrap();
}

impl Dev {
    fn start(home: TempDir, arguments: &[&str], data: Option<&Path>) -> Self {
        let mut command = stagegate();
        command.args(["dev", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2"]);
        match data {
            Some(data) => command.env("XDG_DATA_HOME", data),
            None => command.arg("--state").arg(home.path().join("state")),
        };
        command.arg("--ca-out").arg(home.path().join("ca.pem"));
        command.args(arguments).arg(home.path().join("files"));
        let log = std::fs::File::create(home.path().join("access.log")).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(log).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let address = |before: &str| {
            let (_, rest) = first.split_once(before)?;
            rest.split([',', '\n']).next()?.parse().ok()
        };
        let (https, admin) = (address("serves https://"), address("admin port http://"));
        let said = Arc::new(Mutex::new(first.clone()));
        let hearing = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut said = hearing.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        let (Some(https), Some(admin)) = (https, admin) else { panic!("no addresses in {first:?}") };
        Self { child, https, admin, said, home: Some(home) }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home().join("files").join(name)
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.as_ref().unwrap().path()
    }

    /// Stops it, and gives its files back.
    pub(crate) fn stop(mut self) -> Files {
        self.signal("TERM");
        assert_eq!(self.wait_exit().code(), Some(0), "{}", self.said());
        Files(self.home.take().unwrap())
    }

    /// What it has written to standard error.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn wait_said(&self, text: &str) {
        wait(|| self.said().contains(text), || format!("{text:?} was not said: {}", self.said()));
    }

    /// Status and text of `/readyz`.
    pub(crate) fn readyz(&self) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").unwrap();
        let response = read_response(&mut BufReader::new(stream)).unwrap();
        (response.status, response.body)
    }

    pub(crate) fn wait_ready(&self) {
        wait(|| self.readyz().0 == 200, || format!("not ready: {:?}\n{}", self.readyz(), self.said()));
    }

    /// A connection for many requests.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.https, &self.home().join("ca.pem"), "localhost").unwrap()
    }

    /// One request on a connection of its own.
    pub(crate) fn get(&self, host: &str, path: &str) -> Response {
        let mut client = Client::connect(self.https, &self.home().join("ca.pem"), host).unwrap();
        client.get(host, path).unwrap()
    }

    pub(crate) fn wait_get(&self, host: &str, path: &str, wanted: impl Fn(&Response) -> bool) {
        wait(
            || wanted(&self.get(host, path)),
            || format!("{host}{path} answers {:?}\n{}", self.get(host, path), self.said()),
        );
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn wait(mut done: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{}", otherwise());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A keep-alive connection, HTTP/1.1 over TLS.
pub(crate) struct Client {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, ca: &Path, name: &str) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(StreamOwned::new(connection, stream)) })
    }

    pub(crate) fn get(&mut self, host: &str, path: &str) -> std::io::Result<Response> {
        self.send(host, path)?;
        read_response(&mut self.stream)
    }

    /// A request with headers of its own.
    pub(crate) fn get_with(&mut self, host: &str, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Response> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let stream = self.stream.get_mut();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")?;
        stream.flush()?;
        read_response(&mut self.stream)
    }

    pub(crate) fn send(&mut self, host: &str, path: &str) -> std::io::Result<()> {
        let stream = self.stream.get_mut();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        stream.flush()
    }

    /// A request with a JSON body.
    pub(crate) fn post(&mut self, host: &str, path: &str, body: &str) -> std::io::Result<Response> {
        self.request("POST", host, path, body)
    }

    /// The same with any verb.
    pub(crate) fn request(&mut self, method: &str, host: &str, path: &str, body: &str) -> std::io::Result<Response> {
        let stream = self.stream.get_mut();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        stream.flush()?;
        read_response(&mut self.stream)
    }

    /// When the first byte of the next answer came.
    pub(crate) fn first_byte(&mut self) -> std::io::Result<Instant> {
        self.stream.fill_buf()?;
        Ok(Instant::now())
    }

    pub(crate) fn receive(&mut self) -> std::io::Result<Response> {
        read_response(&mut self.stream)
    }
}

fn read_response(stream: &mut impl BufRead) -> std::io::Result<Response> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line.to_ascii_lowercase());
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let body = if let Some(length) = header("content-length:") {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body)?;
        body
    } else if header("transfer-encoding:") == Some("chunked") {
        read_chunks(stream)?
    } else {
        let mut body = Vec::new();
        stream.read_to_end(&mut body)?;
        body
    };
    Ok(Response { status, head, body: String::from_utf8(body).unwrap() })
}

fn read_chunks(stream: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend(&chunk[..length]);
    }
}
