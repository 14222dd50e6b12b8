//! Everything that starts with `#`.

use std::sync::Arc;

use super::reference::identifier;
use super::{End, Nodes, Parser};
use crate::ast::{Arm, Block, Call, Macro, Node, Root, Step};
use crate::error::Eval;

const NO_END: &str = "add #end";

impl<'s> Parser<'s, '_> {
    /// `#set(`, with blanks before it, if it starts here.
    pub(super) fn set_with_blanks(&mut self) -> Eval<Option<Node>> {
        let rest = self.rest();
        let set = rest.trim_start_matches([' ', '\t']);
        let Some(after) = set.strip_prefix("#set").or_else(|| set.strip_prefix("#{set}")) else {
            return Ok(None);
        };
        let after = after.trim_start_matches(' ');
        if !after.starts_with('(') {
            return Ok(None);
        }
        let start = self.source.len() - set.len();
        self.at = self.source.len() - after.len() + 1;
        self.skip_blanks();
        let target = match self.peek() {
            Some(b'$') => self.reference(0)?,
            _ => None,
        };
        let Some(target) = target else {
            return Err(self.wrong(self.at, "#set needs a reference to set", "write #set($name = value)"));
        };
        if let Some(Step::Method { .. }) = target.steps.last() {
            return Err(self.wrong(start, "#set cannot set a method", "set a variable, a property or an index"));
        }
        self.skip_blanks();
        if self.peek() != Some(b'=') || self.rest().starts_with("==") {
            return Err(self.wrong(self.at, "expected `=` in #set", "write #set($name = value)"));
        }
        self.at += 1;
        let value = self.expression()?;
        self.close(start, "#set")?;
        Ok(Some(Node::Set { target, value }))
    }

    /// The `)` of a directive with the blanks and the line break after it.
    fn close(&mut self, start: usize, name: &str) -> Eval<()> {
        if self.peek() != Some(b')') {
            return Err(self.wrong(
                self.at,
                format!("expected `)` to end {name} of column {}", self.column(start)),
                "close the bracket",
            ));
        }
        self.at += 1;
        self.eat_line_end();
        Ok(())
    }

    fn column(&self, at: usize) -> usize {
        let line = self.source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        self.source[line..at].chars().count() + 1
    }

    /// Blanks and one line break, if that is all that follows on the line.
    fn eat_line_end(&mut self) {
        let rest = self.rest();
        let after = rest.trim_start_matches([' ', '\t']);
        let after_break = after.strip_prefix("\r\n").or_else(|| after.strip_prefix(['\n', '\r']));
        if let Some(after) = after_break {
            self.at = self.source.len() - after.len();
        }
    }

    /// Something at `#`. Gives back the directive that ends the block, if this is one.
    pub(super) fn hash(&mut self, nodes: &mut Nodes) -> Eval<Option<End>> {
        let start = self.at;
        let rest = self.rest();
        if let Some(comment) = rest.strip_prefix("##") {
            let length = comment.find(['\n', '\r']).unwrap_or(comment.len());
            self.at += 2 + length;
            self.eat_line_end();
            return Ok(None);
        }
        if let Some(literal) = rest.strip_prefix("#[[") {
            let Some(length) = literal.find("]]#") else {
                return Err(self.wrong(start, "this literal has no `]]#`", "end it with ]]#"));
            };
            nodes.text(&literal[..length]);
            self.at += 3 + length + 3;
            return Ok(None);
        }
        if let Some(comment) = rest.strip_prefix("#*") {
            let Some(length) = comment.find("*#") else {
                return Err(self.wrong(start, "this comment has no `*#`", "end it with *#"));
            };
            self.at += 2 + length + 2;
            return Ok(None);
        }
        let Some((word, length)) = directive_word(rest) else {
            nodes.text("#");
            self.at += 1;
            return Ok(None);
        };
        self.at += length;
        let end = |word: &'static str| Ok(Some(End { word, at: start }));
        match word {
            "end" => {
                self.eat_line_end();
                return end("end");
            }
            "else" => {
                self.eat_line_end();
                return end("else");
            }
            "elseif" => return end("elseif"),
            "if" => nodes.push(self.if_(start)?),
            "foreach" => nodes.push(self.foreach(start)?),
            "stop" => nodes.push(Node::Stop),
            "break" => {
                self.optional_brackets()?;
                nodes.push(Node::Break);
            }
            "define" => nodes.push(self.define(start)?),
            "literal" if self.rest().trim_start_matches([' ', '\t']).starts_with('(') => self.literal(start, nodes)?,
            "macro" => self.macro_(start)?,
            "evaluate" => {
                self.open(start, "#evaluate")?;
                let source = self.expression()?;
                self.close(start, "#evaluate")?;
                nodes.push(Node::Evaluate { source, at: self.place(start) });
            }
            "parse" | "include" => {
                return Err(self.wrong(
                    start,
                    format!("#{word} is refused: a template is on its own"),
                    "put the text into this template",
                ));
            }
            name => self.call(name, start, nodes)?,
        }
        Ok(None)
    }

    fn open(&mut self, start: usize, name: &str) -> Eval<()> {
        self.skip_blanks();
        if self.peek() != Some(b'(') {
            return Err(self.wrong(start, format!("{name} needs brackets"), "write ( after it"));
        }
        self.at += 1;
        Ok(())
    }

    fn optional_brackets(&mut self) -> Eval<()> {
        if self.rest().trim_start_matches([' ', '\t']).starts_with('(') {
            self.open(self.at, "#break")?;
            self.skip_blanks();
            if self.peek() == Some(b'$') {
                self.expression()?;
            }
            self.close(self.at, "#break")?;
        }
        Ok(())
    }

    /// A block that only `#end` may end.
    fn body(&mut self, start: usize, name: &str) -> Eval<Block> {
        let (block, end) = self.block()?;
        match end {
            Some(End { word: "end", .. }) => Ok(block),
            Some(other) => {
                Err(self.wrong(other.at, format!("`#{}` inside {name}", other.word), "it belongs to an #if"))
            }
            None => Err(self.wrong(start, format!("{name} has no #end"), NO_END)),
        }
    }

    fn if_(&mut self, start: usize) -> Eval<Node> {
        let mut arms = Vec::new();
        // Where the arm being read starts, and what it is called.
        let (mut at, mut name) = (start, "#if");
        let start_of_else = loop {
            self.open(at, name)?;
            let condition = self.expression()?;
            self.close(at, name)?;
            let (block, end) = self.block()?;
            arms.push(Arm { condition, block, at: self.place(at) });
            match end {
                Some(End { word: "end", .. }) => return Ok(Node::If { arms, otherwise: Block::new() }),
                Some(End { word: "else", at }) => break at,
                Some(End { at: next, .. }) => (at, name) = (next, "#elseif"),
                None => return Err(self.wrong(start, "#if has no #end", NO_END)),
            }
        };
        let otherwise = self.body(start_of_else, "#else")?;
        Ok(Node::If { arms, otherwise })
    }

    fn foreach(&mut self, start: usize) -> Eval<Node> {
        self.open(start, "#foreach")?;
        self.skip_blanks();
        let variable = self.variable("#foreach")?;
        self.skip_blanks();
        if !self.word("in") {
            return Err(self.wrong(self.at, "expected `in`", "write #foreach($item in $list)"));
        }
        let over = self.expression()?;
        self.close(start, "#foreach")?;
        let body = self.body(start, "#foreach")?;
        Ok(Node::Foreach { variable, over, body, at: self.place(start) })
    }

    /// A plain `$name`.
    fn variable(&mut self, directive: &str) -> Eval<u32> {
        let at = self.at;
        let reference = if self.peek() == Some(b'$') { self.reference(0)? } else { None };
        match reference {
            Some(reference) if reference.steps.is_empty() => match reference.root {
                Root::Variable(slot) => Ok(slot),
                _ => Err(self.wrong(at, "this name is taken by the gateway", "use another name")),
            },
            _ => Err(self.wrong(at, format!("{directive} needs a plain variable here"), "write $name")),
        }
    }

    fn define(&mut self, start: usize) -> Eval<Node> {
        self.open(start, "#define")?;
        self.skip_blanks();
        let variable = self.variable("#define")?;
        self.skip_blanks();
        self.close(start, "#define")?;
        let body = Arc::new(self.body(start, "#define")?);
        Ok(Node::Define { variable, body })
    }

    /// `#literal()…#end`: the text of the block as it stands.
    fn literal(&mut self, start: usize, nodes: &mut Nodes) -> Eval<()> {
        self.open(start, "#literal")?;
        self.skip_blanks();
        self.close(start, "#literal")?;
        let from = self.at;
        let (_, end) = self.block()?;
        match end {
            Some(End { word: "end", at }) => {
                nodes.text(&self.source[from..at]);
                Ok(())
            }
            Some(other) => {
                Err(self.wrong(other.at, format!("`#{}` inside #literal", other.word), "it belongs to an #if"))
            }
            None => Err(self.wrong(start, "#literal has no #end", NO_END)),
        }
    }

    fn macro_(&mut self, start: usize) -> Eval<()> {
        self.open(start, "#macro")?;
        self.skip_blanks();
        let Some(name) = identifier(self.rest()) else {
            return Err(self.wrong(self.at, "#macro needs a name", "write #macro(name $first $second)"));
        };
        self.at += name.len();
        let mut parameters = Vec::new();
        loop {
            self.skip_separators();
            if self.peek() == Some(b')') {
                break;
            }
            parameters.push(self.variable("#macro")?);
        }
        self.close(start, "#macro")?;
        let body = self.body(start, "#macro")?;
        // The first declaration of a name stands, as in Velocity.
        if !self.declared.macros.iter().any(|known| *known.name == *name) {
            self.declared.macros.push(Macro { name: name.into(), parameters, body });
        }
        Ok(())
    }

    fn skip_separators(&mut self) {
        self.skip_blanks();
        if self.peek() == Some(b',') {
            self.at += 1;
            self.skip_blanks();
        }
    }

    /// `#name`, `#name(a b)`, `#@name(a)body#end`: a macro's call, or plain text.
    fn call(&mut self, name: &'s str, start: usize, nodes: &mut Nodes) -> Eval<()> {
        let (after_name, depth) = (self.at, self.depth);
        let with_body = name.starts_with('@');
        let mut arguments = Vec::new();
        if self.rest().trim_start_matches([' ', '\t']).starts_with('(') {
            self.open(start, name)?;
            loop {
                self.skip_separators();
                if self.peek() == Some(b')') {
                    break;
                }
                match self.expression() {
                    Ok(argument) => arguments.push(argument),
                    // Not a call after all: a colour, an anchor, a comment in another language.
                    Err(_) if !with_body => {
                        (self.at, self.depth) = (after_name, depth);
                        nodes.text(&self.source[start..after_name]);
                        return Ok(());
                    }
                    Err(fault) => return Err(fault),
                }
            }
            self.close(start, name)?;
        } else if with_body {
            nodes.text(&self.source[start..after_name]);
            return Ok(());
        }
        let body = if with_body {
            let slot = self.declared.names.slot("bodyContent");
            Some((slot, Arc::new(self.body(start, name)?)))
        } else {
            None
        };
        nodes.push(Node::Call(Call {
            name: name.trim_start_matches('@').into(),
            arguments,
            body,
            literal: self.source[start..self.at].into(),
            at: self.place(start),
        }));
        Ok(())
    }

    /// Backslashes before `#`: an odd number hides a directive, pairs become single ones.
    pub(super) fn escaped_directive(&mut self, backslashes: usize, nodes: &mut Nodes) {
        let word = directive_word(self.rest());
        let known = word.filter(|(word, _)| {
            DIRECTIVES.contains(word) || self.declared.macros.iter().any(|known| *known.name == **word)
        });
        // A quirk kept: pairs before #set stay as they are.
        let keep_pairs =
            known.is_none() || (backslashes.is_multiple_of(2) && known.is_some_and(|(word, _)| word == "set"));
        let shown = if keep_pairs { backslashes } else { backslashes / 2 };
        nodes.text(&"\\".repeat(shown));
        if backslashes % 2 == 1 {
            let length = word.map_or(1, |(_, length)| length);
            nodes.text(&self.rest()[..length]);
            self.at += length;
        }
    }
}

const DIRECTIVES: [&str; 13] = [
    "set", "if", "elseif", "else", "end", "foreach", "break", "stop", "macro", "define", "evaluate", "parse", "include",
];

/// The word after `#`, perhaps in braces, and the length of all of it.
fn directive_word(rest: &str) -> Option<(&str, usize)> {
    let rest = rest.strip_prefix('#')?;
    let (inner, braces) = match rest.strip_prefix('{') {
        Some(inner) => (inner, 2),
        None => (rest, 0),
    };
    let first = inner.bytes().next()?;
    if !(first.is_ascii_alphabetic() || first == b'_' || (first == b'@' && braces == 0)) {
        return None;
    }
    let other = |c: u8| !(c.is_ascii_alphanumeric() || matches!(c, b'_' | b'@'));
    let length = inner.bytes().position(other).unwrap_or(inner.len());
    if braces > 0 && inner.as_bytes().get(length) != Some(&b'}') {
        return None;
    }
    Some((&inner[..length], 1 + braces + length))
}
