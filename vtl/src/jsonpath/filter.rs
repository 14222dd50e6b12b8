//! Conditions of filters: `[?(@.price > 10 && @.kind == 'x')]`.

use std::cmp::Ordering;

use regex::Regex;

use super::PathError;
use super::compile::{MAX_DEPTH, Reader};
use super::function::Inner;
use crate::error::Eval;
use crate::limits::Meter;
use crate::pattern;
use crate::value::{Number, Value, java_equals};

#[derive(Debug)]
pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Exists(Inner),
    Compare(Operand, Operator, Operand),
    Matches(Operand, Regex),
    Literal(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    SubsetOf,
    AnyOf,
    NoneOf,
    Size,
    Empty,
    Contains,
    All,
}

/// Longest spellings first, since the first that fits is taken.
const OPERATORS: [(&str, Operator); 16] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("subsetof", Operator::SubsetOf),
    ("contains", Operator::Contains),
    ("noneof", Operator::NoneOf),
    ("anyof", Operator::AnyOf),
    ("empty", Operator::Empty),
    ("size", Operator::Size),
    ("all", Operator::All),
    ("nin", Operator::NotIn),
    ("in", Operator::In),
    ("=", Operator::Equal),
];

#[derive(Debug)]
pub(super) enum Operand {
    Path(Inner),
    Null,
    Bool(bool),
    Text(Box<str>),
    Whole(i64),
    Double(f64),
    /// A list or map literal, as JSON text; read when asked for.
    Json(Box<str>),
}

pub(super) fn parse_condition(reader: &mut Reader<'_>) -> Result<Condition, PathError> {
    reader.depth += 1;
    if reader.depth > MAX_DEPTH {
        return Err(reader.wrong("conditions are nested too deep"));
    }
    let mut any = Vec::new();
    loop {
        let mut all = vec![parse_term(reader)?];
        reader.skip_blanks();
        while reader.eat("&&") {
            all.push(parse_term(reader)?);
            reader.skip_blanks();
        }
        any.push(one_or(all, Condition::All));
        if !reader.eat("||") {
            break;
        }
    }
    reader.depth -= 1;
    Ok(one_or(any, Condition::Any))
}

/// A single condition needs no list around it.
fn one_or(mut terms: Vec<Condition>, several: fn(Vec<Condition>) -> Condition) -> Condition {
    match (terms.len(), terms.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            terms.extend(last);
            several(terms)
        }
    }
}

fn parse_term(reader: &mut Reader<'_>) -> Result<Condition, PathError> {
    reader.skip_blanks();
    let mut negated = false;
    while reader.rest().starts_with('!') {
        reader.eat("!");
        negated = !negated;
        reader.skip_blanks();
    }
    let condition = if reader.eat("(") {
        let inner = parse_condition(reader)?;
        reader.expect(")")?;
        inner
    } else {
        parse_comparison(reader)?
    };
    Ok(if negated { Condition::Not(Box::new(condition)) } else { condition })
}

fn parse_comparison(reader: &mut Reader<'_>) -> Result<Condition, PathError> {
    let left = parse_operand(reader)?;
    reader.skip_blanks();
    if reader.eat("=~") {
        return Ok(Condition::Matches(left, parse_regex(reader)?));
    }
    let lower = reader.rest().get(..8).unwrap_or(reader.rest()).to_ascii_lowercase();
    let Some((spelling, operator)) = OPERATORS.iter().find(|(spelling, _)| lower.starts_with(spelling)) else {
        return match left {
            Operand::Path(path) => Ok(Condition::Exists(path)),
            Operand::Bool(truth) => Ok(Condition::Literal(truth)),
            _ => Err(reader.wrong("expected a comparison")),
        };
    };
    reader.at += spelling.len();
    Ok(Condition::Compare(left, *operator, parse_operand(reader)?))
}

pub(super) fn parse_operand(reader: &mut Reader<'_>) -> Result<Operand, PathError> {
    reader.skip_blanks();
    let rest = reader.rest();
    let Some(first) = rest.chars().next() else {
        return Err(reader.wrong("expected a value"));
    };
    match first {
        '$' | '@' => {
            reader.depth += 1;
            if reader.depth > MAX_DEPTH {
                return Err(reader.wrong("paths are nested too deep"));
            }
            let path = reader.path(false)?;
            reader.depth -= 1;
            Ok(Operand::Path(Inner { path, from_root: first == '$' }))
        }
        '\'' | '"' => Ok(Operand::Text(reader.quoted()?.into())),
        '[' | '{' => {
            let length = balanced(rest).ok_or_else(|| reader.wrong("the literal has no end"))?;
            reader.at += length;
            Ok(Operand::Json(rest[..length].into()))
        }
        _ => {
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
            let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
            let operand = match &rest[..length] {
                "null" => Operand::Null,
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                number => match (number.parse(), number.parse::<f64>()) {
                    (Ok(whole), _) => Operand::Whole(whole),
                    (_, Ok(double)) if double.is_finite() => Operand::Double(double),
                    _ => return Err(reader.wrong("expected a path, a quoted text, a number, true, false or null")),
                },
            };
            reader.at += length;
            Ok(operand)
        }
    }
}

fn parse_regex(reader: &mut Reader<'_>) -> Result<Regex, PathError> {
    reader.expect("/")?;
    let rest = reader.rest();
    let mut escaped = false;
    let end = rest.find(|c| {
        let found = c == '/' && !escaped;
        escaped = c == '\\' && !escaped;
        found
    });
    let end = end.ok_or_else(|| reader.wrong("the pattern has no closing `/`"))?;
    let flags_at = end + 1;
    let flags = rest[flags_at..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - flags_at);
    let source = match &rest[flags_at..flags_at + flags] {
        "" => rest[..end].to_owned(),
        flags => format!("(?{}){}", flags.replace(['d', 'u'], ""), &rest[..end]),
    };
    let regex =
        pattern::linear_whole(&source).map_err(|reason| reader.wrong(pattern::unsupported(&source, &reason)))?;
    reader.at += flags_at + flags;
    Ok(regex)
}

