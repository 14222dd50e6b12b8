//! A parsed template. Everything that can be worked out before a request is: names are numbers, literal
//! paths and patterns are compiled, macros are found.

use std::sync::Arc;

use crate::jsonpath;
use crate::methods::Method;
use crate::pattern::Pattern;

pub(crate) type Block = Vec<Node>;

/// Number of a variable.
pub(crate) type Slot = u32;

#[derive(Debug)]
pub(crate) enum Node {
    Text(Box<str>),
    Reference(Reference),
    Set { target: Reference, value: Expr },
    If { arms: Vec<Arm>, otherwise: Block },
    Foreach { variable: Slot, over: Expr, body: Block, at: u32 },
    Define { variable: Slot, body: Arc<Block> },
    Call(Call),
    Evaluate { source: Expr, at: u32 },
    Break,
    Stop,
}

/// `#if` or `#elseif` with what it guards.
#[derive(Debug)]
pub(crate) struct Arm {
    pub(crate) condition: Expr,
    pub(crate) block: Block,
    pub(crate) at: u32,
}

/// `#name(arguments)`, which is a macro or, if there is none of that name, plain text.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: Box<str>,
    pub(crate) arguments: Vec<Expr>,
    /// Between `#@name()` and `#end`: what `$bodyContent` renders.
    pub(crate) body: Option<(Slot, Arc<Block>)>,
    /// The call as written.
    pub(crate) literal: Box<str>,
    pub(crate) at: u32,
}

#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) name: Box<str>,
    pub(crate) parameters: Vec<Slot>,
    pub(crate) body: Block,
}

/// `$root.step[step].step()`
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) root: Root,
    pub(crate) steps: Vec<Step>,
    /// `${x|'otherwise'}`
    pub(crate) alternate: Option<Box<Expr>>,
    /// Backslashes in front: they hide the reference if it has a value, and are plain text if not.
    pub(crate) backslashes: u32,
    /// The reference as written, without backslashes; empty if nothing can ask for it.
    pub(crate) literal: Box<str>,
    pub(crate) at: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Variable(Slot),
    Input,
    Util,
    Context,
    StageVariables,
    /// `$foreach`
    Loop,
    /// `$velocityCount`
    LoopCount,
    /// `$velocityHasNext`
    LoopHasNext,
}

#[derive(Debug)]
pub(crate) enum Step {
    Property(Box<str>),
    Index(Expr),
    Method { name: Box<str>, method: Method, arguments: Vec<Expr>, prepared: Prepared },
}

/// What was compiled from a literal first argument. A failure is kept: it is an error when, and only when,
/// the call is reached, as it is in Java.
#[derive(Debug)]
pub(crate) enum Prepared {
    Nothing,
    Path(Result<jsonpath::Path, String>),
    Pattern(Result<Pattern, String>),
}

#[derive(Debug)]
pub(crate) enum Expr {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    /// A number too long for a `Long`.
    Digits(Box<str>),
    Text(Box<str>),
    /// A string in double quotes that holds references or directives.
    Interpolated(Block),
    Reference(Box<Reference>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Range(Box<(Expr, Expr)>),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    /// `a + b - c`: operators of one rank in a row, from left to right. A row is as long as it likes without
    /// making the tree deeper.
    Arithmetic(Box<Expr>, Vec<(Arithmetic, Expr)>),
    Comparison(Box<Expr>, Vec<(Comparison, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// In round brackets.
    Group(Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Variable names and their numbers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Names(Vec<Box<str>>);

impl Names {
    pub(crate) fn slot(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.0.iter().position(|known| **known == *name) {
            return slot as Slot;
        }
        self.0.push(name.into());
        (self.0.len() - 1) as Slot
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
