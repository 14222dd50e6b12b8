//! YAML as CloudFormation writes it: `!Sub x` is `{"Fn::Sub": x}`. JSON is YAML, too.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Tag};

/// Deepest nesting.
const MAX_DEPTH: usize = 128;
/// Most nodes, aliases counted as often as they are used.
const MAX_NODES: usize = 2_000_000;

/// Reads one document. Keys are text, whatever they look like.
///
/// # Errors
/// Where it is no YAML, or uses more than a template needs.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    loop {
        match reader.next()? {
            Event::StreamEnd => return Err("the file is empty".to_owned()),
            Event::DocumentStart(..) => {
                let event = reader.next()?;
                return reader.node(event, 0);
            }
            _ => {}
        }
    }
}

struct Reader<'a, I: serde_saphyr::granit_parser::BorrowedInput<'a>> {
    parser: Parser<'a, I>,
    anchors: HashMap<usize, (Value, usize)>,
    nodes: usize,
}

impl<'a, I: serde_saphyr::granit_parser::BorrowedInput<'a>> Reader<'a, I> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.parser.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Value, String> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err("the document is too deep or too large".to_owned());
        }
        let before = self.nodes;
        let (value, anchor, tag) = match event {
            Event::Alias(anchor) => {
                let (value, nodes) = self.anchors.get(&anchor).ok_or("an alias of nothing")?;
                self.nodes += nodes;
                return Ok(value.clone());
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (if plain { scalar(&text) } else { Value::String(text.into_owned()) }, anchor, tag)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
                (Value::Array(items), anchor, tag)
            }
            Event::MappingStart(_, anchor, tag) => (Value::Object(self.mapping(depth)?), anchor, tag),
            _ => return Err("the document is not complete".to_owned()),
        };
        let value = match tag.as_deref().and_then(function) {
            Some(name) => tagged(&name, value),
            None => value,
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), self.nodes - before + 1));
        }
        Ok(value)
    }

    fn mapping(&mut self, depth: usize) -> Result<Map<String, Value>, String> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err("a key is not text".to_owned()),
            };
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            if key == "<<" {
                merged.push(value);
            } else if map.insert(key.clone(), value).is_some() {
                return Err(format!("the key `{key}` is there twice"));
            }
        }
        for value in merged {
            let maps = match value {
                Value::Array(maps) => maps,
                value => vec![value],
            };
            for (key, value) in maps.into_iter().filter_map(|map| map.as_object().cloned()).flatten() {
                map.entry(key).or_insert(value);
            }
        }
        Ok(map)
    }
}

/// The function a tag stands for.
fn function(tag: &Tag) -> Option<String> {
    if tag.is_yaml_core_schema() {
        return None;
    }
    let name = tag.suffix().trim_start_matches('!');
    Some(match name {
        "Ref" | "Condition" => name.to_owned(),
        name => format!("Fn::{name}"),
    })
}

/// `!GetAtt a.b` is the short form of a list.
fn tagged(name: &str, value: Value) -> Value {
    let value = match (name, &value) {
        ("Fn::GetAtt", Value::String(text)) => match text.split_once('.') {
            Some((resource, attribute)) => serde_json::json!([resource, attribute]),
            None => value,
        },
        _ => value,
    };
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

/// A plain scalar by YAML's core schema.
fn scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => {
            let looks_like_a_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
            // An account id with a leading zero is text.
            let leading_zero = text.len() > 1 && text.starts_with('0') && !text.starts_with("0.");
            if !looks_like_a_number || leading_zero || text.contains('_') {
                return Value::String(text.to_owned());
            }
            let integer = text.parse::<i64>().ok().map(Number::from);
            let number = integer.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64));
            number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_are_functions() {
        let text = "a: !Sub '${X}-y'\nb: !GetAtt Fn.Arn\nc: !Join [',', [!Ref A, b]]\nd: !If [C, 1, !Ref 'AWS::NoValue']\n\
                    e: !Sub\n- '${a}'\n- {a: b}\nf: 2012-10-17\ng: 0123\nh: &x {k: on}\ni: *x\nj: {<<: *x, z: 1.5}\n200: ok";
        assert_eq!(
            read(text).unwrap(),
            json!({
                "a": {"Fn::Sub": "${X}-y"},
                "b": {"Fn::GetAtt": ["Fn", "Arn"]},
                "c": {"Fn::Join": [",", [{"Ref": "A"}, "b"]]},
                "d": {"Fn::If": ["C", 1, {"Ref": "AWS::NoValue"}]},
                "e": {"Fn::Sub": ["${a}", {"a": "b"}]},
                "f": "2012-10-17",
                "g": "0123",
                "h": {"k": "on"},
                "i": {"k": "on"},
                "j": {"z": 1.5, "k": "on"},
                "200": "ok"
            })
        );
    }

    #[test]
    fn what_is_no_yaml_is_said() {
        for bad in ["", "a: [", "a: *x", "a: 1\na: 2"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let mut deep = "[".repeat(200);
        deep.push_str(&"]".repeat(200));
        assert!(read(&deep).is_err());
    }
}
