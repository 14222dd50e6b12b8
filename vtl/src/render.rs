//! Rendering: nodes to text.

mod expression;
mod reference;

use std::sync::Arc;

use crate::ast::{Block, Call, Expr, Macro, Names, Node, Slot};
use crate::error::{Eval, Fault};
use crate::limits::{Limits, Meter};
use crate::parse;
use crate::scope::Scope;
use crate::template::Template;
use crate::text::Text;
use crate::value::{Value, print_java};

/// Deepest nesting of blocks and expressions while rendering; the stack of a thread holds several times as
/// much.
const MAX_DEPTH: u32 = 300;

/// A rendering under way.
pub(crate) struct Renderer<'r, 'a> {
    template: &'r Template,
    scope: &'r mut Scope<'a>,
    limits: &'r Limits,
    meter: Meter,
    variables: Vec<Variable>,
    /// Names and macros that `#evaluate` added.
    names: Option<Names>,
    macros: Vec<Arc<Macro>>,
    loops: Vec<Loop>,
    depth: u32,
    calls: u32,
}

/// What a name stands for.
#[derive(Clone)]
enum Variable {
    Value(Value),
    /// A block of `#define`, or the body of a `#@macro()`: rendered anew wherever it is used.
    Block(Arc<Block>),
}

/// A `#foreach` under way.
#[derive(Clone, Copy)]
struct Loop {
    index: usize,
    length: usize,
}

/// How a block ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Go,
    Break,
    Stop,
}

impl<'r, 'a> Renderer<'r, 'a> {
    pub(crate) fn new(template: &'r Template, scope: &'r mut Scope<'a>, limits: &'r Limits) -> Self {
        Renderer {
            template,
            scope,
            limits,
            meter: Meter::new(limits),
            variables: vec![Variable::Value(Value::Null); template.names.len()],
            names: None,
            macros: Vec::new(),
            loops: Vec::new(),
            depth: 0,
            calls: 0,
        }
    }

    pub(crate) fn run(&mut self, out: &mut String) -> Eval<()> {
        let template = self.template;
        self.block(&template.block, out).map(|_| ())
    }

