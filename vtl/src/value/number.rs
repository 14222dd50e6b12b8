//! Java's number kinds: how literals choose one, how arithmetic widens, how doubles print.

use std::fmt::Write;

use super::Value;

/// A number taken out of a value, to calculate with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    /// Whole, with the width of the kind it came from.
    Whole(i128, Width),
    /// Floating.
    Double(f64),
}

/// Kinds of whole numbers, narrow to wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Width {
    Int,
    Long,
    Big,
}

impl Number {
    pub(crate) fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Int(n) => Some(Number::Whole(i128::from(*n), Width::Int)),
            Value::Long(n) => Some(Number::Whole(i128::from(*n), Width::Long)),
            Value::Double(n) => Some(Number::Double(*n)),
            Value::Big(digits) => match digits.parse() {
                Ok(n) => Some(Number::Whole(n, Width::Big)),
                Err(_) => digits.parse().ok().map(Number::Double),
            },
            _ => None,
        }
    }

    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Number::Whole(n, _) => n as f64,
            Number::Double(n) => n,
        }
    }

    /// Order by amount, whatever the kinds (`MathUtils.compare` of Velocity 1.7).
    pub(crate) fn compare(self, other: Number) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Number::Whole(a, _), Number::Whole(b, _)) => Some(a.cmp(&b)),
            (a, b) => a.as_f64().partial_cmp(&b.as_f64()),
        }
    }
}

/// A whole number in the narrowest kind that holds it and is at least `width`.
pub(crate) fn whole(n: i128, width: Width) -> Value {
    if width == Width::Int
        && let Ok(n) = i32::try_from(n)
    {
        return Value::Int(n);
    }
    if width <= Width::Long
        && let Ok(n) = i64::try_from(n)
    {
        return Value::Long(n);
    }
    Value::Big(n.to_string().into())
}

/// The value of a run of digits with an optional sign: the narrowest kind that holds it.
pub(crate) fn integer_literal(digits: &str) -> Value {
    if let Ok(n) = digits.parse::<i64>() {
        return n.into();
    }
    match digits.parse::<i128>() {
        Ok(n) => whole(n, Width::Int),
        Err(_) => Value::Big(digits.into()),
    }
}

/// `Double.toString`.
pub(crate) fn write_double(n: f64, out: &mut String) {
    let size = n.abs();
    // Writing to a String cannot fail.
    let _infallible = if n.is_nan() {
        out.write_str("NaN")
    } else if n.is_infinite() {
        out.write_str(if n > 0.0 { "Infinity" } else { "-Infinity" })
    } else if n == 0.0 || (1e-3..1e7).contains(&size) {
        write!(out, "{n:?}")
    } else {
        let scientific = format!("{n:E}");
        match scientific.split_once('E') {
            Some((mantissa, exponent)) if !mantissa.contains('.') => {
                write!(out, "{mantissa}.0E{exponent}")
            }
            _ => out.write_str(&scientific),
        }
    };
}
