//! Expressions: operators by rank, literals, references.

use super::Parser;
use crate::ast::{Arithmetic, Comparison, Expr};
use crate::error::Eval;

impl Parser<'_, '_> {
    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// An expression with the blanks around it.
    pub(super) fn expression(&mut self) -> Eval<Expr> {
        self.enter()?;
        let first = self.and()?;
        let mut terms = vec![first];
        while self.operator("||") || self.word("or") {
            terms.push(self.and()?);
        }
        self.leave();
        Ok(single(terms, Expr::Or))
    }

    fn and(&mut self) -> Eval<Expr> {
        let mut terms = vec![self.equality()?];
        while self.operator("&&") || self.word("and") {
            terms.push(self.equality()?);
        }
        Ok(single(terms, Expr::And))
    }

    fn equality(&mut self) -> Eval<Expr> {
        let first = self.relation()?;
        let mut others = Vec::new();
        loop {
            let operator = if self.operator("==") || self.word("eq") {
                Comparison::Equal
            } else if self.operator("!=") || self.word("ne") {
                Comparison::NotEqual
            } else {
                break;
            };
            others.push((operator, self.relation()?));
        }
        Ok(if others.is_empty() { first } else { Expr::Comparison(Box::new(first), others) })
    }

    fn relation(&mut self) -> Eval<Expr> {
        let first = self.sum()?;
        let mut others = Vec::new();
        loop {
            let operator = if self.operator("<=") || self.word("le") {
                Comparison::LessOrEqual
            } else if self.operator(">=") || self.word("ge") {
                Comparison::GreaterOrEqual
            } else if self.operator("<") || self.word("lt") {
                Comparison::Less
            } else if self.operator(">") || self.word("gt") {
                Comparison::Greater
            } else {
                break;
            };
            others.push((operator, self.sum()?));
        }
        Ok(if others.is_empty() { first } else { Expr::Comparison(Box::new(first), others) })
    }

    fn sum(&mut self) -> Eval<Expr> {
        let first = self.product()?;
        let mut others = Vec::new();
        loop {
            let operator = if self.operator("+") {
                Arithmetic::Add
            } else if self.operator("-") {
                Arithmetic::Subtract
            } else {
                break;
            };
            others.push((operator, self.product()?));
        }
        Ok(if others.is_empty() { first } else { Expr::Arithmetic(Box::new(first), others) })
    }

    fn product(&mut self) -> Eval<Expr> {
        let first = self.unary()?;
        let mut others = Vec::new();
        loop {
            let operator = if self.operator("*") {
                Arithmetic::Multiply
            } else if self.operator("/") {
                Arithmetic::Divide
            } else if self.operator("%") {
                Arithmetic::Remainder
            } else {
                break;
            };
            others.push((operator, self.unary()?));
        }
        Ok(if others.is_empty() { first } else { Expr::Arithmetic(Box::new(first), others) })
    }

    fn unary(&mut self) -> Eval<Expr> {
        self.skip_blanks();
        let negation = !self.rest().starts_with("!=") && self.operator("!") || self.word("not");
        if negation {
            self.enter()?;
            let inner = self.unary()?;
            self.leave();
            return Ok(Expr::Not(Box::new(inner)));
        }
        // Velocity 1.7 has no minus before a reference; later ones do, and nothing else it could mean.
        if self.peek() == Some(b'-')
            && !self.source.as_bytes().get(self.at + 1).is_some_and(|c| c.is_ascii_digit() || *c == b'.')
        {
            self.at += 1;
            self.enter()?;
            let inner = self.unary()?;
            self.leave();
            return Ok(Expr::Minus(Box::new(inner)));
        }
        let primary = self.primary()?;
        self.skip_blanks();
        Ok(primary)
    }

    fn primary(&mut self) -> Eval<Expr> {
        let start = self.at;
        match self.peek() {
            Some(b'"' | b'\'') => self.string(),
            Some(b'0'..=b'9' | b'-' | b'.') => self.number(),
            Some(b'$') => match self.reference(0)? {
                Some(reference) => Ok(Expr::Reference(Box::new(reference))),
                None => Err(self.wrong(start, "expected a name after `$`", "write $name, or '$' for the sign")),
            },
            Some(b'(') => {
                self.at += 1;
                let inner = self.expression()?;
                if self.peek() != Some(b')') {
                    return Err(self.wrong(start, "this `(` is not closed", "close it after the expression"));
                }
                self.at += 1;
                Ok(Expr::Group(Box::new(inner)))
            }
            Some(b'[') => {
                self.at += 1;
                self.list_or_range()
            }
            Some(b'{') => {
                self.at += 1;
                self.map()
            }
            _ if self.word("true") => Ok(Expr::Bool(true)),
            _ if self.word("false") => Ok(Expr::Bool(false)),
            _ if self.word("null") => Ok(Expr::Null),
            _ => Err(self.wrong(
                start,
                "expected a value",
                "a value is a $reference, a 'text', a number, true, false, [a list] or {'a': 'map'}",
            )),
        }
    }

    fn list_or_range(&mut self) -> Eval<Expr> {
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Expr::List(Vec::new()));
        }
        let first = self.expression()?;
        if self.operator("..") {
            let last = self.expression()?;
            if self.peek() != Some(b']') {
                return Err(self.wrong(self.at, "expected `]` after the range", "a range is [1..5]"));
            }
            self.at += 1;
            return Ok(Expr::Range(Box::new((first, last))));
        }
        let mut items = vec![first];
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                items.append(&mut self.arguments(b']')?);
                Ok(Expr::List(items))
            }
            Some(b']') => {
                self.at += 1;
                Ok(Expr::List(items))
            }
            _ => Err(self.wrong(self.at, "expected `,`, `..` or `]`", "a list is ['a', 'b'], a range is [1..5]")),
        }
    }

    fn map(&mut self) -> Eval<Expr> {
        let mut entries = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Expr::Map(entries));
        }
        loop {
            let key = self.expression()?;
            if self.peek() != Some(b':') {
                return Err(self.wrong(self.at, "expected `:` after the key", "a map is {'key': 'value'}"));
            }
            self.at += 1;
            entries.push((key, self.expression()?));
            let at = self.at;
            self.at += 1;
            match self.source.as_bytes().get(at) {
                Some(b',') => {}
                Some(b'}') => return Ok(Expr::Map(entries)),
                _ => return Err(self.wrong(at, "expected `,` or `}`", "a map is {'key': 'value'}")),
            }
        }
    }

    fn operator(&mut self, operator: &str) -> bool {
        let found = self.rest().starts_with(operator);
        if found {
            self.at += operator.len();
        }
        found
    }

    /// A word of the language, not the beginning of a longer one.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let found =
            rest.starts_with(word) && !rest[word.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if found {
            self.at += word.len();
        }
        found
    }
}

fn single(mut terms: Vec<Expr>, several: fn(Vec<Expr>) -> Expr) -> Expr {
    match (terms.len(), terms.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            terms.extend(last);
            several(terms)
        }
    }
}
