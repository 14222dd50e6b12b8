//! Values of expressions: Java's arithmetic, Velocity's comparisons.

use std::rc::Rc;

use super::Renderer;
use crate::ast::{Arithmetic, Comparison, Expr, Root};
use crate::error::{Eval, Fault};
use crate::value::{Access, Map, Number, Value, equals_metered, whole};

impl Renderer<'_, '_> {
    /// The value of an expression.
    pub(super) fn value(&mut self, expression: &Expr) -> Eval<Value> {
        self.enter()?;
        self.meter.step(1)?;
        let value = match expression {
            Expr::Null => Value::Null,
            Expr::Bool(truth) => Value::Bool(*truth),
            Expr::Int(number) => Value::Int(*number),
            Expr::Long(number) => Value::Long(*number),
            Expr::Double(number) => Value::Double(*number),
            Expr::Digits(digits) => Value::Big((&**digits).into()),
            Expr::Text(text) => Value::from(&**text),
            Expr::Interpolated(block) => {
                let mut text = String::new();
                self.block(block, &mut text)?;
                self.meter.scratch(text.len())?;
                Value::from(text)
            }
            Expr::Reference(reference) => self.reference(reference).map_err(|fault| fault.at(reference.at))?,
            Expr::List(items) => {
                self.meter.scratch(items.len() * 64)?;
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.value(item)?);
                }
                Value::list(values)
            }
            Expr::Map(entries) => self.map(entries)?,
            Expr::Range(ends) => self.range(&ends.0, &ends.1)?,
            Expr::Arithmetic(first, others) => self.arithmetic(first, others)?,
            Expr::Comparison(first, others) => self.comparison(first, others)?,
            Expr::Not(_) | Expr::And(_) | Expr::Or(_) => Value::Bool(self.holds(expression)?),
            Expr::Minus(inner) => {
                let value = self.value(inner)?;
                calculate(Arithmetic::Subtract, &Value::Int(0), &value)
            }
            Expr::Group(inner) => self.value(inner)?,
        };
        self.depth -= 1;
        Ok(value)
    }

    /// Is an expression true? References are unless null or false; bare strings, numbers and lists are not,
    /// which is a peculiarity of Velocity 1.7.
    pub(super) fn holds(&mut self, expression: &Expr) -> Eval<bool> {
        if let Expr::Reference(reference) = expression
            && let (Root::LoopHasNext, [], None) = (reference.root, &*reference.steps, &reference.alternate)
        {
            return Ok(self.loops.last().is_some_and(|current| current.index + 1 < current.length));
        }
        self.enter()?;
        let truth = match expression {
            Expr::Bool(truth) => *truth,
            Expr::Reference(_) | Expr::Comparison(..) => match self.value(expression)? {
                Value::Null => false,
                Value::Bool(truth) => truth,
                _ => true,
            },
            Expr::Not(inner) => !self.holds(inner)?,
            Expr::Group(inner) => self.holds(inner)?,
            Expr::And(terms) => {
                let mut all = true;
                for term in terms {
                    all = all && self.holds(term)?;
                }
                all
            }
            Expr::Or(terms) => {
                let mut any = false;
                for term in terms {
                    any = any || self.holds(term)?;
                }
                any
            }
            _ => false,
        };
        self.depth -= 1;
        Ok(truth)
    }

    fn map(&mut self, entries: &[(Expr, Expr)]) -> Eval<Value> {
        self.meter.scratch(entries.len() * 128)?;
        let map = Map::new(Access::Open);
        for (key, value) in entries {
            let key = self.value(key)?;
            if matches!(key, Value::List(_) | Value::Map(_) | Value::Entry(_)) {
                return Err(Fault::failed("a list or map cannot be the key of a map", "use a string as key"));
            }
            let value = self.value(value)?;
            map.put(key, value);
        }
        Ok(Value::Map(Rc::new(map)))
    }

    /// `[first..last]`, up or down. Ends that are not whole numbers make no list.
    fn range(&mut self, first: &Expr, last: &Expr) -> Eval<Value> {
        let (first, last) = (self.value(first)?, self.value(last)?);
        let (Value::Int(first), Value::Int(last)) = (first, last) else { return Ok(Value::Null) };
        let length = first.abs_diff(last) as usize + 1;
        self.meter.scratch(length.saturating_mul(64))?;
        let items = if first <= last {
            (first..=last).map(Value::Int).collect()
        } else {
            (last..=first).rev().map(Value::Int).collect()
        };
        Ok(Value::list(items))
    }

    fn arithmetic(&mut self, first: &Expr, others: &[(Arithmetic, Expr)]) -> Eval<Value> {
        let mut left = self.value(first)?;
        for (operator, right) in others {
            let right = self.value(right)?;
            let joins = matches!(left, Value::Str(_)) || matches!(right, Value::Str(_));
            left = if *operator == Arithmetic::Add && joins {
                let (a, b) = (self.text(&left)?, self.text(&right)?);
                self.meter.scratch(a.len() + b.len())?;
                let mut joined = String::with_capacity(a.len() + b.len());
                joined.push_str(&a);
                joined.push_str(&b);
                Value::from(joined)
            } else {
                self.meter.step(1)?;
                calculate(*operator, &left, &right)
            };
        }
        Ok(left)
    }

    fn comparison(&mut self, first: &Expr, others: &[(Comparison, Expr)]) -> Eval<Value> {
        let mut left = self.value(first)?;
        for (operator, right) in others {
            // Comparing with a literal needs no copy of the literal.
            if let (Value::Str(text), Expr::Text(literal), Comparison::Equal | Comparison::NotEqual) =
                (&left, right, operator)
            {
                left = Value::Bool(text.is(literal) == (*operator == Comparison::Equal));
                continue;
            }
            let right = self.value(right)?;
            let truth = match operator {
                Comparison::Equal => self.equal(&left, &right)?,
                Comparison::NotEqual => !self.equal(&left, &right)?,
                ordered => match (Number::of(&left), Number::of(&right)) {
                    (Some(left), Some(right)) => left.compare(right).is_some_and(|order| match ordered {
                        Comparison::Less => order.is_lt(),
                        Comparison::LessOrEqual => order.is_le(),
                        Comparison::Greater => order.is_gt(),
                        _ => order.is_ge(),
                    }),
                    // Only numbers have an order in Velocity 1.7.
                    _ => false,
                },
            };
            left = Value::Bool(truth);
        }
        Ok(left)
    }

    /// `==`: numbers by amount, values of one kind by `equals`, others by what they print as. Null equals
    /// null and, as recorded, the empty string.
    fn equal(&mut self, left: &Value, right: &Value) -> Eval<bool> {
        if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
            return Ok(left.compare(right).is_some_and(std::cmp::Ordering::is_eq));
        }
        match (left, right) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Null, Value::Str(text)) | (Value::Str(text), Value::Null) => Ok(text.is_empty()),
            (Value::Null, _) | (_, Value::Null) => Ok(false),
            (Value::Str(left), Value::Str(right)) => {
                self.meter.step(left.len() as u64 / 256)?;
                Ok(left == right)
            }
            (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
            (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) | (Value::Entry(_), Value::Entry(_)) => {
                equals_metered(left, right, &mut self.meter)
            }
            (left, right) => Ok(self.text(left)? == self.text(right)?),
        }
    }
}

