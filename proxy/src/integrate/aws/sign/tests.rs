use serde_json::Value;

use super::*;

/// Amazon's own test suite, as it comes with its signer; see the file's first entry.
const VECTORS: &str = include_str!("vectors.json");

/// What a request line cannot hold.
const WITHOUT_SPACES: &AsciiSet = &percent_encoding::CONTROLS.add(b' ');

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

fn keys(id: &str, secret: &str, token: Option<&str>) -> Keys {
    Keys::new(id.to_owned(), secret.to_owned(), token.map(str::to_owned), None)
}

fn date() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_440_938_160)
}

#[test]
fn the_official_vectors() {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    let mut compared = 0;
    for vector in &vectors[1..] {
        let name = text(vector, "/name");
        let context = &vector["context"];
        assert_eq!(text(context, "/timestamp"), "2015-08-30T12:36:00Z", "{name}");
        let token = context.pointer("/credentials/token").and_then(Value::as_str);
        let keys =
            keys(text(context, "/credentials/access_key_id"), text(context, "/credentials/secret_access_key"), token);
        let (head, body) = text(vector, "/request").split_once("\n\n").unwrap_or((text(vector, "/request"), ""));
        let mut lines = head.lines();
        let line = lines.next().unwrap();
        let (method, rest) = line.split_once(' ').unwrap();
        let uri = rest.rsplit_once(' ').unwrap().0;
        // A request line has escapes where these have the character itself, which is then escaped just once.
        let raw = uri.contains([' ', '%']) || !uri.is_ascii();
        let escaped = percent_encoding::utf8_percent_encode(uri, WITHOUT_SPACES).to_string();
        let path: PathAndQuery = escaped.parse().unwrap();
        let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
        // A header over several lines cannot be sent in HTTP/1.1 of today.
        if head.lines().skip(1).any(|line| line.starts_with(' ')) {
            continue;
        }
        let mut settings = settings("service");
        if raw {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
        }
        if context["normalize"] == false {
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        if context["omit_session_token"] == true {
            settings.session_token_mode = SessionTokenMode::Exclude;
        }
        if context["sign_body"] == true {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let method = method.parse::<Method>().unwrap();
        let request = Unsigned { method: &method, path: &path, body: body.as_bytes() };
        let scope = Scope { service: text(context, "/service"), region: text(context, "/region") };
        let made = calculate(&keys, scope, request, headers.into_iter(), settings, date()).unwrap();
        let authorization = &made.iter().find(|(name, _)| *name == "authorization").unwrap().1;
        let wanted = text(vector, "/signature");
        assert!(authorization.ends_with(&format!("Signature={wanted}")), "{name}: {authorization}, wanted {wanted}");
        compared += 1;
    }
    assert!(compared >= 34, "only {compared} vectors could be compared");
}

#[test]
fn what_is_signed_and_set() {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("states.eu-west-1.amazonaws.com"));
    headers.insert("x-amz-target", HeaderValue::from_static("AWSStepFunctions.StartExecution"));
    headers.insert("x-other", HeaderValue::from_static("changes on the way"));
    headers.insert("authorization", HeaderValue::from_static("the client's"));
    let path = PathAndQuery::from_static("/");
    let request = Unsigned { method: &Method::POST, path: &path, body: b"{}" };
    let scope = Scope { service: "states", region: "eu-west-1" };
    sign(&keys("AKIDEXAMPLE", "secret", Some("token")), scope, request, &mut headers, date()).unwrap();
    let authorization = headers["authorization"].to_str().unwrap();
    assert!(
        authorization.starts_with(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/states/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-security-token;x-amz-target, Signature="
        ),
        "{authorization}"
    );
    assert_eq!(headers["x-amz-date"], "20150830T123600Z");
    assert_eq!(headers["x-amz-security-token"], "token");
    assert!(!headers.contains_key("x-amz-content-sha256"));
    assert!(!format!("{headers:?}").contains("Signature="), "what is secret is marked so");
}

#[test]
fn s3_wants_the_hash_of_the_payload_and_its_path_as_it_is() {
    let signature = |service, path: &'static str| {
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("h"))]);
        let path = PathAndQuery::from_static(path);
        let request = Unsigned { method: &Method::GET, path: &path, body: b"" };
        let scope = Scope { service, region: "r" };
        sign(&keys("A", "s", None), scope, request, &mut headers, date()).unwrap();
        let hash = headers.get("x-amz-content-sha256").map(|value| value.to_str().unwrap().to_owned());
        (headers["authorization"].to_str().unwrap().to_owned(), hash)
    };
    let (plain, hash) = signature("s3", "/b/a//c");
    assert_eq!(hash.as_deref(), Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    assert_ne!(plain, signature("s3", "/b/a/c").0);
    assert_eq!(signature("sqs", "/b/a//c"), signature("sqs", "/b/a/c"));
    for (sent, escaped) in [("/b/a%2Fc", "/b/a/c"), ("/b/a+c@d", "/b/a%2Bc%40d"), ("/b/%7Ea?x=%2F", "/b/~a?x=%2F")] {
        assert_eq!(signature("s3", sent), signature("s3", escaped), "{sent}");
    }
    assert_ne!(signature("sqs", "/b/a%2Fc"), signature("sqs", "/b/a/c"));
}
