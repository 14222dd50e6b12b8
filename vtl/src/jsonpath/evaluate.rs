//! Walking a document along the tokens of a path.

use super::{Path, Token};
use crate::error::{Eval, Fault};
use crate::limits::Meter;
use crate::value::{Access, Map, Value};
use std::rc::Rc;

/// Deepest level a scan goes down to; the JSON reader stops before.
const DEPTH: u32 = 500;

/// What is handed down a walk.
struct Walk<'a> {
    root: &'a Value,
    hits: Vec<Value>,
    meter: &'a mut Meter,
}

/// The value at the path from `start`; `root` is what `$` inside filters means.
pub(super) fn find(path: &Path, start: &Value, root: &Value, meter: &mut Meter) -> Eval<Option<Value>> {
    if path.straight {
        meter.step(path.tokens.len() as u64)?;
        return Ok(straight(&path.tokens, start));
    }
    let mut walk = Walk { root, hits: Vec::new(), meter };
    walk.follow(&path.tokens, start, DEPTH)?;
    let mut hits = walk.hits;
    Ok(if path.definite { hits.pop() } else { Some(Value::json_list(hits)) })
}

/// The common case, names and single indexes one after the other. Goes no deeper than the document.
fn straight(tokens: &[Token], from: &Value) -> Option<Value> {
    let Some((token, rest)) = tokens.split_first() else { return Some(from.clone()) };
    match (token, from) {
        (Token::Names(names), Value::Map(map)) => map.with(names.first()?, |next| straight(rest, next))?,
        (Token::Indexes(indexes), Value::List(list)) => {
            let items = list.items();
            straight(rest, items.get(offset(*indexes.first()?, items.len())?)?)
        }
        _ => None,
    }
}

impl Walk<'_> {
    fn hit(&mut self, value: Value) -> Eval<()> {
        self.meter.scratch(size_of::<Value>())?;
        self.hits.push(value);
        Ok(())
    }

    fn follow(&mut self, tokens: &[Token], value: &Value, depth: u32) -> Eval<()> {
        self.meter.step(1)?;
        if depth == 0 {
            return Err(Fault::limit("the path goes too deep into the document", "use a shorter path"));
        }
        let Some((token, rest)) = tokens.split_first() else {
            return self.hit(value.clone());
        };
        let depth = depth - 1;
        match token {
            Token::Names(names) => self.names(names, rest, value, depth),
            Token::Indexes(indexes) => {
                if let Value::List(list) = value {
                    for index in indexes {
                        if let Some(item) = offset(*index, list.len()).and_then(|at| list.get(at)) {
                            self.follow(rest, &item, depth)?;
                        }
                    }
                }
                Ok(())
            }
            Token::Slice(from, to) => {
                if let Value::List(list) = value {
                    for at in slice(*from, *to, list.len()) {
                        if let Some(item) = list.get(at) {
                            self.follow(rest, &item, depth)?;
                        }
                    }
                }
                Ok(())
            }
            Token::Wildcard => self.children(value, |walk, child| walk.follow(rest, child, depth)),
            Token::Scan => self.scan(rest, value, depth),
            Token::Filter(condition) => {
                if let Value::List(_) = value {
                    self.children(value, |walk, child| {
                        if condition.holds(child, walk.root, walk.meter)? {
                            walk.follow(rest, child, depth)?;
                        }
                        Ok(())
                    })
                } else if matches!(value, Value::Map(_)) && condition.holds(value, self.root, self.meter)? {
                    self.follow(rest, value, depth)
                } else {
                    Ok(())
                }
            }
            Token::Function(call) => {
                let result = call.apply(value, self.root, self.meter)?;
                self.follow(rest, &result, depth)
            }
        }
    }

    fn names(&mut self, names: &[Box<str>], rest: &[Token], value: &Value, depth: u32) -> Eval<()> {
        let Value::Map(map) = value else { return Ok(()) };
        if let [name] = names {
            return match map.get(name) {
                Some(member) => self.follow(rest, &member, depth),
                None => Ok(()),
            };
        }
        let members = names.iter().filter_map(|name| Some((name, map.get(name)?)));
        if rest.is_empty() {
            // Several names at the end give one object of those that are there.
            let members = members.map(|(name, member)| ((&**name).into(), member));
            return self.hit(Value::Map(Rc::new(Map::collect(Access::Open, members))));
        }
        for (_, member) in members {
            self.follow(rest, &member, depth)?;
        }
        Ok(())
    }

    /// Applies the tokens to a value and to everything below it, outer values first.
    fn scan(&mut self, tokens: &[Token], value: &Value, depth: u32) -> Eval<()> {
        self.meter.step(1)?;
        if depth == 0 {
            return Err(Fault::limit("the document is too deep to scan", "use a path without `..`"));
        }
        let applies = match tokens.first() {
            Some(Token::Names(names)) => match value {
                Value::Map(map) => names.len() > 1 || map.get(&names[0]).is_some(),
                _ => false,
            },
            Some(Token::Indexes(_) | Token::Slice(..)) => matches!(value, Value::List(_)),
            // Each value is asked when the scan comes to it; asking lists for their items as well would
            // count every hit twice.
            Some(Token::Filter(condition)) => {
                if condition.holds(value, self.root, self.meter)? {
                    self.follow(&tokens[1..], value, depth)?;
                }
                false
            }
            Some(Token::Function(_)) => false,
            _ => true,
        };
        if applies {
            self.follow(tokens, value, depth)?;
        }
        self.children(value, |walk, child| walk.scan(tokens, child, depth - 1))
    }

    fn children(&mut self, value: &Value, mut each: impl FnMut(&mut Self, &Value) -> Eval<()>) -> Eval<()> {
        match value {
            Value::List(list) => list.items().iter().try_for_each(|item| each(self, item)),
            Value::Map(map) => map.pairs().iter().try_for_each(|(_, member)| each(self, member)),
            _ => Ok(()),
        }
    }
}

fn offset(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index.checked_add(length)? } else { index }).ok()
}

/// The places of a slice. A negative end counts from the back only where there is no start: Jayway's way.
fn slice(from: Option<i64>, to: Option<i64>, length: usize) -> std::ops::Range<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let (from, to) = match (from, to) {
        (None, None) => (0, length),
        (Some(from), None) if from < 0 => ((from.saturating_add(length)).max(0), length),
        (Some(from), None) => (from, length),
        (None, Some(to)) if to < 0 => (0, to.saturating_add(length)),
        (None, Some(to)) => (0, to.min(length)),
        (Some(from), Some(to)) => (from.max(0), to.min(length)),
    };
    let bound = |n: i64| usize::try_from(n.max(0)).unwrap_or(0);
    bound(from)..bound(to)
}
