use super::Path;
use crate::json;

fn at(document: &str, path: &str) -> String {
    let document = json::parse(document).unwrap();
    match Path::compile(path) {
        Err(error) => format!("! {error}"),
        Ok(path) => match path.find(&document) {
            Ok(Some(value)) => value.to_json(),
            Ok(None) => "none".to_owned(),
            Err(error) => format!("! {error}"),
        },
    }
}

fn check(document: &str, rows: &[(&str, &str)]) {
    for (path, expected) in rows {
        assert_eq!(at(document, path), *expected, "{path}");
    }
}

#[test]
fn names_indexes_and_slices() {
    check(
        r#"{"a":1,"b":2,"o":{"k":{"m":1},"l":{"m":2}},"n":[1,2,3],"nul":null,"l":[{"b":1},{}]}"#,
        &[
            ("$['a','b']", r#"{"a":1,"b":2}"#),
            ("$.o['k','z']", r#"{"k":{"m":1}}"#),
            ("$.o['k','l'].m", "[1,2]"),
            ("$.n[0:2]", "[1,2]"),
            ("$.n[1:]", "[2,3]"),
            ("$.n[-2:]", "[2,3]"),
            ("$.n[:-1]", "[1,2]"),
            ("$.n[1:-1]", "[]"),
            ("$.n[-1]", "3"),
            ("$.n[7]", "none"),
            ("$.n[0,7]", "[1]"),
            ("$.o.*", r#"[{"m":1},{"m":2}]"#),
            ("$.n[*]", "[1,2,3]"),
            ("$.o[*]", r#"[{"m":1},{"m":2}]"#),
            ("$.nul", "null"),
            ("$.nul.x", "none"),
            ("$.x.y", "none"),
            ("$.l.b", "none"),
            ("$.l[*].b", "[1]"),
            ("$.l[*].b.c", "[]"),
            ("$..zz", "[]"),
            ("a", "1"),
            ("o.k", r#"{"m":1}"#),
            ("@.a", "1"),
            (" $.a ", "1"),
        ],
    );
}

#[test]
fn scans_go_outer_first() {
    check(
        r#"{"b":[{"t":"A","p":1,"x":[1,2]},{"t":"B","p":2.5}]}"#,
        &[
            ("$..t", r#"["A","B"]"#),
            ("$..b[0].t", r#"["A"]"#),
            ("$..x[*]", "[1,2]"),
            ("$..[?(@.p > 1)].t", r#"["B"]"#),
            (
                "$..*",
                r#"[[{"t":"A","p":1,"x":[1,2]},{"t":"B","p":2.5}],{"t":"A","p":1,"x":[1,2]},{"t":"B","p":2.5},"A",1,[1,2],1,2,"B",2.5]"#,
            ),
        ],
    );
}

#[test]
fn filters() {
    check(
        r#"{"k":1,"l":[{"b":1},{"b":null},{"s":"abc"},5]}"#,
        &[
            ("$.l[?(@.b)]", r#"[{"b":1},{"b":null}]"#),
            ("$.l[?(!@.b)]", r#"[{"s":"abc"},5]"#),
            ("$.l[?(@.b=='1')].b", "[1]"),
            ("$.l[?(@.b>0)].b", "[1]"),
            ("$.l[?(@.b in [1,2])]", r#"[{"b":1}]"#),
            ("$.l[?(@.s =~ /A.*/i)]", r#"[{"s":"abc"}]"#),
            ("$.l[?(@.s size 3)]", r#"[{"s":"abc"}]"#),
            ("$.l[?(@.b != 1)]", r#"[{"b":null},{"s":"abc"},5]"#),
            ("$.l[?(@.s empty true)]", "[]"),
            ("$.l[?(@.s contains 'b')]", r#"[{"s":"abc"}]"#),
            ("$.l[?(@.b == $.k)]", r#"[{"b":1}]"#),
            ("$.l[?(@['b'] == 1 || @.s == 'abc')]", r#"[{"b":1},{"s":"abc"}]"#),
            ("$.l[?(@.b == null)]", r#"[{"b":null}]"#),
            ("$..[?(@.b)]", r#"[{"b":1},{"b":null}]"#),
            ("$.l[?(@.b == 1 && (@.s || !@.s))]", r#"[{"b":1}]"#),
        ],
    );
}

#[test]
fn functions() {
    check(
        r#"{"n":[3,1,2],"o":{"k":1,"l":null},"s":"abc","b":[{"x":[1,2]},{"x":[1]}]}"#,
        &[
            ("$.n.avg()", "2.0"),
            ("$.n.sum()", "6.0"),
            ("$.n.min()", "1.0"),
            ("$.n.max() ", "3.0"),
            ("$.n.stddev()", "0.8164965809277263"),
            ("$.n.length()", "3"),
            ("$.n.size()", "3"),
            ("$.o.size()", "2"),
            ("$.length()", "4"),
            ("$.o.keys()", r#"["k","l"]"#),
            ("$.s.length()", "null"),
            ("$.s.concat(\"x\")", r#""x""#),
            ("$.zz.length()", "none"),
            ("$.b[*].x.length()", "[2,1]"),
            ("$.b[?(@.x.length() > 1)].x", "[[1,2]]"),
            ("$.sum($.n[0], $.n[1])", "4.0"),
            ("$.n.append(4)", "[3,1,2,4]"),
            ("$.n.first()", "3"),
            ("$.s.sum()", "! an aggregation function of the path found no numbers"),
        ],
    );
}

#[test]
fn names_may_hold_what_they_like() {
    check(
        r#"{"a-b":1,"a@b":2,"a:b":3,"é":4,"c d":{"e.f":5}}"#,
        &[("$.a-b", "1"), ("$.a@b", "2"), ("$.a:b", "3"), ("$[\"a-b\"]", "1"), ("$.é", "4"), ("$['c d']['e.f']", "5")],
    );
}

#[test]
fn bad_paths_say_where() {
    for path in ["", " ", "$.", "$..", "$.a.", "$[a]", "$a", "$.a b", "$.a[", "$.a[?(@.b == )]", "$.a.nope()", "$["] {
        assert!(at("{}", path).starts_with("! "), "{path}: {}", at("{}", path));
    }
    assert_eq!(at("{}", "$a"), "! expected `.` or `[` at character 2 of the path");
    assert!(at("{}", &format!("$[?({}@.a{})]", "(".repeat(500), ")".repeat(500))).contains("too deep"));
}

#[test]
fn a_payload_that_is_a_string_has_no_members() {
    check("a=b", &[("$", r#""a=b""#), ("$.x", "none"), ("$[0]", "none"), ("$..x", "[]")]);
}