/// Arithmetic on numbers; null where there is no result.
fn calculate(operator: Arithmetic, left: &Value, right: &Value) -> Value {
    let (Some(a), Some(b)) = (Number::of(left), Number::of(right)) else { return Value::Null };
    let (Number::Whole(x, left_width), Number::Whole(y, right_width)) = (a, b) else {
        let (x, y) = (a.as_f64(), b.as_f64());
        return match operator {
            Arithmetic::Add => Value::Double(x + y),
            Arithmetic::Subtract => Value::Double(x - y),
            Arithmetic::Multiply => Value::Double(x * y),
            Arithmetic::Divide | Arithmetic::Remainder if y == 0.0 => Value::Null,
            Arithmetic::Divide => Value::Double(x / y),
            Arithmetic::Remainder => Value::Double(x % y),
        };
    };
    let result = match operator {
        Arithmetic::Add => x.checked_add(y),
        Arithmetic::Subtract => x.checked_sub(y),
        Arithmetic::Multiply => x.checked_mul(y),
        Arithmetic::Divide => x.checked_div(y),
        Arithmetic::Remainder => x.checked_rem(y),
    };
    match result {
        Some(result) => whole(result, left_width.max(right_width)),
        None if y == 0 => Value::Null,
        // Beyond 38 digits: as close as it gets.
        None => Value::Double(match operator {
            Arithmetic::Add => x as f64 + y as f64,
            Arithmetic::Subtract => x as f64 - y as f64,
            _ => x as f64 * y as f64,
        }),
    }
}
