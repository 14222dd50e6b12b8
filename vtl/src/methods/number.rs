//! `Integer`, `Long`, `Double`, and their static methods, which Velocity finds on any number.

use super::{Call, Method};
use crate::error::Eval;
use crate::value::{Number, Value, integer_literal, java_equals};

impl Call<'_> {
    pub(super) fn on_number(&mut self, receiver: &Value) -> Eval<Value> {
        let Some(number) = Number::of(receiver) else { return Ok(Value::Null) };
        let as_long = || match number {
            Number::Whole(n, _) => n as i64,
            Number::Double(n) => n as i64,
        };
        Ok(match self.method {
            Method::IntValue => match number {
                // Whole numbers are cut to the low bits, floating ones are pinned to the range: Java's rules.
                Number::Whole(n, _) => Value::Int(n as i32),
                Number::Double(n) => Value::Int(n as i32),
            },
            Method::LongValue => Value::Long(as_long()),
            Method::DoubleValue | Method::FloatValue => Value::Double(number.as_f64()),
            Method::Equals => Value::Bool(java_equals(receiver, self.argument(0))),
            Method::CompareTo => match Number::of(self.argument(0)).and_then(|other| number.compare(other)) {
                Some(order) => Value::Int(order as i32),
                None => Value::Null,
            },
            Method::HashCode => match receiver {
                Value::Int(n) => Value::Int(*n),
                _ => Value::Int((as_long() ^ (as_long() >> 32)) as i32),
            },
            Method::Max | Method::Min | Method::Sum => self.of_two(),
            Method::ParseInt | Method::ParseLong => self.parse_whole()?,
            Method::ParseDouble => self.parse_double()?,
            Method::ValueOf => match (receiver, self.argument(0)) {
                (Value::Double(_), Value::Str(_)) => self.parse_double()?,
                (_, Value::Str(_)) => self.parse_whole()?,
                (_, other) => other.clone(),
            },
            Method::ToString => self.in_radix(self.argument(1).as_integer().unwrap_or(10))?,
            Method::ToHexString => self.in_radix(16)?,
            Method::ToBinaryString => self.in_radix(2)?,
            _ => Value::Null,
        })
    }

    fn of_two(&self) -> Value {
        let (a, b) = (self.argument(0), self.argument(1));
        let (Some(left), Some(right)) = (Number::of(a), Number::of(b)) else { return Value::Null };
        match (self.method, left, right) {
            (Method::Sum, Number::Whole(a, _), Number::Whole(b, _)) => integer_literal(&a.wrapping_add(b).to_string()),
            (Method::Sum, a, b) => Value::Double(a.as_f64() + b.as_f64()),
            (Method::Max, ..) => if left.compare(right).is_some_and(|order| order.is_lt()) { b } else { a }.clone(),
            _ => if left.compare(right).is_some_and(|order| order.is_gt()) { b } else { a }.clone(),
        }
    }

    fn parse_whole(&mut self) -> Eval<Value> {
        let text = self.text(0)?;
        let radix = self.argument(1).as_integer().and_then(|radix| u32::try_from(radix).ok()).unwrap_or(10);
        let parsed = if (2..=36).contains(&radix) { i64::from_str_radix(&text, radix).ok() } else { None };
        match parsed {
            Some(n) if self.method == Method::ParseLong => Ok(Value::Long(n)),
            Some(n) => Ok(Value::from(n)),
            None => {
                Err(self
                    .fails(format!("For input string: \"{text}\""), "check the text with matches(\"[0-9]+\") first"))
            }
        }
    }

    fn parse_double(&mut self) -> Eval<Value> {
        let text = self.text(0)?;
        match text.trim().parse() {
            Ok(number) => Ok(Value::Double(number)),
            Err(_) => Err(self.fails(format!("For input string: \"{text}\""), "check the text with matches(…) first")),
        }
    }

    fn in_radix(&mut self, radix: i64) -> Eval<Value> {
        let n = self.integer(0)?;
        let mut digits = Vec::new();
        let mut rest = n.unsigned_abs();
        let radix = if (2..=36).contains(&radix) { radix.unsigned_abs() } else { 10 };
        loop {
            digits.push(char::from_digit((rest % radix) as u32, radix as u32).unwrap_or('0'));
            rest /= radix;
            if rest == 0 {
                break;
            }
        }
        if n < 0 {
            digits.push('-');
        }
        self.made(digits.into_iter().rev().collect::<String>())
    }
}
