//! A rendering never panics and never runs away, and says where it failed.

#![allow(clippy::unwrap_used, reason = "helpers of tests, not only tests, unwrap here")]

use std::time::Duration;

use proptest::prelude::*;
use vtl::{Error, Input, Kind, Limits, Overrides, Scope, Template, Text, Value};

/// How long this thread has worked: a busy machine makes it no longer.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

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
    let start = worked();
    let error = render(template).expect_err(template);
    let took = worked() - start;
    assert!(took < Duration::from_secs(5), "{template} took {took:?}");
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

/// Each class of error: the place as people count, and what to do.
#[test]
fn every_class_of_error_has_its_place_and_help() {
    let long_list = vec!["1"; 1001].join(",");
    let rows: &[(&str, &str, Kind, &str)] = &[
        ("a\n#set($x = )", "t:2:11", Kind::Syntax, "expected a value; a value is"),
        ("a\n #if(true", "t:2:10", Kind::Syntax, "expected `)` to end #if of column 2; close the bracket"),
        ("#if(true)\n #elseif\n#end", "t:2:2", Kind::Syntax, "#elseif needs brackets; write ( after it"),
        ("a\n  #end", "t:2:3", Kind::Syntax, "`#end` closes nothing; remove it"),
        ("#foreach($i in [1])\n#else", "t:2:1", Kind::Syntax, "`#else` inside #foreach; it belongs to an #if"),
        ("\n#parse('x')", "t:2:1", Kind::Syntax, "#parse is refused: a template is on its own; put the text"),
        ("é #include('x')", "t:1:3", Kind::Syntax, "#include is refused: a template is on its own; put the text"),
        ("#[[ x", "t:1:1", Kind::Syntax, "this literal has no `]]#`; end it with ]]#"),
        ("a\n#* x", "t:2:1", Kind::Syntax, "this comment has no `*#`; end it with *#"),
        ("#set($x = 'a)", "t:1:11", Kind::Syntax, "this string has no closing quote; close it"),
        ("a $y.get(1", "t:1:9", Kind::Syntax, "this bracket is never closed; close it"),
        ("#set($input.x.y() = 1)", "t:1:1", Kind::Syntax, "#set cannot set a method; set a variable"),
        ("#foreach($input in [1])#end", "t:1:10", Kind::Syntax, "this name is taken by the gateway; use another"),
        ("#macro(1)#end", "t:1:8", Kind::Syntax, "#macro needs a name; write #macro(name"),
        ("${x", "t:1:1", Kind::Syntax, "this `${` has no `}` after the reference; close it"),
        ("#if($ == 1)#end", "t:1:5", Kind::Syntax, "expected a name after `$`; write $name"),
        ("#set($l = [1])\n $l.get(3)", "t:2:2", Kind::Evaluation, "index 3 is out of bounds for size 1; compare"),
        ("\n  #set($x = 'a'.x)", "t:2:16", Kind::Syntax, "expected `)` to end #set of column 3; close"),
        (
            "\n#set($s = 'a')#if($s.charAt(9))#end",
            "t:2:19",
            Kind::Evaluation,
            "charAt() failed: index 9 is out of range",
        ),
        (
            "#if(false)\n#elseif({[]: 1} == 1)#end",
            "t:2:1",
            Kind::Evaluation,
            "a list or map cannot be the key of a map; use",
        ),
        ("x\n$util.urlDecode('%')", "t:2:1", Kind::Evaluation, "$util.urlDecode failed: bad % escape; check that"),
        ("x\n$util.parseJson('{')", "t:2:1", Kind::Evaluation, "$util.parseJson failed: Unexpected End Of File"),
        ("$util.base64Decode('!')", "t:1:1", Kind::Evaluation, "$util.base64Decode failed: "),
        ("\n$input.path('$[')", "t:2:1", Kind::Evaluation, "bad JSONPath: expected "),
        ("#set($s = 'a')$s.replaceAll('(', '')", "t:1:15", Kind::Evaluation, "replaceAll() failed: the pattern"),
        ("#set($m = {})\n$m.put('m', $m)", "t:2:1", Kind::Evaluation, "a list or map cannot be put into itself; put"),
        (
            &format!("\n#foreach($i in [{long_list}])#end"),
            "t:2:1",
            Kind::Limit,
            "#foreach over 1001 items, more than 1000; select",
        ),
        ("#macro(m)#m()#end\n#m()", "t:1:10", Kind::Limit, "macro calls are nested more than 20 deep; end the"),
        ("\n#if([1..99999999] == 1)#end", "t:2:1", Kind::Limit, "the template renders to more than 10485760 bytes; "),
        (
            "#set($s = 'x')\n$s.repeat(20000000)",
            "t:2:1",
            Kind::Limit,
            "the template renders to more than 10485760 bytes; ",
        ),
    ];
    for (template, place, kind, text) in rows {
        let error = render(template).expect_err(template);
        let message = error.to_string();
        assert!(message.starts_with(&format!("{place}: {text}")), "{template}: {message}");
        assert_eq!(error.kind, *kind, "{template}");
        assert!(!error.help.is_empty(), "{template}");
        // The caret of the snippet stands under the column.
        let snippet = error.snippet();
        let (line, mark) = snippet.split_once('\n').unwrap();
        assert!(template.lines().any(|source| line.ends_with(source)), "{snippet}");
        let margin = error.line.to_string().len() + " | ".len();
        assert_eq!(mark.chars().position(|c| c == '^'), Some(margin + error.column as usize - 1), "{snippet}");
    }
    let error = render_over("{\n \"a\": $input.json('$')}", "{\"secret").unwrap_err();
    assert!(error.to_string().starts_with("t:2:7: the payload is not JSON: Unexpected End Of File"), "{error}");
    assert!(error.to_string().ends_with("; send JSON, or use $input.body"), "{error}");
    assert_eq!(
        (error.kind, error.gist()),
        (Kind::Payload, "the payload is not JSON: Unexpected End Of File position 8: null")
    );
}

