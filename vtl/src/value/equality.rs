//! `Object.equals` of Java.

use super::Value;
use crate::error::Eval;
use crate::limits::Meter;

/// How many values one comparison looks at. Shared parts make small values exponentially large to
/// compare; beyond this they count as different.
const BUDGET: u32 = 10_000;
const DEPTH: u32 = 200;

/// `a.equals(b)`: kinds of numbers differ, containers compare by content.
pub(crate) fn java_equals(a: &Value, b: &Value) -> bool {
    same(a, b, DEPTH, &mut { BUDGET })
}

/// The same, paid for.
pub(crate) fn equals_metered(a: &Value, b: &Value, meter: &mut Meter) -> Eval<bool> {
    let mut budget = BUDGET;
    let equal = same(a, b, DEPTH, &mut budget);
    meter.step(u64::from(BUDGET - budget) / 2)?;
    Ok(equal)
}

fn same(a: &Value, b: &Value, depth: u32, budget: &mut u32) -> bool {
    if depth == 0 || *budget == 0 {
        return false;
    }
    *budget -= 1;
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Long(a), Value::Long(b)) => a == b,
        (Value::Double(a), Value::Double(b)) => a == b || (a.is_nan() && b.is_nan()),
        (Value::Big(a), Value::Big(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            if std::rc::Rc::ptr_eq(a, b) {
                return true;
            }
            let (a, b) = (a.items(), b.items());
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b, depth - 1, budget))
        }
        (Value::Map(a), Value::Map(b)) => {
            if std::rc::Rc::ptr_eq(a, b) {
                return true;
            }
            a.len() == b.len()
                && a.pairs().iter().all(|(key, value)| {
                    // Looking up a key that is itself a container would start a comparison without this
                    // one's budget, and such keys do not occur.
                    matches!(key, Value::Str(_) | Value::Int(_) | Value::Long(_) | Value::Bool(_))
                        && b.get_key(key).is_some_and(|other| same(value, &other, depth - 1, budget))
                })
        }
        (Value::Entry(a), Value::Entry(b)) => {
            same(&a.key, &b.key, depth - 1, budget) && same(&a.value, &b.value, depth - 1, budget)
        }
        _ => false,
    }
}
