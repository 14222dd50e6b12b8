//! The methods of Java's strings, lists, maps and numbers that templates call.
//!
//! A method that does not exist gives null, as an unknown reference does. One that would throw fails the
//! rendering.

mod collection;
mod format;
mod number;
mod string;

pub(crate) use collection::{out_of_bounds, put_entry, set_item};

use crate::ast::Prepared;
use crate::error::{Eval, Fault};
use crate::limits::Meter;
use crate::text::Text;
use crate::value::{Value, print_java};

macro_rules! methods {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A method's name, looked up once.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Method {
            $($variant,)*
            Unknown,
        }

        impl Method {
            pub(crate) fn named(name: &str) -> Method {
                match name {
                    $($name => Method::$variant,)*
                    _ => Method::Unknown,
                }
            }
        }
    };
}

methods! {
    Add = "add", AddAll = "addAll", BooleanValue = "booleanValue", CharAt = "charAt", Clear = "clear",
    CodePointAt = "codePointAt", CompareTo = "compareTo", CompareToIgnoreCase = "compareToIgnoreCase",
    Concat = "concat", Contains = "contains", ContainsAll = "containsAll", ContainsKey = "containsKey",
    ContainsValue = "containsValue", DoubleValue = "doubleValue", EndsWith = "endsWith",
    EntrySet = "entrySet", Equals = "equals", EqualsIgnoreCase = "equalsIgnoreCase",
    FloatValue = "floatValue", Format = "format", Get = "get", GetKey = "getKey",
    GetOrDefault = "getOrDefault", GetValue = "getValue", HasNext = "hasNext", HashCode = "hashCode",
    IndexOf = "indexOf", IntValue = "intValue", IsBlank = "isBlank", IsEmpty = "isEmpty",
    Iterator = "iterator", Join = "join", KeySet = "keySet", LastIndexOf = "lastIndexOf", Length = "length",
    LongValue = "longValue", Matches = "matches", Max = "max", Min = "min", Next = "next",
    ParseBoolean = "parseBoolean", ParseDouble = "parseDouble", ParseInt = "parseInt",
    ParseLong = "parseLong", Put = "put", PutAll = "putAll", PutIfAbsent = "putIfAbsent", Remove = "remove",
    RemoveAll = "removeAll", Repeat = "repeat", Replace = "replace", ReplaceAll = "replaceAll",
    ReplaceFirst = "replaceFirst", RetainAll = "retainAll", Set = "set", Size = "size", Split = "split",
    StartsWith = "startsWith", Strip = "strip", StripLeading = "stripLeading",
    StripTrailing = "stripTrailing", SubList = "subList", SubSequence = "subSequence",
    Substring = "substring", Sum = "sum", ToArray = "toArray", ToBinaryString = "toBinaryString",
    ToCharArray = "toCharArray", ToHexString = "toHexString", ToJsonString = "toJSONString",
    ToLowerCase = "toLowerCase", ToString = "toString", ToUpperCase = "toUpperCase", Trim = "trim",
    ValueOf = "valueOf", Values = "values",
}

/// A call being made.
pub(crate) struct Call<'c> {
    pub(crate) name: &'c str,
    pub(crate) method: Method,
    pub(crate) arguments: &'c [Value],
    pub(crate) prepared: &'c Prepared,
    pub(crate) meter: &'c mut Meter,
}

