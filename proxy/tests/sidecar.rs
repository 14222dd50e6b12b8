//! A sidecar: plain HTTP, and the files of a mounted Secret.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use bundle::host::CLIENT_CA;
use bundle::object::{Index, Subject};
use bundle::route::Refusal;
use bundle::{Certificate, Encoded, HostBundle, HostTable};
use proxy::source::mounted;
use support::backend::Echo;
use support::{one_backend, start_plain};

const CLOSED: [&str; 2] = ["partners.example.test", "unlinked.example.test"];

/// As the operator writes it.
fn save(folder: &Path, name: &str, subject: Subject, encoded: Encoded) {
    let Encoded { format, digest, payload } = encoded;
    for (entry, bytes) in Index::new(subject, format, digest).pack(payload).index {
        std::fs::write(folder.join(format!("{name}.{entry}")), bytes).expect("written");
    }
}

fn status(address: SocketAddr, host: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("accepted");
    let request = format!("GET /prod/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[test]
fn it_answers_for_every_host_but_those_that_ask_for_client_certificates() {
    let (echo, folder) = (Echo::start(), tempfile::tempdir().expect("a folder"));
    let stage = one_backend(echo.url(), 1 << 20).stages.remove(0);
    save(
        folder.path(),
        "stage",
        Subject::Stage(stage.key.clone()),
        bundle::encode(&*stage, bundle::FORMAT).expect("a bundle"),
    );
    for (number, host) in CLOSED.into_iter().enumerate() {
        let message = "a sidecar speaks no TLS".to_owned();
        let mut closed = HostBundle {
            host: host.to_owned(),
            certificate: Certificate::Local,
            refuse: Some(Refusal { reason: "SidecarWithoutTls".to_owned(), message }),
            requires: Default::default(),
            client_ca: None,
            table: HostTable::Custom { base_paths: Vec::new() },
        };
        if number > 0 {
            // Nor would it answer if it were told to ask.
            closed.refuse = None;
            closed.requires.insert(CLIENT_CA.to_owned());
        }
        let encoded = bundle::encode(&closed, bundle::FORMAT).expect("a bundle");
        save(folder.path(), &format!("host-{number}"), Subject::Host(host.to_owned()), encoded);
    }
    let proxy = start_plain();
    let address = proxy.https_address();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let following = mounted::follow(folder.path().to_owned(), &proxy);
            drop(runtime.block_on(async { tokio::time::timeout(Duration::from_secs(3), following).await }));
        });
        let deadline = Instant::now() + Duration::from_secs(3);
        while status(address, "localhost") != 200 {
            assert!(Instant::now() < deadline, "the stage is not served");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(CLOSED.map(|host| status(address, host)), [500, 500]);
        assert_eq!(status(address, "anything.example.test"), 200);
    });
    assert_eq!(echo.requests(), 2);
}
