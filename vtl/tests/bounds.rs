//! A rendering never panics and never runs away, and says where it failed.

#![allow(clippy::unwrap_used, reason = "helpers of tests, not only tests, unwrap here")]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use vtl::{Error, Input, Kind, Limits, Overrides, Scope, Template, Text, Value};

fn scope<'a>(body: &'a str, overrides: &Overrides) -> Scope<'a> {
    let pair = |name: &'static str, value| (Text::from_static(name), value);
    Scope {
        input: Input::of_body(body),
        context: Value::sealed([
            pair("stage", Value::from("prod")),
            pair("requestOverride", overrides.request.clone()),
            pair("responseOverride", overrides.response.clone()),
        ]),
        stage_variables: Value::map([pair("a", Value::from("b"))]),
    }
}

fn render_over(template: &str, body: &str) -> Result<String, Error> {
    let template = Template::parse("t", template)?;
    template.render(&mut scope(body, &Overrides::new()), &Limits::default())
}

fn render(template: &str) -> Result<String, Error> {
    render_over(template, "{}")
}

fn kind(template: &str) -> Kind {
    let start = Instant::now();
    let error = render(template).expect_err(template);
    assert!(start.elapsed() < Duration::from_secs(5), "{template} took {:?}", start.elapsed());
    error.kind
}

#[test]
fn errors_name_template_line_and_column_and_what_to_do() {
    let error = render("{\n  #if($a)\n  \"é\": #foreach($x of $list)\n  #end #end\n}").unwrap_err();
    assert_eq!(error.to_string(), "t:3:20: expected `in`; write #foreach($item in $list)");
    assert_eq!(error.snippet(), "3 |   \"é\": #foreach($x of $list)\n  |                    ^");
    let error = render("\n#set($s = 'abc')\n  $s.substring(9)").unwrap_err();
    assert_eq!((error.line, error.column, error.kind), (3, 3, Kind::Evaluation));
    assert_eq!(error.message, "substring() failed: begin 9, end 3, length 3");
    let error = render("a\n#if(true)\nb").unwrap_err();
    assert_eq!(error.to_string(), "t:2:1: #if has no #end; add #end");
    let error = render("\n #evaluate('#if(')").unwrap_err();
    assert_eq!((error.line, error.column), (2, 2));
    let error = render_over("$input.json('$')", "{").unwrap_err();
    assert_eq!(error.kind, Kind::Payload);
    assert_eq!(error.message, "the payload is not JSON: Unexpected End Of File position 0: null");
}

/// Found by fuzzing: a value that is nothing was read over and over.
#[test]
fn dots_where_a_value_should_be_are_text() {
    for text in ["#n($e..", "#n(..)", "#n(-..)"] {
        assert_eq!(render(text).unwrap(), text.replace("$e", ""), "{text}");
    }
    assert_eq!(kind("#set($a = ..)"), Kind::Syntax);
    assert_eq!(render("#foreach($i in [1..3])$i#end").unwrap(), "123");
}

/// What looks like a call and is none leaves nothing open behind it.
#[test]
fn any_number_of_things_that_look_like_calls() {
    let text = "#colour (;) ".repeat(200);
    assert_eq!(render(&text).unwrap(), text);
}

#[test]
fn a_template_without_references_is_plain() {
    assert_eq!(Template::parse("t", "{\"statusCode\": 200}").unwrap().as_plain(), Some("{\"statusCode\": 200}"));
    assert_eq!(Template::parse("t", "a## c\n#* d *# #[[$x]]#").unwrap().as_plain(), Some("a $x"));
    assert_eq!(Template::parse("t", "").unwrap().as_plain(), Some(""));
    assert_eq!(Template::parse("t", "$x").unwrap().as_plain(), None);
}

#[test]
fn templates_may_be_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Template>();
}

