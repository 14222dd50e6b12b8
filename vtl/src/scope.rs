//! What a template is rendered with: `$input`, `$context`, `$stageVariables`.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::error::{Eval, Fault, Kind};
use crate::json::{self, JsonError};
use crate::limits::Meter;
use crate::text::Text;
use crate::value::{Access, Map, Value};

/// Everything a rendering may see, and the overrides it leaves behind.
#[derive(Debug)]
pub struct Scope<'a> {
    /// `$input`
    pub input: Input<'a>,
    /// `$context`: a [`Value::sealed`] map holding [`Overrides::request`] and [`Overrides::response`] under
    /// `requestOverride` and `responseOverride`. [`crate::Template::mentions_context`] tells whether it will
    /// be looked at.
    pub context: Value,
    /// `$stageVariables`
    pub stage_variables: Value,
}

/// `$input`: the payload and the request's parameters.
#[derive(Debug)]
pub struct Input<'a> {
    body: &'a str,
    shared: OnceCell<Rc<Box<str>>>,
    document: OnceCell<Result<Value, JsonError>>,
    parameters: Value,
    by_place: [Value; 3],
}

impl<'a> Input<'a> {
    /// The payload as text, and the parameters by name as maps of strings; of several values of a name the
    /// caller passes the last. An empty payload reads `{}` (recorded).
    pub fn new(body: &'a str, path: Value, querystring: Value, header: Value) -> Input<'a> {
        let parameters = [
            (Text::from_static("path"), path.clone()),
            (Text::from_static("querystring"), querystring.clone()),
            (Text::from_static("header"), header.clone()),
        ];
        Input {
            body: if body.is_empty() { "{}" } else { body },
            shared: OnceCell::new(),
            document: OnceCell::new(),
            parameters: Value::map(parameters),
            by_place: [path, querystring, header],
        }
    }

    /// The payload without parameters.
    pub fn of_body(body: &'a str) -> Input<'a> {
        Input::new(body, Value::map([]), Value::map([]), Value::map([]))
    }

    fn shared(&self) -> &Rc<Box<str>> {
        self.shared.get_or_init(|| Rc::new(self.body.into()))
    }

    /// `$input.body`
    pub(crate) fn body(&self) -> Text {
        Text::window(self.shared(), 0, self.body.len())
    }

    /// The payload as JSON, read at most once.
    pub fn document(&self) -> Result<&Value, &JsonError> {
        self.document.get_or_init(|| json::parse_shared(self.shared())).as_ref()
    }

    pub(crate) fn document_or_fault(&self) -> Eval<&Value> {
        self.document().map_err(|error| {
            Fault::new(Kind::Payload, format!("the payload is not JSON: {error}"), "send JSON, or use $input.body")
        })
    }

    /// `$input.params()`
    pub(crate) fn parameters(&self) -> &Value {
        &self.parameters
    }

    /// `$input.params(name)`: path, then query, then header; empty if there is none.
    pub(crate) fn parameter(&self, name: &str) -> Value {
        let found = self.by_place.iter().map(|place| place.get(name)).find(|value| !value.is_null());
        found.unwrap_or(Value::from_static(""))
    }
}

/// The override maps of `$context`. They are shared: set while rendering a request template, they can be
/// read in the response template if it is given the same ones (recorded of MOCK integrations).
#[derive(Debug, Clone)]
pub struct Overrides {
    /// For `$context.requestOverride`: `path`, `header`, `querystring`.
    pub request: Value,
    /// For `$context.responseOverride`: `header`, and `status` once set.
    pub response: Value,
}

impl Default for Overrides {
    fn default() -> Self {
        Overrides::new()
    }
}

impl Overrides {
    /// Empty ones, with the sub-maps the real service starts with.
    pub fn new() -> Overrides {
        let empty = || Value::Map(Rc::new(Map::new(Access::Opaque)));
        let of = |names: &[&'static str]| {
            let members = names.iter().map(|name| (Text::from_static(name), empty()));
            Value::Map(Rc::new(Map::collect(Access::Opaque, members)))
        };
        Overrides { request: of(&["path", "header", "querystring"]), response: of(&["header"]) }
    }

    /// Header overrides of the request: name and values.
    pub fn request_headers(&self) -> Vec<(String, Vec<String>)> {
        entries(&self.request.get("header"))
    }

    /// Query parameter overrides of the request.
    pub fn request_query(&self) -> Vec<(String, Vec<String>)> {
        entries(&self.request.get("querystring"))
    }

    /// Path parameter overrides of the request; of several values the last.
    pub fn request_path(&self) -> Vec<(String, String)> {
        let last = |(name, values): (String, Vec<String>)| Some((name, values.into_iter().next_back()?));
        entries(&self.request.get("path")).into_iter().filter_map(last).collect()
    }

    /// Header overrides of the response. A list gives a header of several values.
    pub fn response_headers(&self) -> Vec<(String, Vec<String>)> {
        entries(&self.response.get("header"))
    }

    /// The status of the response, if it is a whole number from 100 to 599; anything else is ignored
    /// (recorded).
    pub fn response_status(&self) -> Option<u16> {
        let status = u16::try_from(self.response.get("status").as_integer()?).ok()?;
        (100..=599).contains(&status).then_some(status)
    }
}

fn entries(map: &Value) -> Vec<(String, Vec<String>)> {
    let Value::Map(map) = map else { return Vec::new() };
    let values = |value: &Value| match value {
        Value::List(list) => list.items().iter().map(Value::to_text).collect(),
        value => vec![value.to_text()],
    };
    map.pairs()
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.to_text(), values(value)))
        .collect()
}

/// `$input.json(path)` of a value found, or of nothing.
pub(crate) fn json_text(found: Option<Value>, meter: &mut Meter) -> Eval<Value> {
    let Some(value) = found else {
        // Recorded: a missing path is an empty JSON string.
        return Ok(Value::from_static("\"\""));
    };
    let mut text = String::with_capacity(256);
    crate::value::write_json(&value, &mut text, crate::value::Style::Plain, meter.output_limit())?;
    meter.scratch(text.len())?;
    Ok(Value::from(text))
}
