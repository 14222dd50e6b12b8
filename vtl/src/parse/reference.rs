//! `$name`, `$!name`, `${name}` and what follows: `.property`, `.method()`, `[index]`.

use super::Parser;
use crate::ast::{Expr, Prepared, Reference, Root, Step};
use crate::error::Eval;
use crate::jsonpath;
use crate::methods::Method;
use crate::pattern::Pattern;

const WRITE_BRACES: &str = "write ${name} to end a reference before other text";

impl Parser<'_, '_> {
    /// A reference at `$`; none, with nothing consumed, if the `$` is plain text.
    pub(super) fn reference(&mut self, backslashes: usize) -> Eval<Option<Reference>> {
        let start = self.at;
        let bytes = self.source.as_bytes();
        let mut at = start + 1;
        if bytes.get(at) == Some(&b'!') {
            at += 1;
        }
        let formal = bytes.get(at) == Some(&b'{');
        if formal {
            at += 1;
        }
        let Some(name) = identifier(&self.source[at..]) else { return Ok(None) };
        self.enter()?;
        self.at = at + name.len();
        let root = self.root(name);
        let mut steps = self.steps(root)?;
        let root = match (root, steps.as_slice()) {
            // The ones every loop asks for have a short way.
            (Root::Loop, [Step::Property(name), ..]) if matches!(&**name, "hasNext" | "count") => {
                let root = if **name == *"count" { Root::LoopCount } else { Root::LoopHasNext };
                steps.remove(0);
                root
            }
            _ => root,
        };
        let alternate = if formal { self.close_formal(start)? } else { None };
        self.leave();
        let literal = if backslashes > 0 { &self.source[start..self.at] } else { "" };
        Ok(Some(Reference {
            root,
            steps,
            alternate,
            backslashes: backslashes as u32,
            literal: literal.into(),
            at: self.place(start),
        }))
    }

    fn root(&mut self, name: &str) -> Root {
        match name {
            "input" => Root::Input,
            "util" => Root::Util,
            "context" => Root::Context,
            "stageVariables" => Root::StageVariables,
            "foreach" => Root::Loop,
            "velocityCount" => Root::LoopCount,
            "velocityHasNext" => Root::LoopHasNext,
            name => Root::Variable(self.declared.names.slot(name)),
        }
    }

    fn close_formal(&mut self, start: usize) -> Eval<Option<Box<Expr>>> {
        let mut alternate = None;
        if self.peek() == Some(b'|') {
            self.at += 1;
            alternate = Some(Box::new(self.expression()?));
        }
        if self.peek() != Some(b'}') {
            return Err(self.wrong(start, "this `${` has no `}` after the reference", "close it, or write #[[${]]#"));
        }
        self.at += 1;
        Ok(alternate)
    }

    fn steps(&mut self, root: Root) -> Eval<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            match self.peek() {
                Some(b'.') => {
                    let after = &self.source[self.at + 1..];
                    // A dot before anything but a letter is the end of a sentence, not of a name.
                    let Some(name) = identifier(after).filter(|name| !name.starts_with('_')) else { break };
                    self.at += 1 + name.len();
                    if self.calls() {
                        self.at += 1;
                        let arguments = self.method_arguments()?;
                        let prepared = prepare(root, steps.is_empty(), name, &arguments);
                        let method = Method::named(name);
                        steps.push(Step::Method { name: name.into(), method, arguments, prepared });
                    } else {
                        steps.push(Step::Property(name.into()));
                    }
                }
                Some(b'[') => {
                    let open = self.at;
                    self.at += 1;
                    let index = self
                        .expression()
                        .map_err(|fault| self.wrong(open, format!("not an index: {}", fault.message), WRITE_BRACES))?;
                    if self.peek() != Some(b']') {
                        return Err(self.wrong(open, "this index has no `]`", WRITE_BRACES));
                    }
                    self.at += 1;
                    steps.push(Step::Index(index));
                }
                _ => break,
            }
        }
        Ok(steps)
    }

    /// Is there a bracket with what may be arguments in it? Else it is text, as in `$x.a(#if(…`.
    fn calls(&self) -> bool {
        let Some(after) = self.rest().strip_prefix('(') else { return false };
        after
            .bytes()
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || b")\"'$-.[{(!_".contains(&c))
    }

    /// The arguments of a method. A bare word is a null there: what looks like a call may be prose, `$order.items(s)`.
    fn method_arguments(&mut self) -> Eval<Vec<Expr>> {
        let start = self.at;
        let word = identifier(self.rest()).filter(|word| self.source[start + word.len()..].starts_with(')'));
        match word {
            Some(word) if !matches!(word, "true" | "false" | "null") => {
                self.at += word.len() + 1;
                Ok(vec![Expr::Null])
            }
            _ => self.arguments(b')'),
        }
    }

    /// Expressions between commas, up to and with the closing character. The opening one was just read.
    pub(super) fn arguments(&mut self, close: u8) -> Eval<Vec<Expr>> {
        let open = self.at.saturating_sub(1);
        let mut arguments = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(c) if c == close => {
                    self.at += 1;
                    return Ok(arguments);
                }
                Some(_) => {
                    return Err(self.wrong(
                        self.at,
                        "expected `,` or the closing bracket",
                        "separate values with commas",
                    ));
                }
                None => return Err(self.wrong(open, "this bracket is never closed", "close it")),
            }
        }
    }
}

/// The identifier at the start of a text. Velocity counts `-` as a letter of it.
pub(super) fn identifier(text: &str) -> Option<&str> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_alphabetic() || first == b'_') {
        return None;
    }
    let other = |c: u8| !(c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'));
    Some(&text[..text.bytes().position(other).unwrap_or(text.len())])
}

/// Compiles what can be compiled before a request comes.
fn prepare(root: Root, first_step: bool, name: &str, arguments: &[Expr]) -> Prepared {
    let Some(Expr::Text(text)) = arguments.first() else { return Prepared::Nothing };
    match name {
        "json" | "path" if root == Root::Input && first_step => {
            Prepared::Path(jsonpath::Path::compile(text).map_err(|error| error.to_string()))
        }
        "replaceAll" | "replaceFirst" | "split" => Prepared::Pattern(Pattern::search(text)),
        "matches" => Prepared::Pattern(Pattern::whole(text)),
        _ => Prepared::Nothing,
    }
}
