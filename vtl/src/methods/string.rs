//! `java.lang.String`. Positions count UTF-16 units, as in Java.

use std::borrow::Cow;

use super::{Call, Method};
use crate::ast::Prepared;
use crate::error::Eval;
use crate::pattern::{self, Pattern, Stopped};
use crate::text::Text;
use crate::value::Value;

/// Where a pattern does not work.
const SIMPLER: &str = "use a simpler pattern; only one that stands in the template may look around";
const CHECK_LENGTH: &str = "compare with length() or indexOf() first";

impl<'c> Call<'c> {
    pub(super) fn on_string(&mut self, text: &Text) -> Eval<Value> {
        // Every method looks at the whole text at most a few times.
        self.meter.step(text.len() as u64 / 256)?;
        Ok(match self.method {
            Method::Length => Value::from(utf16_length(text) as i64),
            Method::IsEmpty => Value::Bool(text.is_empty()),
            Method::IsBlank => Value::Bool(text.trim().is_empty()),
            Method::Equals => Value::Bool(self.argument(0).as_str() == Some(text)),
            Method::EqualsIgnoreCase => Value::Bool(match self.argument(0) {
                Value::Str(other) => text.to_lowercase() == other.to_lowercase(),
                _ => false,
            }),
            Method::CompareTo => compare(text, &self.text(0)?),
            Method::CompareToIgnoreCase => compare(&text.to_lowercase(), &self.text(0)?.to_lowercase()),
            Method::Contains => Value::Bool(text.contains(&*self.text(0)?)),
            Method::StartsWith => {
                let prefix = self.text(0)?;
                let from = self.argument(1).as_integer().unwrap_or(0);
                let from = usize::try_from(from).ok().and_then(|from| byte_at(text, from));
                Value::Bool(from.is_some_and(|from| text[from..].starts_with(&*prefix)))
            }
            Method::EndsWith => Value::Bool(text.ends_with(&*self.text(0)?)),
            Method::IndexOf => self.index_of(text)?,
            Method::LastIndexOf => {
                let found = text.rfind(&*self.sought()?);
                found.map_or(Value::Int(-1), |at| Value::from(utf16_length(&text[..at]) as i64))
            }
            Method::CharAt | Method::CodePointAt => {
                let index = self.integer(0)?;
                let from = usize::try_from(index).ok().and_then(|index| byte_at(text, index));
                let Some(c) = from.and_then(|from| text[from..].chars().next()) else {
                    return Err(self.fails(format!("index {index} is out of range"), CHECK_LENGTH));
                };
                match self.method {
                    Method::CharAt => self.made(c.to_string())?,
                    _ => Value::from(i64::from(u32::from(c))),
                }
            }
            Method::Substring | Method::SubSequence => self.substring(text)?,
            Method::Concat => {
                let other = self.text(0)?;
                self.meter.output(text.len() + other.len())?;
                self.made(format!("{text}{other}"))?
            }
            Method::Repeat => {
                let times = usize::try_from(self.integer(0)?).unwrap_or(0);
                self.meter.output(text.len().saturating_mul(times))?;
                self.made(text.repeat(times))?
            }
            Method::Trim => self.made(text.trim_matches(|c: char| c <= ' '))?,
            Method::Strip => self.made(text.trim())?,
            Method::StripLeading => self.made(text.trim_start())?,
            Method::StripTrailing => self.made(text.trim_end())?,
            Method::ToLowerCase => self.made(text.to_lowercase())?,
            Method::ToUpperCase => self.made(text.to_uppercase())?,
            Method::Replace => {
                let (from, to) = (self.text(0)?, self.text(1)?);
                if !text.contains(&*from) {
                    return Ok(Value::Str(text.clone()));
                }
                let growth = text.matches(&*from).count().saturating_mul(to.len());
                self.meter.output(text.len().saturating_add(growth))?;
                self.made(text.replace(&*from, &to))?
            }
            Method::ReplaceAll | Method::ReplaceFirst => {
                let replacement = self.text(1)?;
                let pattern = self.pattern(false)?;
                let cost = pattern.cost(text);
                let meter = &mut *self.meter;
                let first_only = self.method == Method::ReplaceFirst;
                let result = pattern::replace(&pattern, text, &replacement, first_only, |length| {
                    meter.step(cost)?;
                    meter.output(length)
                });
                let replaced = result.map_err(|stopped| match stopped {
                    Stopped::Wrong(reason) => self.fails(reason, "write \\$ for a plain dollar sign"),
                    Stopped::Refused(error) => error,
                })?;
                self.made(replaced)?
            }
            Method::Matches => {
                let pattern = self.pattern(true)?;
                self.meter.step(pattern.cost(text))?;
                let matched = pattern.is_match(text);
                Value::Bool(matched.map_err(|reason| self.fails(reason, SIMPLER))?)
            }
            Method::Split => self.split(text)?,
            Method::ToCharArray => {
                self.meter.scratch(text.len() * 48)?;
                Value::list(text.chars().map(|c| Value::from(c.to_string())).collect())
            }
            Method::HashCode => {
                let hash =
                    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
                Value::Int(hash)
            }
            Method::Format => self.format()?,
            Method::ValueOf => Value::Str(self.text(0)?),
            Method::Join => self.join()?,
            _ => Value::Null,
        })
    }

