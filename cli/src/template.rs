//! `stagegate template`: one mapping template, rendered.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use vtl::{Input, Limits, Overrides, Scope, Text, Value};

use crate::args::{Format, Template};
use crate::print::{self, Colours, Diagnostic, Level, Place};

/// Members of a request file.
const MEMBERS: [&str; 5] = ["body", "path", "querystring", "header", "stageVariables"];

pub(crate) fn run(arguments: &Template) -> anyhow::Result<ExitCode> {
    let source = read(&arguments.template)?;
    let request = arguments.request.as_deref().map(object).transpose()?.unwrap_or_default();
    let known = arguments.context.as_deref().map(object).transpose()?.unwrap_or_default();
    for (name, _) in members(&request) {
        if !MEMBERS.contains(&&*name) {
            bail!("a request file has no member `{name}`: {} are", MEMBERS.join(", "));
        }
    }
    let body = match request.get("body") {
        Value::Null => String::new(),
        Value::Str(text) => text.to_string(),
        json => json.to_json(),
    };
    let overrides = Overrides::new();
    let mut scope = Scope {
        input: Input::new(&body, texts(&request, "path"), texts(&request, "querystring"), headers(&request)),
        context: context(&known, &overrides),
        stage_variables: texts(&request, "stageVariables"),
    };
    let name = arguments.template.display().to_string();
    let rendered =
        vtl::Template::parse(&name, &source).and_then(|template| template.render(&mut scope, &Limits::default()));
    match rendered {
        Ok(text) => {
            print::to_stdout(&text);
            print::to_stderr(&report(&overrides));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let diagnostic = diagnostic(&arguments.template, &error);
            print::to_stderr(&print::render(&[diagnostic], Format::Text, Colours::of_stderr()));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn diagnostic(file: &Path, error: &vtl::Error) -> Diagnostic {
    let place = Place {
        file: file.to_owned(),
        line: error.line as usize,
        column: error.column as usize,
        snippet: error.source_line.clone(),
    };
    Diagnostic {
        place: Some(place),
        level: Level::Error,
        reason: format!("Template{:?}", error.kind),
        message: error.message.clone(),
        object: None,
        pointer: None,
        help: (!error.help.is_empty()).then(|| error.help.to_owned()),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// A file's JSON object, its members in their order.
fn object(path: &Path) -> anyhow::Result<Value> {
    let text = read(path)?;
    // What templates take for JSON is more than people should write; and these errors have a place.
    let strict: serde_json::Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    if !strict.is_object() {
        bail!("{}: not a JSON object", path.display());
    }
    vtl::json::parse(&text).with_context(|| path.display().to_string())
}

fn members(value: &Value) -> Vec<(Text, Value)> {
    let Value::Map(map) = value else { return Vec::new() };
    let entries = (0..map.len()).filter_map(|index| map.entry(index));
    entries.filter_map(|(name, value)| Some((Text::from(name.as_str()?), value))).collect()
}

/// Parameters are texts, whatever the file has.
fn texts(request: &Value, member: &str) -> Value {
    Value::map(as_texts(request, member))
}

fn headers(request: &Value) -> Value {
    Value::headers(as_texts(request, "header"))
}

fn as_texts(request: &Value, member: &str) -> Vec<(Text, Value)> {
    let members = members(&request.get(member));
    members.into_iter().map(|(name, value)| (name, Value::from(value.to_text()))).collect()
}

fn context(known: &Value, overrides: &Overrides) -> Value {
    let own = [("requestOverride", overrides.request.clone()), ("responseOverride", overrides.response.clone())];
    let own = own.into_iter().map(|(name, value)| (Text::from_static(name), value));
    Value::sealed(members(known).into_iter().map(|(name, value)| (name, sealed(value))).chain(own))
}

/// Maps in `$context` are read-only and print as nothing.
fn sealed(value: Value) -> Value {
    match &value {
        Value::Map(_) => Value::sealed(members(&value).into_iter().map(|(name, value)| (name, sealed(value)))),
        _ => value,
    }
}

/// The overrides that were set, one a line.
fn report(overrides: &Overrides) -> String {
    let mut report = String::new();
    let mut line = |what: &str, name: &str, value: &str| {
        // Writing to a String cannot fail.
        writeln!(report, "{what}{name} = {value}").ok();
    };
    for (name, value) in overrides.request_path() {
        line("requestOverride.path.", &name, &value);
    }
    for (what, entries) in [
        ("requestOverride.querystring.", overrides.request_query()),
        ("requestOverride.header.", overrides.request_headers()),
        ("responseOverride.header.", overrides.response_headers()),
    ] {
        entries.iter().for_each(|(name, values)| line(what, name, &values.join(", ")));
    }
    if let Some(status) = overrides.response_status() {
        line("responseOverride.", "status", &status.to_string());
    }
    report
}
