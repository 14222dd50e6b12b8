//! Reading, printing and setting references.

use std::sync::Arc;

use super::{Flow, Loop, Renderer, Variable};
use crate::ast::{Block, Expr, Prepared, Reference, Root, Step};
use crate::error::{Eval, Fault};
use crate::jsonpath::Path;
use crate::methods::{self, out_of_bounds};
use crate::scope::json_text;
use crate::text::Text;
use crate::util;
use crate::value::{Value, print_java};

impl Renderer<'_, '_> {
    /// Renders a reference. A null is empty text (recorded), where Velocity would print the reference itself.
    #[inline]
    pub(super) fn print_reference(&mut self, reference: &Reference, out: &mut String) -> Eval<()> {
        // `$name` and `$name.property`, which most references are, print without a copy of the value.
        if let (Root::Variable(slot), None, 0) = (reference.root, &reference.alternate, reference.backslashes)
            && let Some(Variable::Value(value)) = self.variables.get(slot as usize)
        {
            let limit = self.meter.output_limit();
            match (&*reference.steps, value) {
                ([], value) => return print_java(value, out, limit),
                ([Step::Property(name)], Value::Map(map)) => {
                    return map.with(name, |value| print_java(value, out, limit)).unwrap_or(Ok(()));
                }
                _ => {}
            }
        }
        self.print_other(reference, out)
    }

    #[inline(never)]
    fn print_other(&mut self, reference: &Reference, out: &mut String) -> Eval<()> {
        // The escape around nearly every string prints without a copy as well.
        if let (Root::Util, [Step::Method { name, arguments, .. }], None, 0) =
            (reference.root, &*reference.steps, &reference.alternate, reference.backslashes)
            && let ("escapeJavaScript", [argument]) = (&**name, &**arguments)
        {
            return match self.value(argument)? {
                Value::Null => Ok(()),
                value => {
                    let text = self.text(&value)?;
                    // An escape makes six characters of one at most.
                    self.meter.step(1 + text.len() as u64 / 64)?;
                    util::escape_java_script(&text, out);
                    Ok(())
                }
            };
        }
        if let Some(block) = self.defined_block(reference) {
            return self.define(&block, out);
        }
        let value = self.reference(reference)?;
        let backslashes = reference.backslashes as usize;
        if backslashes > 0 {
            // Pairs are single ones; an odd one hides the reference, and stays if there is nothing to hide.
            let odd = backslashes % 2 == 1;
            let kept = backslashes / 2 + usize::from(odd && value.is_null());
            out.push_str(&"\\".repeat(kept));
            if odd {
                out.push_str(&reference.literal);
                return Ok(());
            }
        }
        print_java(&value, out, self.meter.output_limit())
    }

    fn defined_block(&self, reference: &Reference) -> Option<Arc<Block>> {
        let Root::Variable(slot) = reference.root else { return None };
        match self.variables.get(slot as usize) {
            Some(Variable::Block(block)) => Some(Arc::clone(block)),
            _ => None,
        }
    }

    fn define(&mut self, block: &Block, out: &mut String) -> Eval<()> {
        self.nest("#define")?;
        let flow = self.block(block, out)?;
        self.calls -= 1;
        match flow {
            Flow::Go | Flow::Break => Ok(()),
            Flow::Stop => Err(Fault::failed("#stop inside #define", "move #stop out of it")),
        }
    }

    /// The value of a reference.
    pub(super) fn reference(&mut self, reference: &Reference) -> Eval<Value> {
        self.meter.step(1)?;
        let value = self.steps(reference, &reference.steps)?;
        match &reference.alternate {
            Some(alternate) if is_nothing(&value) => self.value(alternate),
            _ => Ok(value),
        }
    }

