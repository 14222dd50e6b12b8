//! JSONPath as Jayway evaluates it, for `$input` and for parameter mapping.
//!
//! A definite path names one place and gives its value; an indefinite one (`*`, `..`, filters, slices,
//! several indexes) gives a list, also of one hit or none. Compared with Jayway 2.4 over json-smart.

mod compile;
mod evaluate;
mod filter;
mod function;

use crate::error::{Eval, Kind};
use crate::limits::{Limits, Meter};
use crate::value::Value;

/// A compiled path.
#[derive(Debug)]
pub struct Path {
    tokens: Vec<Token>,
    definite: bool,
    /// Nothing but single names and indexes.
    straight: bool,
}

/// Why a path does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {at} of the path")]
pub struct PathError {
    /// What is wrong.
    pub message: String,
    /// Where, counted from 1.
    pub at: usize,
}

/// Why an evaluation failed, other than by finding nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FindError {
    /// What happened.
    pub message: String,
    /// A bound was reached, as opposed to a function given what it cannot work with.
    pub limit: bool,
}

#[derive(Debug)]
enum Token {
    /// `.a`, `['a']`, `['a','b']`
    Names(Vec<Box<str>>),
    /// `[0]`, `[-1]`, `[0,2]`
    Indexes(Vec<i64>),
    /// `[1:2]`
    Slice(Option<i64>, Option<i64>),
    /// `*`
    Wildcard,
    /// `..`: what follows applies to every value below.
    Scan,
    /// `[?(…)]`
    Filter(filter::Condition),
    /// `.length()`
    Function(function::Call),
}

impl Path {
    /// Compiles a path. A missing `$.` at the start is understood.
    pub fn compile(path: &str) -> Result<Path, PathError> {
        compile::compile(path)
    }

    /// Names one place, as opposed to a list of hits?
    pub fn is_definite(&self) -> bool {
        self.definite
    }

    /// The value at the path; none if there is no such place.
    pub fn find(&self, document: &Value) -> Result<Option<Value>, FindError> {
        self.find_metered(document, &mut Meter::new(&Limits::default()))
            .map_err(|fault| FindError { limit: fault.kind == Kind::Limit, message: fault.message })
    }

    pub(crate) fn find_metered(&self, document: &Value, meter: &mut Meter) -> Eval<Option<Value>> {
        evaluate::find(self, document, document, meter)
    }
}

#[cfg(test)]
mod tests;
