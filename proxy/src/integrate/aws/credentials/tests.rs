use std::collections::BTreeMap;
use std::future::Future;

use bundle::BundleSet;
use bundle::aws::{AccessKey, Credentials as Written};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::LocalOptions;

use super::*;
use crate::fixture;

fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), test).await.expect("the test ends in time");
    });
}

/// A server that gives one answer again and again, and keeps what it was asked.
struct Server {
    url: String,
    asked: Rc<RefCell<Vec<String>>>,
    answer: Rc<RefCell<String>>,
}

async fn server(answer: String) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Rc::<RefCell<Vec<String>>>::default();
    let answer = Rc::new(RefCell::new(answer));
    let (told, given) = (Rc::clone(&asked), Rc::clone(&answer));
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (told, given) = (Rc::clone(&told), Rc::clone(&given));
            tokio::task::spawn_local(async move {
                let mut read = Vec::new();
                loop {
                    let mut buffer = [0; 4096];
                    let Ok(length @ 1..) = stream.read(&mut buffer).await else { return };
                    read.extend_from_slice(&buffer[..length]);
                    let text = String::from_utf8_lossy(&read).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let head = head.to_ascii_lowercase();
                    let wanted = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                    if body.len() < wanted.unwrap_or(0) {
                        continue;
                    }
                    told.borrow_mut().push(text);
                    read.clear();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let answer = given.borrow().clone();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    Server { url, asked, answer }
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn in_seconds(seconds: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    jiff::Timestamp::from_second(now + seconds).unwrap().to_string()
}

fn of_sts(id: &str, seconds: i64) -> String {
    let expires = in_seconds(seconds);
    let xml = format!(
        "<R xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><X><Credentials>\n <AccessKeyId>{id}</AccessKeyId>\n \
         <SecretAccessKey>s3cr3t</SecretAccessKey>\n <SessionToken>t0k3n</SessionToken>\n \
         <Expiration>{expires}</Expiration></Credentials></X></R>"
    );
    http("200 OK", &xml)
}

fn core(environment: &[(&str, &str)]) -> Rc<Core> {
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    let (mut core, _) = fixture::core(&BundleSet::default());
    let read = Environment::read(|name| environment.get(name).map(|value| (*value).to_owned()));
    Rc::get_mut(&mut core).unwrap().aws = Credentialed::new(read);
    core
}

fn aws(credentials: Written, sts: Option<&str>) -> Aws {
    let mut stage = fixture::stage("prod", &[]);
    stage.aws.credentials = credentials;
    stage.aws.endpoints = sts.into_iter().map(|url| ("sts".to_owned(), url.to_owned())).collect();
    Aws::parse(&stage)
}

fn key() -> Written {
    Written::Key(AccessKey { id: "AKIASTAGE".into(), secret: "s".into(), session_token: None })
}

fn id(keys: &Keys) -> String {
    keys.credentials().access_key_id().to_owned()
}

#[test]
fn the_stages_key_comes_before_the_environments_and_a_missing_one_is_nobodys() {
    run(async {
        let core = core(&[("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "s")]);
        assert_eq!(id(&keys(&core, &aws(key(), None), None).await.unwrap()), "AKIASTAGE");
        assert_eq!(id(&keys(&core, &aws(Written::Environment, None), None).await.unwrap()), "AKIAENV");
        let missing = Written::Missing { secret: "aws".into() };
        let error = keys(&core, &aws(missing.clone(), None), None).await.unwrap_err();
        assert!(matches!(error, Rejection::Configuration(text) if text.contains("`aws`")));
        assert!(keys(&core, &aws(missing, Some("http://127.0.0.1:9")), Some("arn:x")).await.is_err());
        assert!(keys(&self::core(&[]), &aws(Written::Environment, None), None).await.is_err());
    });
}

#[test]
fn a_role_is_assumed_once_however_many_ask_and_whoever_leaves() {
    run(async {
        let sts = server(of_sts("ASIAROLE", 3600)).await;
        let core = core(&[]);
        let aws = Rc::new(aws(key(), Some(&sts.url)));
        let left = {
            let (core, aws) = (Rc::clone(&core), Rc::clone(&aws));
            tokio::task::spawn_local(async move { keys(&core, &aws, Some("arn:role")).await.is_ok() })
        };
        tokio::task::yield_now().await;
        left.abort();
        let all = (0..8).map(|_| {
            let (core, aws) = (Rc::clone(&core), Rc::clone(&aws));
            tokio::task::spawn_local(async move { id(&keys(&core, &aws, Some("arn:role")).await.unwrap()) })
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), "ASIAROLE");
        }
        let asked = sts.asked.borrow();
        assert_eq!(asked.len(), 1);
        assert!(asked[0].contains("Credential=AKIASTAGE/") && asked[0].contains("/eu-west-1/sts/aws4_request"));
        assert!(
            asked[0].ends_with("Version=2011-06-15&Action=AssumeRole&RoleArn=arn%3Arole&RoleSessionName=stagegate")
        );
    });
}

#[test]
fn keys_are_renewed_ahead_while_the_old_ones_serve() {
    run(async {
        let sts = server(of_sts("ASIAOLD", 120)).await;
        let core = core(&[]);
        let aws = aws(key(), Some(&sts.url));
        assert_eq!(id(&keys(&core, &aws, Some("arn:role")).await.unwrap()), "ASIAOLD");
        *sts.answer.borrow_mut() = of_sts("ASIANEW", 3600);
        // Two minutes are left: it serves, and is renewed meanwhile.
        assert_eq!(id(&keys(&core, &aws, Some("arn:role")).await.unwrap()), "ASIAOLD");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(id(&keys(&core, &aws, Some("arn:role")).await.unwrap()), "ASIANEW");
        assert_eq!(sts.asked.borrow().len(), 2);
    });
}

#[test]
fn a_refusal_is_not_asked_for_again_at_once_and_tells_no_secret() {
    run(async {
        let sts = server(http("403 Forbidden", "<E><Error><Code>AccessDenied</Code></Error></E>")).await;
        let core = core(&[]);
        let aws = aws(key(), Some(&sts.url));
        for _ in 0..5 {
            let error = keys(&core, &aws, Some("arn:role")).await.unwrap_err();
            assert_eq!(
                error,
                Rejection::Configuration(
                    "no AWS credentials: the role `arn:role`: STS answered 403 AccessDenied".into()
                )
            );
        }
        assert_eq!(sts.asked.borrow().len(), 1);
    });
}

#[test]
fn a_web_identity() {
    run(async {
        let sts = server(of_sts("ASIAWEB", 3600)).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "the.web.token\n").unwrap();
        let file = file.to_str().unwrap();
        let core = core(&[
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", file),
            ("AWS_ENDPOINT_URL_STS", &sts.url),
        ]);
        assert_eq!(id(&keys(&core, &aws(Written::Environment, None), None).await.unwrap()), "ASIAWEB");
        let asked = sts.asked.borrow()[0].clone();
        assert!(asked.contains("Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fpod&"));
        assert!(asked.ends_with("&WebIdentityToken=the.web.token") && !asked.contains("AWS4-HMAC-SHA256"));
    });
}

#[test]
fn a_containers_endpoint() {
    run(async {
        let expires = in_seconds(3600);
        let json =
            format!(r#"{{"AccessKeyId":"ASIAPOD","SecretAccessKey":"s3cr3t","Token":"t","Expiration":"{expires}"}}"#);
        let endpoint = server(http("200 OK", &json)).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "pod-token").unwrap();
        let url = format!("{}/v1/credentials", endpoint.url);
        let core = core(&[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
        ]);
        let keys = keys(&core, &aws(Written::Environment, None), None).await.unwrap();
        assert_eq!(id(&keys), "ASIAPOD");
        let asked = endpoint.asked.borrow()[0].to_ascii_lowercase();
        assert!(asked.starts_with("get /v1/credentials http/1.1\r\n"), "{asked}");
        assert!(asked.contains("authorization: pod-token\r\n"), "{asked}");
        let shown = format!("{keys:?}");
        assert!(shown.contains("ASIAPOD") && !shown.contains("s3cr3t"), "{shown}");
    });
}

#[test]
fn there_is_an_end_of_roles() {
    let credentialed = Credentialed::new(Environment::default());
    let aws = aws(key(), Some("http://127.0.0.1:9"));
    let wanted = |number: usize| Wanted {
        caller: aws.caller.clone(),
        role: Some(Role {
            arn: format!("arn:{number}").into(),
            sts: aws.endpoint("sts", "eu-west-1").unwrap(),
            region: "eu-west-1".into(),
        }),
    };
    let fill = |from: usize, expires: Option<SystemTime>| {
        (from..=from + MAX_KEYS).all(|number| {
            let slot = credentialed.slot(&wanted(number));
            if let Ok(slot) = &slot {
                slot.state.borrow_mut().keys = Some(Rc::new(Keys::new("A".into(), "s".into(), None, expires)));
            }
            slot.is_ok()
        })
    };
    // Keys that have ended make room; those that have not do not.
    assert!(fill(0, Some(SystemTime::now())));
    assert!(!fill(MAX_KEYS * 2, None));
    assert!(credentialed.slots.borrow().len() <= MAX_KEYS);
}