    /// The value after some of the steps of a reference.
    fn steps(&mut self, reference: &Reference, steps: &[Step]) -> Eval<Value> {
        let (mut value, rest) = match reference.root {
            Root::Variable(slot) => match self.variables.get(slot as usize) {
                Some(Variable::Value(value)) => match steps.split_first() {
                    // Going through the map spares a copy of it.
                    Some((Step::Property(name), rest)) => (property(value, name), rest),
                    _ => (value.clone(), steps),
                },
                Some(Variable::Block(block)) => {
                    let block = Arc::clone(block);
                    let mut text = String::new();
                    self.define(&block, &mut text)?;
                    self.meter.scratch(text.len())?;
                    (Value::from(text), steps)
                }
                None => (Value::Null, steps),
            },
            Root::Context => (self.scope.context.clone(), steps),
            Root::StageVariables => (self.scope.stage_variables.clone(), steps),
            Root::Input => match steps.split_first() {
                Some((first, rest)) => (self.input(first)?, rest),
                None => (Value::Null, steps),
            },
            Root::Util => match steps.split_first() {
                Some((Step::Method { name, arguments, .. }, rest)) => {
                    let argument = match arguments.first() {
                        Some(argument) => self.value(argument)?,
                        None => Value::Null,
                    };
                    (util::call(name, &argument, &mut self.meter)?, rest)
                }
                _ => (Value::Null, &[][..]),
            },
            Root::Loop => return Ok(self.loop_property(steps)),
            Root::LoopCount => {
                (self.loops.last().map_or(Value::Null, |current| Value::from(current.index as i64 + 1)), steps)
            }
            Root::LoopHasNext => (self.loops.last().map_or(Value::Null, has_next), steps),
        };
        for step in rest {
            if value.is_null() {
                // Arguments have no effect on a null, but Velocity evaluates them neither.
                return Ok(Value::Null);
            }
            value = self.step(&value, step)?;
        }
        Ok(value)
    }

    fn step(&mut self, value: &Value, step: &Step) -> Eval<Value> {
        self.meter.step(1)?;
        match step {
            Step::Property(name) => Ok(property(value, name)),
            Step::Index(index) => {
                let index = self.value(index)?;
                item(value, &index)
            }
            Step::Method { name, method, arguments, prepared } => {
                // Nearly all calls have few arguments; those need no allocation.
                let mut few = [const { Value::Null }; 2];
                let many;
                let arguments = if arguments.len() <= few.len() {
                    for (place, argument) in few.iter_mut().zip(arguments) {
                        *place = self.value(argument)?;
                    }
                    &few[..arguments.len()]
                } else {
                    many = self.values(arguments)?;
                    &many[..]
                };
                methods::Call { name, method: *method, arguments, prepared, meter: &mut self.meter }.on(value)
            }
        }
    }

    fn values(&mut self, expressions: &[Expr]) -> Eval<Vec<Value>> {
        let mut values = Vec::with_capacity(expressions.len());
        for expression in expressions {
            values.push(self.value(expression)?);
        }
        Ok(values)
    }

    /// The first step after `$input`.
    fn input(&mut self, step: &Step) -> Eval<Value> {
        match step {
            Step::Property(name) if &**name == "body" => Ok(Value::Str(self.scope.input.body())),
            Step::Method { name, arguments, prepared, .. } => match &**name {
                "json" => {
                    let found = self.find(arguments, prepared)?;
                    json_text(found, &mut self.meter)
                }
                "path" => Ok(self.find(arguments, prepared)?.unwrap_or_default()),
                "params" => match arguments.first() {
                    None => Ok(self.scope.input.parameters().clone()),
                    Some(Expr::Text(name)) => Ok(self.scope.input.parameter(name)),
                    Some(name) => {
                        let name = self.value(name)?;
                        let name = self.text(&name)?;
                        Ok(self.scope.input.parameter(&name))
                    }
                },
                "getBody" => Ok(Value::Str(self.scope.input.body())),
                _ => Ok(Value::Null),
            },
            _ => Ok(Value::Null),
        }
    }