#[test]
fn output_ends_at_its_bound_and_not_before() {
    let most = Limits::default().output;
    let text = "#set($s = 'x')#set($s = $s.repeat(COUNT))$s";
    let count = |count: usize| text.replace("COUNT", &count.to_string());
    assert_eq!(render(&count(most)).unwrap().len(), most);
    assert_eq!(kind(&count(most + 1)), Kind::Limit);
    // Bit by bit, from references and from plain text.
    assert_eq!(kind(&format!("{}#foreach($i in [1..1000])$s#end", count(100_000))), Kind::Limit);
    let plain = format!("#foreach($i in [1..1000])#foreach($j in [1..1000]){}#end#end", "x".repeat(1000));
    assert_eq!(kind(&plain), Kind::Limit);
    let template = "x".repeat(vtl::MAX_TEMPLATE_BYTES);
    assert_eq!(render(&template).unwrap().len(), vtl::MAX_TEMPLATE_BYTES);
    assert_eq!(kind(&format!("{template}x")), Kind::Limit);
}

#[test]
fn loops_that_do_nothing_cost_steps_all_the_same() {
    let loops = |depth: usize| "#foreach($i in [1..1000])".repeat(depth) + &"#end".repeat(depth);
    assert_eq!(render(&loops(1)).unwrap(), "");
    assert_eq!(kind(&loops(3)), Kind::Limit);
    let macros = (1..18).fold("#macro(m0)#end".to_owned(), |text, n| {
        let below = n - 1;
        text + &format!("#macro(m{n})#m{below}()#m{below}()#m{below}()#m{below}()#end")
    });
    assert_eq!(kind(&(macros + "#m17()")), Kind::Limit);
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
    let start = worked();
    let template = format!("{}{}#foreach($i in [1..900])#if($a == $b)y#end#end", twin("a"), twin("b"));
    // Either bound will do, as long as it ends.
    drop(render(&template));
    assert!(worked() - start < Duration::from_secs(5));
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
    // Of several settings the last counts, and a list is several values.
    let overrides = Overrides::new();
    let twice = "#set($o = $context.responseOverride)#set($o.status = 200)#set($o.status = 404)\
                 #set($o.header.H = 'a')#set($o.header.H = ['b', 'c'])";
    Template::parse("t", twice).unwrap().render(&mut scope("", &overrides), &Limits::default()).unwrap();
    assert_eq!((overrides.response_status(), overrides.response_headers()), (Some(404), one("H", &["b", "c"])));
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

/// An expression that parses, down to a depth.
fn expression() -> BoxedStrategy<String> {
    let leaf = prop::sample::select(vec![
        "$a",
        "$b",
        "$m",
        "$i",
        "$l",
        "1",
        "-3",
        "2.5",
        "2147483647",
        "'text'",
        "''",
        "true",
        "$null",
        "[]",
        "{}",
        "[0..9]",
        "$input.path('$')",
        "$input.path('$..a')",
        "$input.json('$.c')",
        "$input.body",
        "$foreach.index",
        "$context.stage",
    ]);
    leaf.prop_map(str::to_owned)
        .boxed()
        .prop_recursive(4, 24, 3, |inner| {
            let call = prop::sample::select(vec![
                "size()",
                "length()",
                "toString()",
                "get(0)",
                "keySet()",
                "entrySet()",
                "values()",
                "split(',')",
                "isEmpty()",
                "iterator()",
                "next()",
                "trim()",
                "hashCode()",
                "toArray()",
                "intValue()",
                "substring(1)",
                "replaceAll('[a-e]', '$0$0')",
                "repeat(9)",
                "subList(0, 1)",
                "k",
                "empty",
            ]);
            let with_argument = prop::sample::select(vec![
                "add",
                "addAll",
                "put",
                "contains",
                "containsKey",
                "remove",
                "indexOf",
                "equals",
                "concat",
                "replace",
                "removeAll",
                "retainAll",
                "format",
                "get",
                "compareTo",
                "max",
            ]);
            let operator = prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||"]);
            // What was made is put into a variable by itself, since methods are called on references only.
            prop_oneof![
                (inner.clone(), operator, inner.clone()).prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{'k': {a}, 'x': {b}}}")),
                inner.clone().prop_map(|a| format!("!{a}")),
                inner.clone().prop_map(|a| format!("\"<{}>\"", a.replace('"', "\"\""))),
                inner.clone().prop_map(|a| format!("$util.parseJson({a})")),
                inner.clone().prop_map(|a| format!("$util.escapeJavaScript({a})")),
                call.prop_map(|call| format!("$a.{call}")),
                (with_argument, inner.clone(), inner).prop_map(|(name, a, b)| format!("$l.{name}({a}, {b})")),
            ]
        })
        .boxed()
}