/// Length of the bracketed literal at the start of a text.
fn balanced(text: &str) -> Option<usize> {
    let mut open = 0;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '{') => open += 1,
            (None, ']' | '}') => {
                open -= 1;
                if open == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

impl Operand {
    pub(super) fn value(&self, item: &Value, root: &Value, meter: &mut Meter) -> Eval<Option<Value>> {
        Ok(match self {
            Operand::Path(path) => path.value(item, root, meter)?,
            Operand::Null => Some(Value::Null),
            Operand::Bool(truth) => Some(Value::Bool(*truth)),
            Operand::Text(text) => Some(Value::from(&**text)),
            Operand::Whole(number) => Some(Value::from(*number)),
            Operand::Double(number) => Some(Value::Double(*number)),
            Operand::Json(text) => {
                meter.scratch(text.len())?;
                crate::json::parse(text).ok()
            }
        })
    }
}

impl Condition {
    pub(super) fn holds(&self, item: &Value, root: &Value, meter: &mut Meter) -> Eval<bool> {
        meter.step(1)?;
        match self {
            Condition::Any(terms) => {
                for term in terms {
                    if term.holds(item, root, meter)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::All(terms) => {
                for term in terms {
                    if !term.holds(item, root, meter)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Not(term) => Ok(!term.holds(item, root, meter)?),
            Condition::Literal(truth) => Ok(*truth),
            Condition::Exists(path) => {
                let found = path.value(item, root, meter)?;
                Ok(match found {
                    Some(Value::List(hits)) if !path.path.is_definite() => !hits.is_empty(),
                    found => found.is_some(),
                })
            }
            Condition::Matches(operand, regex) => {
                let value = operand.value(item, root, meter)?;
                let Some(value) = value else { return Ok(false) };
                Ok(match &value {
                    Value::Str(text) => regex.is_match(text),
                    Value::Bool(_) | Value::Int(_) | Value::Long(_) | Value::Double(_) => {
                        regex.is_match(&value.to_text())
                    }
                    _ => false,
                })
            }
            Condition::Compare(left, operator, right) => {
                let left = left.value(item, root, meter)?;
                let right = right.value(item, root, meter)?;
                let length = |value: &Option<Value>| match value {
                    Some(Value::List(list)) => list.len() as u64,
                    _ => 1,
                };
                meter.step(length(&left).saturating_mul(length(&right)) / 4)?;
                Ok(operator.holds(left.as_ref(), right.as_ref()))
            }
        }
    }
}

impl Operator {
    /// A missing value equals nothing and is ordered before nothing.
    fn holds(self, left: Option<&Value>, right: Option<&Value>) -> bool {
        let (Some(left), Some(right)) = (left, right) else {
            return match self {
                Operator::NotEqual => left.is_some() || right.is_some(),
                Operator::Equal => left.is_none() && right.is_none(),
                _ => false,
            };
        };
        let within = |list: &Value, item: &Value| match list {
            Value::List(list) => list.items().iter().any(|other| alike(other, item)),
            _ => false,
        };
        let every = |items: &Value, list: &Value| match items {
            Value::List(items) => items.items().iter().all(|item| within(list, item)),
            _ => false,
        };
        let some = |items: &Value, list: &Value| match items {
            Value::List(items) => items.items().iter().any(|item| within(list, item)),
            _ => false,
        };
        match self {
            Operator::Equal => alike(left, right),
            Operator::NotEqual => !alike(left, right),
            Operator::Less => order(left, right) == Some(Ordering::Less),
            Operator::LessOrEqual => order(left, right).is_some_and(Ordering::is_le),
            Operator::Greater => order(left, right) == Some(Ordering::Greater),
            Operator::GreaterOrEqual => order(left, right).is_some_and(Ordering::is_ge),
            Operator::In => within(right, left),
            Operator::NotIn => !within(right, left),
            Operator::SubsetOf => every(left, right),
            Operator::All => every(right, left),
            Operator::AnyOf => some(left, right),
            Operator::NoneOf => !some(left, right),
            Operator::Size => size(left).is_some_and(|size| right.as_integer() == Some(size as i64)),
            Operator::Empty => match right {
                Value::Bool(truth) => size(left).is_some_and(|size| (size == 0) == *truth),
                _ => false,
            },
            Operator::Contains => match (left, right) {
                (Value::Str(left), Value::Str(right)) => left.contains(&**right),
                (left, right) => within(left, right),
            },
        }
    }
}

fn size(value: &Value) -> Option<usize> {
    match value {
        Value::Str(text) => Some(text.encode_utf16().count()),
        Value::List(list) => Some(list.len()),
        _ => None,
    }
}

/// Jayway's equality: numbers by amount, and a number equals the text that spells it.
fn alike(left: &Value, right: &Value) -> bool {
    match (left, right, Number::of(left), Number::of(right)) {
        (_, _, Some(left), Some(right)) => left.compare(right) == Some(Ordering::Equal),
        (Value::Str(text), number, None, Some(_)) | (number, Value::Str(text), Some(_), None) => {
            **text == *number.to_text()
        }
        (left, right, ..) => java_equals(left, right),
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right, Number::of(left), Number::of(right)) {
        (_, _, Some(left), Some(right)) => left.compare(right),
        (Value::Str(left), Value::Str(right), ..) => Some(left.encode_utf16().cmp(right.encode_utf16())),
        _ => None,
    }
}