#[test]
fn bounds_are_errors() {
    let long_list: String = vec!["1"; 1001].join(",");
    let nested = "#foreach($a in [1..999])#foreach($b in [1..999])#set($x = $x + 1)#end#end";
    assert_eq!(kind(&format!("#foreach($x in [{long_list}])#end")), Kind::Limit);
    assert_eq!(kind(nested), Kind::Limit);
    assert_eq!(kind("#macro(m)#m()#end#m()"), Kind::Limit);
    let nested_macro = format!("#macro(m){}#m(){}#end#m()", "#if(true)".repeat(50), "#end".repeat(50));
    assert_eq!(kind(&nested_macro), Kind::Limit);
    let in_brackets = format!("#macro(m)#set($x = {}\"#m()\"{})#end#m()", "(".repeat(40), ")".repeat(40));
    assert_eq!(kind(&in_brackets), Kind::Limit);
    assert_eq!(kind("#define($d)$d#end$d"), Kind::Limit);
    assert_eq!(kind("#set($e = '#evaluate($e)')#evaluate($e)"), Kind::Limit);
    assert_eq!(kind("#set($s = 'aaaaaaaaaa')#foreach($i in [1..40])#set($s = $s + $s)#end"), Kind::Limit);
    assert_eq!(kind("#set($l = [])#foreach($i in [1..40])#set($l = [$l, $l])#end$l"), Kind::Limit);
    assert_eq!(kind("#set($l = [])#foreach($i in [1..900])#set($l = [$l])#end$l"), Kind::Limit);
    assert_eq!(kind("#set($r = [1..2000000000])"), Kind::Limit);
    assert_eq!(kind("#set($s = 'x')$s.repeat(2000000000)"), Kind::Limit);
    assert_eq!(kind("#set($s = 'x')$s.repeat(9000000).replace('x', 'yyyyyyyyy')"), Kind::Limit);
    assert_eq!(kind("#set($s = 'x')$s.repeat(9000000).replaceAll('x', 'yyyyyyyyy')"), Kind::Limit);
    assert_eq!(kind(&"#if(true)".repeat(20_000)), Kind::Syntax);
    assert_eq!(kind(&format!("#set($x = {}1)", "(".repeat(100_000))), Kind::Syntax);
    assert_eq!(kind(&format!("#set($x = {}$y)", "!".repeat(100_000))), Kind::Syntax);
    assert_eq!(kind(&format!("#set($x = {}$y)", "-".repeat(100_000))), Kind::Syntax);
    assert_eq!(kind(&"x".repeat(400_000)), Kind::Limit);
}

#[test]
fn values_that_would_be_dear_to_compare_are_not() {
    let twin =
        |name: &str| format!("#set(${name} = ['x'])#foreach($i in [1..60])#set(${name} = [${name}, ${name}])#end");
    let start = Instant::now();
    let template = format!("{}{}#foreach($i in [1..900])#if($a == $b)y#end#end", twin("a"), twin("b"));
    // Either bound will do, as long as it ends.
    drop(render(&template));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn long_rows_of_operators_need_no_stack() {
    let sum = vec!["1"; 50_000].join("+");
    assert_eq!(render(&format!("#set($x = {sum})$x")).unwrap(), "50000");
    let all = vec!["true"; 30_000].join("&&");
    assert_eq!(render(&format!("#if({all})y#end")).unwrap(), "y");
    assert_eq!(render(&"#".repeat(100_001).replace("##", "# ")).unwrap().len(), 100_001);
}

#[test]
fn a_deep_payload_is_refused_and_a_large_one_is_not() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(render_over("$input.path('$')", &deep).unwrap_err().kind, Kind::Payload);
    let large = format!("{{\"l\": [{}]}}", vec!["{\"a\": 1}"; 100_000].join(","));
    assert_eq!(render_over("$input.path('$.l').size()", &large).unwrap(), "100000");
    assert_eq!(render_over("$input.json('$')", &large).unwrap().len(), large.len() - 100_002 + 1);
}

#[test]
fn overrides_can_be_read_back() {
    let overrides = Overrides::new();
    let template = Template::parse(
        "t",
        r#"#set($context.requestOverride.header.X-A = "1")
#set($context.requestOverride.querystring.q = ["a", 2])
#set($context.requestOverride.path["p"] = "v")
#set($context.responseOverride.header = {"H": "h"})
#set($context.responseOverride.status = 418)
#set($context.other = 1)$context.responseOverride.status"#,
    );
    let text = template.unwrap().render(&mut scope("", &overrides), &Limits::default()).unwrap();
    assert_eq!(text, "418");
    let one = |name: &str, values: &[&str]| {
        vec![(name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())]
    };
    assert_eq!(overrides.request_headers(), one("X-A", &["1"]));
    assert_eq!(overrides.request_query(), one("q", &["a", "2"]));
    assert_eq!(overrides.request_path(), vec![("p".to_owned(), "v".to_owned())]);
    assert_eq!(overrides.response_headers(), one("H", &["h"]));
    assert_eq!(overrides.response_status(), Some(418));
    for (status, read) in [("700", None), ("\"400\"", None), ("99", None), ("599", Some(599))] {
        let overrides = Overrides::new();
        let source = format!("#set($context.responseOverride.status = {status})");
        Template::parse("t", &source).unwrap().render(&mut scope("", &overrides), &Limits::default()).unwrap();
        assert_eq!(overrides.response_status(), read, "{status}");
    }
}