    /// The text, or the character by its code, to look for.
    fn sought(&mut self) -> Eval<Text> {
        match self.argument(0) {
            Value::Int(code) => {
                let character = u32::try_from(*code).ok().and_then(char::from_u32);
                Ok(character.map_or_else(|| self.text(0), |character| Ok(character.to_string().into()))?)
            }
            _ => self.text(0),
        }
    }

    fn index_of(&mut self, text: &Text) -> Eval<Value> {
        let wanted = self.sought()?;
        let from = self.argument(1).as_integer().unwrap_or(0).max(0);
        let from = usize::try_from(from).ok().and_then(|from| byte_at(text, from));
        let found = from.and_then(|from| Some(from + text[from..].find(&*wanted)?));
        Ok(found.map_or(Value::Int(-1), |at| Value::from(utf16_length(&text[..at]) as i64)))
    }

    fn substring(&mut self, text: &Text) -> Eval<Value> {
        let length = utf16_length(text) as i64;
        let begin = self.integer(0)?;
        let end = if self.arguments.len() > 1 { self.integer(1)? } else { length };
        if begin < 0 || end > length || begin > end {
            let reason = format!("begin {begin}, end {end}, length {length}");
            return Err(self.fails(reason, CHECK_LENGTH));
        }
        let at = |index: i64| usize::try_from(index).ok().and_then(|index| byte_at(text, index));
        match (at(begin), at(end)) {
            (Some(begin), Some(end)) => self.made(&text[begin..end]),
            _ => Ok(Value::Null),
        }
    }

    /// The pattern in the first argument.
    fn pattern(&mut self, whole: bool) -> Eval<Cow<'c, Pattern>> {
        let prepared = match self.prepared {
            Prepared::Pattern(Ok(pattern)) => return Ok(Cow::Borrowed(pattern)),
            Prepared::Pattern(Err(reason)) => Some(reason),
            _ => None,
        };
        let source = self.text(0)?;
        let made = match prepared {
            Some(reason) => Err(reason.clone()),
            None => {
                self.meter.step(200)?;
                if whole { Pattern::linear_whole(&source) } else { Pattern::linear_search(&source) }
            }
        };
        made.map(Cow::Owned).map_err(|reason| self.fails(pattern::unsupported(&source, &reason), SIMPLER))
    }

    fn split(&mut self, text: &Text) -> Eval<Value> {
        let limit = self.argument(1).as_integer().unwrap_or(0);
        let pattern = self.pattern(false)?;
        let cost = pattern.cost(text);
        let finds = pattern.finds(text).map_err(|reason| self.fails(reason, SIMPLER))?;
        let mut parts: Vec<&str> = Vec::new();
        let mut done = 0;
        for found in finds {
            let found = found.map_err(|reason| self.fails(reason, SIMPLER))?;
            self.meter.step(cost)?;
            if limit > 0 && parts.len() as i64 == limit - 1 {
                break;
            }
            // An empty match at the start makes no part.
            if found.end == 0 {
                continue;
            }
            if found.is_empty() && found.start == text.len() {
                break;
            }
            parts.push(&text[done..found.start]);
            done = found.end;
        }
        parts.push(&text[done..]);
        if limit == 0 {
            while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
                parts.pop();
            }
        }
        self.meter.scratch(parts.len() * 48 + text.len())?;
        Ok(Value::list(parts.into_iter().map(Value::from).collect()))
    }

    /// `String.join(separator, list)`, which Velocity finds on any string.
    fn join(&mut self) -> Eval<Value> {
        let separator = self.text(0)?;
        let items: Vec<Value> = match self.argument(1) {
            Value::List(list) => list.items().clone(),
            _ => self.arguments.iter().skip(1).cloned().collect(),
        };
        let mut joined = String::new();
        for (nth, item) in items.iter().enumerate() {
            if nth > 0 {
                joined.push_str(&separator);
            }
            joined.push_str(&self.printed(item)?);
            self.meter.output(joined.len())?;
        }
        self.made(joined)
    }
}

fn compare(a: &str, b: &str) -> Value {
    let (mut left, mut right) = (a.encode_utf16(), b.encode_utf16());
    loop {
        match (left.next(), right.next()) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => return Value::Int(i32::from(a) - i32::from(b)),
            _ => return Value::from(utf16_length(a) as i64 - utf16_length(b) as i64),
        }
    }
}

pub(super) fn utf16_length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// The byte where a UTF-16 position is; inside a pair, the start of the character.
fn byte_at(text: &str, index: usize) -> Option<usize> {
    if text.is_ascii() {
        return (index <= text.len()).then_some(index);
    }
    let mut units = 0;
    for (at, c) in text.char_indices() {
        if units >= index {
            return Some(at);
        }
        units += c.len_utf16();
        if units > index {
            return Some(at);
        }
    }
    (units == index).then_some(text.len())
}