    fn find(&mut self, arguments: &[Expr], prepared: &Prepared) -> Eval<Option<Value>> {
        const HELP: &str = "a path looks like $.store.book[0].title";
        let bad = |reason: &str| Fault::failed(format!("bad JSONPath: {reason}"), HELP);
        match prepared {
            Prepared::Path(Ok(path)) => {
                let document = self.scope.input.document_or_fault()?;
                path.find_metered(document, &mut self.meter)
            }
            Prepared::Path(Err(reason)) => Err(bad(reason)),
            _ => {
                let text = match arguments.first() {
                    Some(path) => {
                        let path = self.value(path)?;
                        self.text(&path)?
                    }
                    None => Text::from_static("$"),
                };
                self.meter.step(20)?;
                let path = Path::compile(&text).map_err(|error| bad(&error.to_string()))?;
                let document = self.scope.input.document_or_fault()?;
                path.find_metered(document, &mut self.meter)
            }
        }
    }

    /// `$foreach.index` and its like, also of loops further out.
    fn loop_property(&self, steps: &[Step]) -> Value {
        let mut level = self.loops.len();
        for step in steps {
            let (Step::Property(name) | Step::Method { name, .. }) = step else { return Value::Null };
            match &**name {
                "parent" => level = level.saturating_sub(1),
                "topmost" => level = level.min(1),
                name => {
                    let Some(current) = level.checked_sub(1).and_then(|nth| self.loops.get(nth)) else {
                        return Value::Null;
                    };
                    return match name {
                        "index" | "getIndex" => Value::from(current.index as i64),
                        "count" | "getCount" => Value::from(current.index as i64 + 1),
                        "hasNext" => has_next(current),
                        "first" | "isFirst" => Value::Bool(current.index == 0),
                        "last" | "isLast" => Value::Bool(current.index + 1 == current.length),
                        _ => Value::Null,
                    };
                }
            }
        }
        Value::Null
    }

    /// `#set`. A null changes nothing, as in Velocity 1.7; nor does setting what is not there or not open.
    #[inline(never)]
    pub(super) fn assign(&mut self, target: &Reference, value: Value) -> Eval<()> {
        if value.is_null() {
            return Ok(());
        }
        let Some((last, before)) = target.steps.split_last() else {
            if let Root::Variable(slot) = target.root {
                self.set(slot, Variable::Value(value));
            }
            return Ok(());
        };
        let container = self.steps(target, before)?;
        let key = match last {
            Step::Property(name) => Value::from(&**name),
            Step::Index(index) => self.value(index)?,
            Step::Method { .. } => return Ok(()),
        };
        match &container {
            Value::Map(map) => {
                methods::put_entry(map, key, value, &mut self.meter)?;
            }
            Value::List(list) => {
                if let Some(index) = key.as_integer() {
                    let at = place(index, list.len())?;
                    methods::set_item(list, at, value, &mut self.meter)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn has_next(current: &Loop) -> Value {
    Value::Bool(current.index + 1 < current.length)
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Str(text) => text.is_empty(),
        _ => false,
    }
}

/// `value.name`: a map's entry; otherwise what Java has a getter for.
fn property(value: &Value, name: &str) -> Value {
    match (value, name) {
        (Value::Map(map), name) => map.get(name).unwrap_or_default(),
        (Value::Entry(entry), "key") => entry.key.clone(),
        (Value::Entry(entry), "value") => entry.value.clone(),
        (Value::Str(text), "empty") => Value::Bool(text.is_empty()),
        (Value::List(list), "empty") => Value::Bool(list.is_empty()),
        _ => Value::Null,
    }
}

/// `value[index]`
fn item(value: &Value, index: &Value) -> Eval<Value> {
    match value {
        Value::Map(map) => Ok(map.get_key(index).unwrap_or_default()),
        Value::List(list) => match index.as_integer() {
            Some(index) => Ok(list.get(place(index, list.len())?).unwrap_or_default()),
            None => Ok(Value::Null),
        },
        _ => Ok(Value::Null),
    }
}

/// An index into a list; negative ones count from the end.
fn place(index: i64, length: usize) -> Eval<usize> {
    let from_start = if index < 0 { index.saturating_add(length as i64) } else { index };
    match usize::try_from(from_start) {
        Ok(at) if at < length => Ok(at),
        _ => Err(out_of_bounds(index, length)),
    }
}
