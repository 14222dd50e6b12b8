//! The parser: text, references and directives as Velocity 1.7 tells them apart, blanks included.
//!
//! Velocity's grammar is a tangle of lexer states; what it does with blanks comes down to this, compared
//! with Velocity 1.7 itself:
//! - the `)` of a directive, `#else` and `#end` take blanks and a line break after them with them;
//! - `#set` takes blanks before it too, but only where no other text stands before those blanks since the
//!   last reference or directive;
//! - `##` takes the line break; `#* *#` and `#[[ ]]#` take nothing.

mod directive;
mod expression;
mod literal;
mod reference;

use crate::ast::{Block, Macro, Names, Node};
use crate::error::{Eval, Fault};

/// Deepest nesting of blocks, brackets and arguments.
const MAX_DEPTH: u32 = 64;

/// A parsed source and what it declares.
pub(crate) struct Parsed {
    pub(crate) block: Block,
    pub(crate) names: Names,
    pub(crate) macros: Vec<Macro>,
}

/// Parses a whole source. `names` are those known already; they keep their numbers.
pub(crate) fn parse(source: &str, names: Names) -> Eval<Parsed> {
    let mut declared = Declared { names, macros: Vec::new() };
    let mut parser = Parser { source, at: 0, base: 0, depth: 0, declared: &mut declared };
    let (block, end) = parser.block()?;
    if let Some(end) = end {
        return Err(Fault::syntax(
            end.at,
            format!("`#{}` closes nothing", end.word),
            "remove it, or open a block before it",
        ));
    }
    Ok(Parsed { block, names: declared.names, macros: declared.macros })
}

struct Declared {
    names: Names,
    macros: Vec<Macro>,
}

struct Parser<'s, 'd> {
    source: &'s str,
    at: usize,
    /// Where `source` starts in the whole template; more than 0 inside string literals.
    base: usize,
    depth: u32,
    declared: &'d mut Declared,
}

/// The directive that ended a block.
struct End {
    word: &'static str,
    at: usize,
}

impl<'s> Parser<'s, '_> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    /// The current place, for the AST.
    fn place(&self, at: usize) -> u32 {
        u32::try_from(self.base + at).unwrap_or(u32::MAX)
    }

    fn wrong(&self, at: usize, message: impl Into<String>, help: &'static str) -> Box<Fault> {
        Fault::syntax(self.base + at, message, help)
    }

    fn enter(&mut self) -> Eval<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(
                self.at,
                format!("blocks and brackets are nested more than {MAX_DEPTH} deep"),
                "use #set for parts of it",
            ));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Nodes up to the end of the source or the directive that ends this block.
    fn block(&mut self) -> Eval<(Block, Option<End>)> {
        self.enter()?;
        let mut nodes = Nodes::default();
        let end = loop {
            if let Some(node) = self.set_with_blanks()? {
                nodes.push(node);
                continue;
            }
            let rest = self.rest();
            let text = rest.find(['$', '#', '\\']).unwrap_or(rest.len());
            if text > 0 {
                self.at += text;
                nodes.text(&rest[..text]);
                continue;
            }
            match self.peek() {
                None => break None,
                Some(b'$') => self.dollar(0, &mut nodes)?,
                Some(b'\\') => self.backslashes(&mut nodes)?,
                Some(_) => {
                    if let Some(end) = self.hash(&mut nodes)? {
                        break Some(end);
                    }
                }
            }
        };
        self.leave();
        Ok((nodes.finish(), end))
    }

    /// A reference, or a `$` that is none.
    fn dollar(&mut self, backslashes: usize, nodes: &mut Nodes) -> Eval<()> {
        match self.reference(backslashes)? {
            Some(reference) => nodes.push(Node::Reference(reference)),
            None => {
                nodes.text(&"\\".repeat(backslashes));
                let length = if self.rest().starts_with("$!") { 2 } else { 1 };
                nodes.text(&self.rest()[..length]);
                self.at += length;
            }
        }
        Ok(())
    }

    /// Backslashes matter only in front of what they could hide.
    fn backslashes(&mut self, nodes: &mut Nodes) -> Eval<()> {
        let rest = self.rest();
        let count = rest.len() - rest.trim_start_matches('\\').len();
        self.at += count;
        match self.peek() {
            Some(b'$') => self.dollar(count, nodes),
            Some(b'#') => {
                self.escaped_directive(count, nodes);
                Ok(())
            }
            _ => {
                nodes.text(&rest[..count]);
                Ok(())
            }
        }
    }
}

/// Nodes of a block as they come, with the text not yet made into one.
#[derive(Default)]
struct Nodes {
    done: Block,
    text: String,
}

impl Nodes {
    fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn push(&mut self, node: Node) {
        self.flush();
        self.done.push(node);
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.done.push(Node::Text(self.text.as_str().into()));
            self.text.clear();
        }
    }

    fn finish(mut self) -> Block {
        self.flush();
        self.done
    }
}