impl Call<'_> {
    /// Makes the call.
    pub(crate) fn on(mut self, receiver: &Value) -> Eval<Value> {
        match (self.method, receiver) {
            (Method::Unknown, _) | (_, Value::Null) => Ok(Value::Null),
            (Method::ToString, receiver) if self.arguments.is_empty() => self.printed(receiver).map(Value::Str),
            (_, receiver) if !self.fits(receiver) => Ok(Value::Null),
            (_, Value::Str(text)) => self.on_string(text),
            (_, Value::List(list)) => self.on_list(list),
            (_, Value::Map(map)) => self.on_map(map),
            (_, Value::Entry(entry)) => Ok(match self.method {
                Method::GetKey => entry.key.clone(),
                Method::GetValue => entry.value.clone(),
                _ => Value::Null,
            }),
            (_, Value::Bool(truth)) => self.on_bool(*truth),
            (_, Value::Int(_) | Value::Long(_) | Value::Double(_) | Value::Big(_)) => self.on_number(receiver),
        }
    }

    /// Does Java know the method with these arguments? Velocity converts none: `get("0")` of a list does not exist.
    fn fits(&self, receiver: &Value) -> bool {
        let int = |nth: usize| matches!(self.argument(nth), Value::Int(_));
        // Null is a text as well as any other object.
        let text = |nth: usize| matches!(self.argument(nth), Value::Str(_) | Value::Null);
        let count = self.arguments.len();
        match receiver {
            Value::Str(_) => match self.method {
                Method::Contains
                | Method::Concat
                | Method::EndsWith
                | Method::Matches
                | Method::CompareTo
                | Method::CompareToIgnoreCase
                | Method::EqualsIgnoreCase => count == 1 && text(0),
                Method::StartsWith | Method::Split => (count == 1 || count == 2 && int(1)) && text(0),
                Method::Replace | Method::ReplaceAll | Method::ReplaceFirst => count == 2 && text(0) && text(1),
                Method::IndexOf | Method::LastIndexOf => (count == 1 || count == 2 && int(1)) && (text(0) || int(0)),
                Method::CharAt | Method::CodePointAt | Method::Repeat => count == 1 && int(0),
                Method::Substring => (count == 1 || count == 2 && int(1)) && int(0),
                Method::SubSequence => count == 2 && int(0) && int(1),
                Method::Equals => count == 1,
                _ => true,
            },
            Value::List(_) => match self.method {
                Method::Get => count == 1 && int(0),
                Method::Add => count == 1 || count == 2 && int(0),
                Method::Set => count == 2 && int(0),
                Method::SubList => count == 2 && int(0) && int(1),
                Method::Contains | Method::Equals | Method::IndexOf | Method::LastIndexOf | Method::Remove => {
                    count == 1
                }
                _ => true,
            },
            Value::Map(_) => match self.method {
                Method::Get | Method::ContainsKey | Method::ContainsValue | Method::Equals => count == 1,
                Method::Put | Method::PutIfAbsent | Method::Replace | Method::GetOrDefault => count == 2,
                _ => true,
            },
            Value::Null
            | Value::Entry(_)
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Long(_)
            | Value::Double(_)
            | Value::Big(_) => true,
        }
    }

    fn argument(&self, nth: usize) -> &Value {
        self.arguments.get(nth).unwrap_or(&Value::Null)
    }

    /// A string argument, or what another value prints as.
    fn text(&mut self, nth: usize) -> Eval<Text> {
        let argument = self.argument(nth).clone();
        self.printed(&argument)
    }

    fn integer(&self, nth: usize) -> Eval<i64> {
        self.argument(nth).as_integer().ok_or_else(|| {
            self.fails(format!("argument {} is not a whole number", nth + 1), "check the value before the call")
        })
    }

    fn printed(&mut self, value: &Value) -> Eval<Text> {
        if let Value::Str(text) = value {
            return Ok(text.clone());
        }
        let mut text = String::new();
        print_java(value, &mut text, self.meter.output_limit())?;
        self.meter.scratch(text.len())?;
        Ok(text.into())
    }

    /// A new string, paid for.
    fn made(&mut self, text: impl Into<Text>) -> Eval<Value> {
        let text = text.into();
        self.meter.scratch(text.len())?;
        Ok(Value::Str(text))
    }

    fn fails(&self, reason: impl std::fmt::Display, help: &'static str) -> Box<Fault> {
        Fault::failed(format!("{}() failed: {reason}", self.name), help)
    }

    fn on_bool(&self, truth: bool) -> Eval<Value> {
        Ok(match self.method {
            Method::Equals => Value::Bool(matches!(self.argument(0), Value::Bool(other) if *other == truth)),
            Method::BooleanValue => Value::Bool(truth),
            Method::ParseBoolean | Method::ValueOf => {
                Value::Bool(self.argument(0).as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
            }
            Method::CompareTo => match self.argument(0) {
                Value::Bool(other) => Value::Int(i32::from(truth) - i32::from(*other)),
                _ => Value::Null,
            },
            _ => Value::Null,
        })
    }
}
