//! Functions at the end of a path: `$.list.length()`.

use super::compile::Reader;
use super::filter::{Operand, parse_operand};
use super::{Path, PathError};
use crate::error::{Eval, Fault};
use crate::limits::Meter;
use crate::value::{Number, Value};

/// A function with its arguments.
#[derive(Debug)]
pub(super) struct Call {
    name: Name,
    arguments: Vec<Operand>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Length,
    Min,
    Max,
    Avg,
    Sum,
    Stddev,
    Keys,
    Concat,
    Append,
    First,
    Last,
    Index,
}

impl Call {
    /// Reads the arguments after the name.
    pub(super) fn parse(name: &str, reader: &mut Reader<'_>) -> Result<Call, PathError> {
        let name = match name {
            "length" | "size" => Name::Length,
            "min" => Name::Min,
            "max" => Name::Max,
            "avg" => Name::Avg,
            "sum" => Name::Sum,
            "stddev" => Name::Stddev,
            "keys" => Name::Keys,
            "concat" => Name::Concat,
            "append" => Name::Append,
            "first" => Name::First,
            "last" => Name::Last,
            "index" => Name::Index,
            other => return Err(reader.wrong(format!("there is no function `{other}`"))),
        };
        reader.expect("(")?;
        let mut arguments = Vec::new();
        reader.skip_blanks();
        while !reader.eat(")") {
            if !arguments.is_empty() {
                reader.expect(",")?;
            }
            arguments.push(parse_operand(reader)?);
            reader.skip_blanks();
        }
        Ok(Call { name, arguments })
    }

    pub(super) fn apply(&self, value: &Value, root: &Value, meter: &mut Meter) -> Eval<Value> {
        let mut arguments = Vec::with_capacity(self.arguments.len());
        for argument in &self.arguments {
            arguments.push(argument.value(value, root, meter)?.unwrap_or_default());
        }
        if let Value::List(list) = value {
            meter.step(list.len() as u64)?;
        }
        Ok(match self.name {
            Name::Length => length(arguments.first().unwrap_or(value)),
            Name::Keys => match value {
                Value::Map(map) => Value::json_list(map.pairs().iter().map(|(key, _)| key.clone()).collect()),
                _ => Value::Null,
            },
            Name::Concat => {
                let mut text = String::new();
                if let Value::List(list) = value {
                    let items = list.items();
                    items.iter().filter_map(Value::as_str).for_each(|item| text.push_str(item));
                }
                arguments.iter().for_each(|argument| text.push_str(&argument.to_text()));
                meter.scratch(text.len())?;
                text.into()
            }
            Name::Append => match value {
                Value::List(list) => {
                    let mut items = list.items().clone();
                    items.extend(arguments);
                    meter.scratch(items.len() * size_of::<Value>())?;
                    Value::json_list(items)
                }
                other => other.clone(),
            },
            Name::First => nth(value, 0),
            Name::Last => nth(value, -1),
            Name::Index => nth(value, arguments.first().and_then(Value::as_integer).unwrap_or(0)),
            Name::Min | Name::Max | Name::Avg | Name::Sum | Name::Stddev => {
                Value::Double(self.aggregate(&numbers(value, &arguments))?)
            }
        })
    }

    fn aggregate(&self, numbers: &[f64]) -> Eval<f64> {
        if numbers.is_empty() {
            return Err(Fault::failed(
                "an aggregation function of the path found no numbers",
                "apply it to a list of numbers, or check that there is one",
            ));
        }
        let count = numbers.len() as f64;
        let sum: f64 = numbers.iter().sum();
        Ok(match self.name {
            Name::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
            Name::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Name::Avg => sum / count,
            Name::Stddev => {
                let squares: f64 = numbers.iter().map(|n| n * n).sum();
                (squares / count - (sum * sum) / count / count).sqrt()
            }
            _ => sum,
        })
    }
}

fn length(value: &Value) -> Value {
    match value {
        Value::List(list) => Value::from(list.len() as i64),
        Value::Map(map) => Value::from(map.len() as i64),
        _ => Value::Null,
    }
}

fn nth(value: &Value, index: i64) -> Value {
    let Value::List(list) = value else { return Value::Null };
    let index = if index < 0 { index.saturating_add(list.len() as i64) } else { index };
    usize::try_from(index).ok().and_then(|index| list.get(index)).unwrap_or_default()
}

fn numbers(value: &Value, arguments: &[Value]) -> Vec<f64> {
    let mut numbers = Vec::new();
    let mut add = |value: &Value| numbers.extend(Number::of(value).map(Number::as_f64));
    if let Value::List(list) = value {
        list.items().iter().for_each(&mut add);
    }
    for argument in arguments {
        match argument {
            Value::List(list) => list.items().iter().for_each(&mut add),
            other => add(other),
        }
    }
    numbers
}

/// A path among a function's arguments or in a filter, from the document's root or the item at hand.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) path: Path,
    pub(super) from_root: bool,
}

impl Inner {
    pub(super) fn value(&self, item: &Value, root: &Value, meter: &mut Meter) -> Eval<Option<Value>> {
        super::evaluate::find(&self.path, if self.from_root { root } else { item }, root, meter)
    }
}
