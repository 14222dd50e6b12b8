//! API keys in `stagegate dev` and `stagegate lint`.
#![allow(clippy::unwrap_used, reason = "a test's helpers may panic too")]

mod support;

use support::{Dev, Files, replace, stagegate, wait};

const KEY: &str = "on-a-laptop-only-1f0c9b7e";

fn example() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/api-keys/partners.yaml");
    std::fs::read_to_string(path).unwrap()
}

fn call(dev: &Dev, path: &str, key: &str) -> (u16, serde_json::Value) {
    let headers = [("x-api-key", key)];
    let headers = if key.is_empty() { &[] } else { &headers[..] };
    let answer = dev.client().get_with("localhost", path, headers).unwrap();
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

#[test]
fn the_example_knows_its_partners_until_they_are_switched_off() {
    let dev = Files::new().with("partners.yaml", &example()).dev(&[]);
    dev.wait_ready();
    assert_eq!(dev.readyz().1, "ready\n");
    let fine = serde_json::json!({"lamp": 12, "for": "acme"});
    let refused = serde_json::json!({"message": "send your key in the header x-api-key"});
    assert_eq!(call(&dev, "/prod/status", "").0, 200);
    assert_eq!(call(&dev, "/prod/prices", ""), (403, refused.clone()));
    assert_eq!(call(&dev, "/prod/prices", "another-key-0123456789"), (403, refused));
    assert_eq!(call(&dev, "/prod/prices", KEY), (200, fine));

    let status = |key: &str| call(&dev, "/prod/prices", key).0;
    let becomes = |text: &str, key: &str, wanted: u16| {
        replace(&dev.file("partners.yaml"), text);
        wait(|| status(key) == wanted, || format!("{wanted} does not come: {}", dev.said()));
    };
    // Off, and on again.
    let label = "  labels: {plan: gold}\n";
    becomes(
        &example().replace(label, &format!("{label}  annotations: {{stagegate.dev/enabled: 'false'}}\n")),
        KEY,
        403,
    );
    becomes(&example(), KEY, 200);
    // Another plan, another key, another Stage, no Secret at all.
    becomes(&example().replace(label, "  labels: {plan: silver}\n"), KEY, 403);
    becomes(&example().replace(KEY, "a-new-key-0123456789"), "a-new-key-0123456789", 200);
    assert_eq!(status(KEY), 403);
    becomes(&example(), KEY, 200);
    becomes(&example().replace("stages: [{name: partners-prod}]", "stages: [{name: gone}]"), KEY, 403);
    becomes(&example(), KEY, 200);
    let (without, _) = example().rsplit_once("---\n").map(|(text, rest)| (text.to_owned(), rest.len())).unwrap();
    becomes(&without, KEY, 403);

    // The log names keys by their ids and shows none.
    let files = dev.stop();
    let log = std::fs::read_to_string(files.0.path().join("access.log")).unwrap();
    assert!(log.contains(r#""apiKeyId":"acme""#) && log.contains("InvalidApiKey"), "{log}");
    assert!(!log.contains(KEY) && !log.contains("a-new-key"), "{log}");
}

#[test]
fn what_is_wrong_with_keys_is_said_without_them() {
    let secret = |name: &str, entries: &str| {
        format!(
            "---\nkind: Secret\napiVersion: v1\ntype: stagegate.dev/api-key\nmetadata: {{name: {name}, labels: {{plan: gold}}}}\nstringData: {{{entries}}}\n"
        )
    };
    let text = example()
        + &secret("short", "key: secret-of-19-chars")
        + &secret("second", &format!("key: {KEY}"))
        + &secret("number", "key: 12345678901234567890");
    let files = Files::new().with("partners.yaml", &text);
    let folder = files.0.path().join("files");
    let output = stagegate().arg("lint").arg(folder).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["error[InvalidApiKey]", "has 18 characters", "error[DuplicateApiKey]", "partners.yaml:"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("12345678901234567890"), "{said}");
    assert!(!said.contains("secret-of") && !said.contains(KEY), "{said}");
}