/// A template that parses.
fn template() -> BoxedStrategy<String> {
    let name = || prop::sample::select(vec!["a", "b", "m", "l"]);
    let leaf = prop_oneof![
        4 => (name(), expression()).prop_map(|(name, value)| format!("#set(${name} = {value})")),
        4 => (name(), expression()).prop_map(|(name, value)| format!("#set(${name}.k = {value})")),
        4 => name().prop_map(|name| format!("${name};")),
        4 => expression().prop_map(|value| format!("#set($x = {value})$!x")),
        2 => Just("#m($a)#n()".to_owned()),
        1 => Just("#evaluate($a)".to_owned()),
        1 => Just("#{break}".to_owned()),
        1 => Just("#{stop}".to_owned()),
        2 => Just("text\n".to_owned()),
        2 => Just("${d}".to_owned()),
    ];
    let nested = leaf.boxed().prop_recursive(5, 40, 4, move |inner| {
        let body = prop::collection::vec(inner, 0..4).prop_map(|nodes| nodes.concat());
        prop_oneof![
            (expression(), body.clone()).prop_map(|(over, body)| format!("#foreach($i in {over}){body}#{{end}}")),
            body.clone().prop_map(|body| format!("#foreach($i in [1..60]){body}#{{end}}")),
            (expression(), body.clone(), body.clone())
                .prop_map(|(condition, yes, no)| format!("#if({condition}){yes}#{{else}}{no}#{{end}}")),
            body.clone().prop_map(|body| format!("#macro(m $p){body}#{{end}}#macro(n){body}#m($p)#{{end}}")),
            body.clone().prop_map(|body| format!("#define($d){body}#{{end}}")),
            body.prop_map(|body| format!("#@m($l){body}#{{end}}")),
        ]
    });
    prop::collection::vec(nested, 1..8).prop_map(|nodes| nodes.concat()).boxed()
}

/// An error that a person can find and act upon.
fn usable(error: &Error, source: &str) -> bool {
    let column = error.column as usize;
    let line = source.split('\n').nth(error.line as usize - 1);
    !error.message.is_empty()
        && !error.help.is_empty()
        && line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&column))
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
        let start = worked();
        match Template::parse("t", &source) {
            Ok(template) => {
                let result = template.render(&mut scope(&body, &Overrides::new()), &small());
                if let Some(plain) = template.as_plain() {
                    prop_assert_eq!(result.as_deref(), Ok(plain));
                }
                match result {
                    Ok(text) => prop_assert!(text.len() <= (1 << 16)),
                    Err(error) => prop_assert!(usable(&error, &source), "{error}"),
                }
            }
            Err(error) => prop_assert!(usable(&error, &source), "{error}"),
        }
        prop_assert!(worked() - start < Duration::from_secs(2));
    }

    /// Random pieces seldom make a loop in a macro in a loop; these do, and run to the bounds that are shipped.
    #[test]
    fn no_well_formed_template_panics_or_runs_away(source in template()) {
        let start = worked();
        let parsed = Template::parse("t", &source);
        prop_assert!(parsed.is_ok(), "{source}: {parsed:?}");
        let body = "{\"a\": [1, {\"a\": \"b\"}], \"c\": \"#m(1)#set($a = $l)\"}";
        match parsed.unwrap().render(&mut scope(body, &Overrides::new()), &Limits::default()) {
            Ok(text) => prop_assert!(text.len() <= Limits::default().output),
            Err(error) => prop_assert!(usable(&error, &source), "{error}"),
        }
        let took = worked() - start;
        prop_assert!(took < Duration::from_secs(5), "{took:?}: {source}");
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
