//! How long renderings take: `cargo bench -p stagegate-vtl`, with a word of its name for a single one. The bound to keep
//! is 30 µs for a template of 1 KiB over a body of 4 KiB, of which each rendering reads the body anew. Reading the body
//! with `serde_json` is there to tell a slow or busy machine from slow code.
#![allow(missing_docs, reason = "criterion's macros make functions without any")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use vtl::{Input, Limits, Overrides, Scope, Template, Text, Value};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// In the manner of real request templates: fields, a loop, escapes, parameters, overrides.
const TEMPLATE: &str = r##"#set($root = $input.path('$'))
#set($context.requestOverride.header.X-Request = "$context.requestId")
{
  "id": "$input.params('id')",
  "stage": "$context.stage",
  "table": "$stageVariables.table",
  "caller": "$util.escapeJavaScript($context.identity.userAgent)",
  "customer": $input.json('$.customer'),
  "priority": #if($root.total > 1000 && $root.customer.tier == "gold")"high"#{else}"normal"#end,
  "lines": [
#foreach($item in $root.items)
    {
      "sku": "$item.sku",
      "title": "$util.escapeJavaScript($item.title)",
      "amount": $item.amount,
      "tags": [#foreach($tag in $item.tags)"$tag"#if($foreach.hasNext),#end#end]
    }#if($foreach.hasNext),#end

#end
  ],
  "count": $root.items.size(),
  "cheap": $input.json('$.items[?(@.amount < 10)].sku'),
  "note": "$root.note.replaceAll('\s+', ' ').trim()",
  "querystring": {
    #foreach($name in $input.params().querystring.keySet())
    "$name": "$util.urlEncode($input.params().querystring.get($name))"#if($foreach.hasNext),#end
    #end
  }
}
"##;

/// Fields without loops, the other common sort: about 1 KiB as well.
fn fields() -> String {
    let fields: Vec<String> = (0..14)
        .map(|n| {
            format!(
                r#"  "f{n}": {{"sku": "$root.items[{n}].sku", "city": "$root.customer.address.city", "here": $input.json('$.items[{n}].stock.here')}}"#
            )
        })
        .collect();
    format!("#set($root = $input.path('$'))\n{{\n{}\n}}\n", fields.join(",\n"))
}

fn body() -> String {
    let items: Vec<String> = (0..24)
        .map(|n| {
            format!(
                r#"{{"sku": "SKU-{n:04}", "title": "Item \"{n}\" of the \u00e9dition", "amount": {}, "tags": ["red", "new", "t{n}"], "stock": {{"here": {n}, "there": null}}}}"#,
                n * 3
            )
        })
        .collect();
    format!(
        r#"{{"customer": {{"name": "Ann Example", "tier": "gold", "address": {{"city": "Utrecht", "zip": "3511"}}}}, "total": 1234.5, "note": "please   ring  twice", "items": [{}]}}"#,
        items.join(", ")
    )
}

fn names(pairs: &[(&'static str, &'static str)]) -> Value {
    Value::map(pairs.iter().map(|(name, value)| (Text::from_static(name), Value::from_static(value))))
}

fn scope(body: &str) -> Scope<'_> {
    let overrides = Overrides::new();
    let identity = Value::sealed([
        (Text::from_static("sourceIp"), Value::from("127.0.0.1")),
        (Text::from_static("userAgent"), Value::from("bench/1.0")),
    ]);
    let context = Value::sealed([
        (Text::from_static("stage"), Value::from_static("prod")),
        (Text::from_static("requestId"), Value::from("5d0f6a3c-0000-4000-8000-000000000000")),
        (Text::from_static("identity"), identity),
        (Text::from_static("requestOverride"), overrides.request.clone()),
        (Text::from_static("responseOverride"), overrides.response.clone()),
    ]);
    Scope {
        input: Input::new(body, names(&[("id", "7")]), names(&[("a", "1 2"), ("b", "x/y")]), names(&[])),
        context,
        stage_variables: names(&[("table", "orders")]),
    }
}

fn bench(criterion: &mut Criterion) {
    let body = body();
    let fields = fields();
    let parse = |name, source: &str| Template::parse(name, source).expect("a template of this bench is well-formed");
    let (looped, fields) = (parse("loop", TEMPLATE), parse("fields", &fields));
    let limits = Limits::default();
    criterion.bench_function("scope alone", |bencher| bencher.iter(|| black_box(scope(&body)).context));
    criterion.bench_function("scope and body as JSON", |bencher| {
        bencher.iter(|| scope(&body).input.document().is_ok());
    });
    criterion.bench_function("body with serde_json, to compare", |bencher| {
        bencher.iter(|| serde_json::from_str::<serde_json::Value>(&body).is_ok());
    });
    for (name, template) in [("render fields", &fields), ("render a loop over all of the body", &looped)] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| template.render(&mut scope(&body), &limits).expect("the bench renders"));
        });
    }
    criterion.bench_function("parse a template", |bencher| bencher.iter(|| Template::parse("bench", TEMPLATE).is_ok()));
}

criterion_group!(benches, bench);
criterion_main!(benches);