/// Pieces that make more of a template than random characters do.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "#set($a = ",
        "#set($b = [1, 2])",
        "#set($m = {'k': $a})",
        "$m.put('x', $m)",
        "$b.add($b)",
        ")",
        "(",
        "#if($a == 1)",
        "#if(",
        "#elseif($b)",
        "#else",
        "#{else}",
        "#end",
        "#foreach($i in $b)",
        "#foreach($i in [1..50])",
        "#foreach($k in $m.keySet())",
        "#break",
        "#stop",
        "#macro(m $p)",
        "#m($a)",
        "#@m($a)",
        "#define($d)",
        "$d",
        "#evaluate($a)",
        "#evaluate('#m(1)')",
        "##",
        "#*",
        "*#",
        "#[[",
        "]]#",
        "$input.json('$')",
        "$input.path('$..a')",
        "$input.path(\"$.a[$i]\")",
        "$input.params('x')",
        "$input.body",
        "$util.parseJson($input.body)",
        "$util.escapeJavaScript($a)",
        "$context.stage",
        "$stageVariables.a",
        "$foreach.index",
        "$a",
        "${a}",
        "$!{a.b}",
        "${a|'x'}",
        "$a.length()",
        "$a.substring(1)",
        "$b[0]",
        "$b[-9]",
        "$a.split(',')",
        "$a.replaceAll('a', '$1')",
        "$a.matches(\"$a\")",
        "$a.format('%5d', 3)",
        "\"",
        "'",
        "\\",
        "\\\\",
        "$",
        "#",
        "!",
        "+",
        " - ",
        "*",
        " / ",
        "%",
        "&&",
        " or ",
        "<",
        ">=",
        "==",
        "1",
        "0",
        "2147483647",
        "1.5e308",
        "'text'",
        "\"$a-$i\"",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "..",
        ".",
        " ",
        "\n",
        "é",
        "😀",
        "a",
        "x",
    ]);
    prop_oneof![8 => fixed.prop_map(str::to_owned), 1 => "\\PC{0,4}"]
}

fn small() -> Limits {
    Limits { steps: 20_000, output: 1 << 16, scratch: 1 << 20, ..Limits::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_template_panics_or_runs_away(
        pieces in prop::collection::vec(piece(), 0..40),
        body in prop_oneof![Just("{\"a\": [1, {\"a\": \"b\"}], \"c\": null}".to_owned()), "\\PC{0,20}"],
    ) {
        let source = pieces.concat();
        let start = Instant::now();
        match Template::parse("t", &source) {
            Ok(template) => {
                let result = template.render(&mut scope(&body, &Overrides::new()), &small());
                if let Some(plain) = template.as_plain() {
                    prop_assert_eq!(result.as_deref(), Ok(plain));
                }
                if let Ok(text) = result {
                    prop_assert!(text.len() <= (1 << 16));
                }
            }
            Err(error) => prop_assert!(!error.snippet().is_empty() && error.line >= 1),
        }
        prop_assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn text_without_signs_renders_as_it_is(text in "[^$#\\\\]{0,60}") {
        let template = Template::parse("t", &text).unwrap();
        prop_assert_eq!(template.as_plain(), Some(text.as_str()));
    }

    #[test]
    fn strict_json_reads_as_serde_reads_it(numbers in prop::collection::vec(any::<i64>(), 0..4), text in "\\PC{0,20}") {
        let json = serde_json::json!({"n": numbers, "t": text, "m": {text.clone(): [true, null]}});
        let read = vtl::json::parse(&json.to_string()).unwrap().to_json();
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&read).unwrap(), json);
    }

    #[test]
    fn no_path_and_no_payload_panics(path in "[$@.*\\[\\]()?'\",:a-c0-9 =!<>&|/-]{0,24}", body in "[\\[\\]{}:,'\"a-c0-9 .eE\\\\+-]{0,24}") {
        let read = vtl::json::parse(&body);
        if let (Ok(path), Ok(document)) = (vtl::jsonpath::Path::compile(&path), read) {
            let _found = path.find(&document);
        }
    }
}
