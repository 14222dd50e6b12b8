//! Examples that do something, run as their first lines say.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};

use support::Files;

fn example(path: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/");
    std::fs::read_to_string(format!("{root}{path}")).unwrap()
}

#[test]
fn mock_templates() {
    let dev = Files::new().with("quotes.yaml", &example("mock-templates/quotes.yaml")).dev(&[]);
    dev.wait_ready();
    let mut client = dev.client();
    let answer = client.post("localhost", "/dev/quotes/lamp", r#"{"pieces": [2, 3]}"#).unwrap();
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let want = serde_json::json!({"item": "lamp", "pieces": 5, "stage": "dev", "currency": "EUR"});
    assert_eq!((answer.status, json), (200, want));
    assert!(answer.head.contains("x-total: 5\r\n"), "{}", answer.head);
    let answer = client.post("localhost", "/dev/quotes/lamp", "{}").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (400, r#"{"message": "how many lamps?"}"#));
}

#[test]
fn validation_tells_what_is_wrong() {
    let dev = Files::new().with("orders.yaml", &example("validation/orders.yaml")).dev(&[]);
    dev.wait_ready();
    let post = |path: &str, json: &str| {
        let response = dev.client().post("localhost", path, json).unwrap();
        (response.status, response.body.trim_end().to_owned())
    };
    let fine = r#"{"items": [{"name": "lamp", "count": 1}]}"#;
    assert_eq!(post("/dev/orders?shop=7", fine), (201, r#"{"placed": true}"#.to_owned()));
    let missing = r#"{"message":"Missing required request parameters: [shop]"}"#;
    assert_eq!(post("/dev/orders", fine), (400, missing.to_owned()));
    let faults = "[numeric instance is lower than the required minimum (minimum: 1, found: 0)]";
    assert_eq!(
        post("/dev/orders?shop=7", r#"{"items": [{"name": "lamp", "count": 0}]}"#),
        (400, format!("Invalid request body: {faults}"))
    );
}

#[test]
fn http_templates() {
    let (backend, requests) = answering(&[
        ("200 OK", r#"{"order": {"number": 17, "url": "/orders/17"}}"#),
        ("409 Conflict", r#"{"secret": "no lamps"}"#),
        ("503 Service Unavailable", "down"),
    ]);
    let text = example("http-templates/orders.yaml").replace("127.0.0.1:9000", &backend.to_string());
    let dev = Files::new().with("orders.yaml", &text).dev(&[]);
    dev.wait_ready();
    let mut client = dev.client();
    let body = r#"{"lines": [{"sku": "lamp", "count": 2}, {"sku": "a\"b", "count": 1}], "currency": "EUR"}"#;
    let mut post = || client.post("localhost", "/prod/customers/c7/orders", body).unwrap();

    let answer = post();
    let (head, sent) = requests.recv().unwrap();
    assert!(head.starts_with("post /v1/place/c7?source=gateway http/1.1\r\n"), "{head}");
    assert!(head.contains("x-currency: eur\r\n"), "{head}");
    let sent: serde_json::Value = serde_json::from_str(&sent).unwrap();
    let lines = serde_json::json!([{"article": "lamp", "amount": 2}, {"article": "a\"b", "amount": 1}]);
    assert_eq!(sent["positions"], lines);
    assert!(sent["requested"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!((answer.status, answer.body.as_str()), (201, "{\"id\": 17, \"state\": \"placed\"}\n"));
    assert!(answer.head.contains("location: /orders/17\r\n"), "{}", answer.head);

    let answer = post();
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &json["message"]), (422, &"not accepted".into()));
    assert!(answer.head.contains(&format!("x-amzn-requestid: {}", json["request"].as_str().unwrap())));
    let answer = post();
    assert_eq!((answer.status, answer.body.as_str()), (502, r#"{"message": "try again later"}"#));
}

#[test]
fn http_proxy() {
    let (backend, requests) = answering(&[("200 OK", "a file"), ("404 Not Found", "none")]);
    let text = example("http-proxy/files.yaml").replace("127.0.0.1:9000", &backend.to_string());
    let dev = Files::new().with("files.yaml", &text).dev(&[]);
    dev.wait_ready();
    let answer = dev.get("localhost", "/prod/files/docs/a%2Fb.txt?x=1");
    let (head, _) = requests.recv().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "a file"));
    assert!(head.starts_with("get /docs/a%2fb.txt?x=1 http/1.1\r\n") && head.contains("\r\nx-request: "), "{head}");
    let answer = dev.get("localhost", "/prod/files/none");
    assert_eq!((answer.status, answer.body.as_str()), (404, "none"));
}

#[test]
fn backend() {
    let (service, requests) = answering(&[("200 OK", "what there is"), ("200 OK", "a lamp")]);
    let service = format!("files.default:80={service}");
    let dev = Files::new().with("shop.yaml", &example("backend/shop.yaml")).dev(&["--service", &service]);
    dev.wait_ready();
    for (host, path, body, asked) in [
        ("localhost", "/prod/", "what there is", "get / http/1.1\r\n"),
        ("shop.localhost", "/files/lamp", "a lamp", "get /lamp http/1.1\r\n"),
    ] {
        let answer = dev.get(host, path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
        let (head, _) = requests.recv().unwrap();
        assert!(head.starts_with(asked), "{head}");
    }
}

#[test]
fn an_export_is_served_as_it_is() {
    let dev = Files::new().with("aws-export.json", &example("aws-export.json")).dev(&[]);
    dev.wait_ready();
    let answer = dev.get("localhost", "/dev/");
    assert_eq!((answer.status, answer.body.as_str()), (200, "<h1>Welcome to the pet store</h1>\n"));
}

/// A backend that gives these answers in turn, each on a connection of its own, and tells what it was asked.
fn answering(answers: &'static [(&str, &str)]) -> (SocketAddr, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).unwrap();
            }
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            let mut sent = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut sent).unwrap();
            let length = body.len();
            write!(
                stream.get_mut(),
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .unwrap();
            tell.send((head, String::from_utf8(sent).unwrap())).unwrap();
        }
    });
    (address, told)
}
