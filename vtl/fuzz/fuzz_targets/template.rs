//! Any text as template over any text as payload: no panic, no run-away. The first line is the payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vtl::{Input, Limits, Overrides, Scope, Template, Text, Value};

fuzz_target!(|text: &str| {
    let (body, source) = text.split_once('\n').unwrap_or(("{\"a\": [1, {\"b\": null}]}", text));
    let Ok(template) = Template::parse("fuzz", source) else { return };
    let overrides = Overrides::new();
    let context = Value::sealed([
        (Text::from_static("requestOverride"), overrides.request.clone()),
        (Text::from_static("responseOverride"), overrides.response.clone()),
    ]);
    let mut scope = Scope { input: Input::of_body(body), context, stage_variables: Value::map([]) };
    let limits = Limits { steps: 20_000, output: 1 << 16, scratch: 1 << 20, ..Limits::default() };
    if let Ok(text) = template.render(&mut scope, &limits) {
        assert!(text.len() <= limits.output);
    }
});