    #[inline]
    fn enter(&mut self) -> Eval<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(too_deep()) } else { Ok(()) }
    }

    // The rarer nodes are functions apart, so that the loop over the common ones needs little room.
    fn block(&mut self, block: &Block, out: &mut String) -> Eval<Flow> {
        if block.is_empty() {
            return Ok(Flow::Go);
        }
        self.enter()?;
        // Steps and output are asked for once a block, not once a node: what is printed has its own bound, and
        // plain text between is no longer than the template.
        self.meter.step(block.len() as u64)?;
        let mut flow = Flow::Go;
        for node in block {
            flow = self.node(node, out)?;
            if flow != Flow::Go {
                break;
            }
        }
        self.meter.output(out.len())?;
        self.depth -= 1;
        Ok(flow)
    }

    fn node(&mut self, node: &Node, out: &mut String) -> Eval<Flow> {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Reference(reference) => {
                self.print_reference(reference, out).map_err(|fault| fault.at(reference.at))?;
            }
            Node::Set { target, value } => {
                let value = self.value(value).map_err(|fault| fault.at(target.at))?;
                self.assign(target, value).map_err(|fault| fault.at(target.at))?;
            }
            Node::If { arms, otherwise } => {
                for arm in arms {
                    if self.holds(&arm.condition).map_err(|fault| fault.at(arm.at))? {
                        return self.block(&arm.block, out);
                    }
                }
                return self.block(otherwise, out);
            }
            Node::Foreach { variable, over, body, at } => {
                return self.foreach(*variable, over, body, out).map_err(|fault| fault.at(*at));
            }
            Node::Define { variable, body } => self.set(*variable, Variable::Block(Arc::clone(body))),
            Node::Call(call) => return self.call(call, out).map_err(|fault| fault.at(call.at)),
            Node::Evaluate { source, at } => return self.evaluate(source, *at, out),
            Node::Break => return Ok(Flow::Break),
            Node::Stop => return Ok(Flow::Stop),
        }
        Ok(Flow::Go)
    }

    fn set(&mut self, slot: Slot, variable: Variable) {
        if let Some(place) = self.variables.get_mut(slot as usize) {
            *place = variable;
        }
    }

    fn replace(&mut self, slot: Slot, variable: Variable) -> Variable {
        match self.variables.get_mut(slot as usize) {
            Some(place) => std::mem::replace(place, variable),
            None => variable,
        }
    }

    #[inline(never)]
    fn foreach(&mut self, slot: Slot, over: &Expr, body: &Block, out: &mut String) -> Eval<Flow> {
        let over = self.value(over)?;
        let length = match &over {
            Value::List(list) => list.len(),
            Value::Map(map) => map.len(),
            _ => return Ok(Flow::Go),
        };
        if length > self.limits.iterations as usize {
            return Err(Fault::limit(
                format!("#foreach over {length} items, more than {}", self.limits.iterations),
                "select fewer with a path, such as $.items[0:1000]",
            ));
        }
        let before = self.replace(slot, Variable::Value(Value::Null));
        self.loops.push(Loop { index: 0, length });
        let mut flow = Flow::Go;
        for index in 0..length {
            // The body may shorten what it goes over.
            let item = match &over {
                Value::List(list) => list.get(index),
                Value::Map(map) => map.entry(index).map(|(_, value)| value),
                _ => None,
            };
            let Some(item) = item else { break };
            // Its body may be empty, and as such cost nothing.
            self.meter.step(1)?;
            self.set(slot, Variable::Value(item));
            if let Some(current) = self.loops.last_mut() {
                current.index = index;
            }
            flow = self.block(body, out)?;
            if flow != Flow::Go {
                break;
            }
        }
        self.loops.pop();
        self.set(slot, before);
        Ok(if flow == Flow::Stop { Flow::Stop } else { Flow::Go })
    }

    #[inline(never)]
    fn call(&mut self, call: &Call, out: &mut String) -> Eval<Flow> {
        let template = self.template;
        let evaluated: Arc<Macro>;
        let found: &Macro = match template.macros.iter().find(|found| found.name == call.name) {
            Some(found) => found,
            None => match self.macros.iter().find(|found| found.name == call.name) {
                Some(found) => {
                    evaluated = Arc::clone(found);
                    &evaluated
                }
                None => {
                    out.push_str(&call.literal);
                    return Ok(Flow::Go);
                }
            },
        };
        self.nest("macro")?;
        let mut values = Vec::with_capacity(found.parameters.len());
        for nth in 0..found.parameters.len() {
            values.push(match call.arguments.get(nth) {
                Some(argument) => self.value(argument)?,
                None => Value::Null,
            });
        }
        let before: Vec<Variable> = found
            .parameters
            .iter()
            .zip(values)
            .map(|(slot, value)| self.replace(*slot, Variable::Value(value)))
            .collect();
        let body =
            call.body.as_ref().map(|(slot, body)| (*slot, self.replace(*slot, Variable::Block(Arc::clone(body)))));
        let flow = self.block(&found.body, out)?;
        if let Some((slot, before)) = body {
            self.set(slot, before);
        }
        // Backwards, so that of two parameters of one name the first value is the one restored.
        for (slot, before) in found.parameters.iter().zip(before).rev() {
            self.set(*slot, before);
        }
        self.calls -= 1;
        Ok(if flow == Flow::Stop { Flow::Stop } else { Flow::Go })
    }

    fn nest(&mut self, what: &str) -> Eval<()> {
        self.calls += 1;
        if self.calls > self.limits.recursion {
            return Err(Fault::limit(
                format!("{what} calls are nested more than {} deep", self.limits.recursion),
                "end the recursion sooner",
            ));
        }
        Ok(())
    }

    /// `#evaluate`: parses a text now and renders it here.
    #[inline(never)]
    fn evaluate(&mut self, source: &Expr, at: u32, out: &mut String) -> Eval<Flow> {
        let mut flow = || {
            let source = self.value(source)?;
            let source = self.text(&source)?;
            self.nest("#evaluate")?;
            self.meter.step(source.len() as u64 / 4)?;
            let names = self.names.take().unwrap_or_else(|| self.template.names.clone());
            let parsed = parse::parse(&source, names)?;
            self.variables.resize(parsed.names.len(), Variable::Value(Value::Null));
            self.names = Some(parsed.names);
            self.macros.extend(parsed.macros.into_iter().map(Arc::new));
            let flow = self.block(&parsed.block, out)?;
            self.calls -= 1;
            Ok(if flow == Flow::Stop { Flow::Stop } else { Flow::Go })
        };
        flow().map_err(|mut fault: Box<Fault>| {
            // Its place is in the evaluated text, which nobody sees; name the directive instead.
            fault.at = Some(at);
            fault.message = format!("in #evaluate: {}", fault.message);
            fault
        })
    }

    /// What a value prints as.
    fn text(&mut self, value: &Value) -> Eval<Text> {
        if let Value::Str(text) = value {
            return Ok(text.clone());
        }
        let mut text = String::new();
        print_java(value, &mut text, self.meter.output_limit())?;
        self.meter.scratch(text.len())?;
        Ok(text.into())
    }
}

#[cold]
fn too_deep() -> Box<Fault> {
    Fault::limit("the template is nested too deep", "call fewer macros inside each other")
}
