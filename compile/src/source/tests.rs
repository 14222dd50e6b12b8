use super::*;

const STREAM: &str = "---\nkind: A\nspec:\n  hosts:\n  - name: x\n  - {name: y.example}\n---\n---\nkind: B\npaths:\n  /a~b/{x}: {get: 1}\n";

#[test]
fn a_stream_is_read_and_located() {
    let document = Document::new("x.yaml", STREAM);
    let values = document.values().unwrap();
    assert_eq!(values.len(), 2, "{values:?}");
    assert_eq!(document.locate(0, "/spec/hosts/1/name"), Location { line: 6, column: 6 });
    assert_eq!(document.locate(0, "/spec/hosts/0"), Location { line: 5, column: 5 });
    assert_eq!(document.locate(1, "/paths/~1a~0b~1{x}/get"), Location { line: 11, column: 14 });
    assert_eq!(document.locate(1, "/paths/nowhere"), Location { line: 10, column: 1 });
    assert_eq!(document.line(9), Some("kind: B"));
}

#[test]
fn json_is_read_as_json_and_located() {
    let document = Document::new("x.json", "{\n  \"a\": {\"b\": [1, 2]}\n}");
    assert_eq!(document.value().unwrap()["a"]["b"][1], 2);
    assert_eq!(document.locate(0, "/a/b/1"), Location { line: 2, column: 18 });
}

#[test]
fn errors_say_where() {
    assert_eq!(Document::parse("x", "{\"a\": 1,\n \"b\" 2}").unwrap_err().line, 2);
    assert_eq!(Document::parse("x", "a: 1\nb: [1, 2\n").unwrap_err().line, 2);
    assert!(Document::parse("x", "a: 1\na: 2\n").unwrap_err().message.contains("duplicate"));
}

#[test]
fn numbers_are_keys_and_versions() {
    let value = Document::parse("x", "swagger: 2.0\nresponses:\n  200: {}\n").unwrap();
    assert_eq!(value["swagger"], 2.0);
    assert!(value["responses"]["200"].is_object());
}

#[test]
fn booleans_of_yaml_1_1_are_noted() {
    let document = Document::new("x.yaml", "a: no\nb: 'no'\nlist: [on, norway]\ny: 1\nc: true\nd: \"a yes\"\n");
    let found: Vec<_> =
        document.ambiguities().iter().map(|found| (found.text.as_str(), found.pointer.as_str())).collect();
    assert_eq!(found, [("no", "/a"), ("on", "/list/0"), ("y", "/y")]);
    assert!(Document::new("x.yaml", "a: nothing\n").ambiguities().is_empty());
}
