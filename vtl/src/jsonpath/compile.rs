//! From text to tokens.

use super::filter::{Condition, parse_condition};
use super::function::Call;
use super::{Path, PathError, Token};

/// Longest path; beyond, someone is up to no good.
const MAX_LENGTH: usize = 4096;

/// Deepest nesting of filters and conditions.
pub(super) const MAX_DEPTH: u32 = 16;

pub(super) fn compile(text: &str) -> Result<Path, PathError> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    if text.len() > MAX_LENGTH {
        return Err(reader.wrong(format!("the path is longer than {MAX_LENGTH} bytes")));
    }
    reader.skip_blanks();
    if reader.rest().is_empty() {
        return Err(reader.wrong("the path is empty"));
    }
    let path = reader.path(true)?;
    reader.skip_blanks();
    if reader.rest().is_empty() { Ok(path) } else { Err(reader.wrong("unexpected text")) }
}

/// A cursor over the path, shared by path, filter and function parsing.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) depth: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn wrong(&self, message: impl Into<String>) -> PathError {
        PathError { message: message.into(), at: self.text[..self.at].chars().count() + 1 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    pub(super) fn expect(&mut self, token: &str) -> Result<(), PathError> {
        self.skip_blanks();
        if self.eat(token) { Ok(()) } else { Err(self.wrong(format!("expected `{token}`"))) }
    }

    /// A path from its `$` or `@`; `whole` if it is not part of a filter, where a bare name may start it.
    pub(super) fn path(&mut self, whole: bool) -> Result<Path, PathError> {
        let mut tokens = Vec::new();
        if !(self.eat("$") || self.eat("@")) {
            if !whole {
                return Err(self.wrong("expected `$` or `@`"));
            }
            if !self.rest().starts_with(['[', '.']) {
                tokens.push(self.name_or_function(whole)?);
            }
        }
        loop {
            if self.eat("..") {
                tokens.push(Token::Scan);
                match self.rest().chars().next() {
                    Some('[') => tokens.push(self.bracket()?),
                    Some('.') | None => return Err(self.wrong("a path must not end with `.` or `..`")),
                    Some(_) => tokens.push(self.name_or_function(whole)?),
                }
            } else if self.eat(".") {
                match self.rest().chars().next() {
                    Some('[') => tokens.push(self.bracket()?),
                    None => return Err(self.wrong("a path must not end with `.` or `..`")),
                    Some(_) => tokens.push(self.name_or_function(whole)?),
                }
            } else if self.rest().starts_with('[') {
                tokens.push(self.bracket()?);
            } else if !whole || self.rest().trim().is_empty() {
                break;
            } else {
                return Err(self.wrong("expected `.` or `[`"));
            }
        }
        let single = |token: &Token, last: bool| match token {
            Token::Names(names) => names.len() == 1 || last,
            Token::Indexes(indexes) => indexes.len() == 1,
            Token::Function(_) => true,
            _ => false,
        };
        let definite = tokens.iter().enumerate().all(|(nth, token)| single(token, nth + 1 == tokens.len()));
        let straight = tokens.iter().all(|token| match token {
            Token::Names(names) => names.len() == 1,
            Token::Indexes(indexes) => indexes.len() == 1,
            _ => false,
        });
        Ok(Path { tokens, definite, straight })
    }

    fn name_or_function(&mut self, whole: bool) -> Result<Token, PathError> {
        if self.eat("*") {
            return Ok(Token::Wildcard);
        }
        let stops = |c: char| {
            matches!(c, '.' | '[' | '(' | ' ')
                || (!whole && matches!(c, ')' | ']' | ',' | '=' | '!' | '<' | '>' | '&' | '|' | '~'))
        };
        let rest = self.rest();
        let length = rest.find(stops).unwrap_or(rest.len());
        let name = &rest[..length];
        if name.is_empty() {
            return Err(self.wrong("expected a name"));
        }
        self.at += length;
        if self.rest().starts_with('(') {
            return Call::parse(name, self).map(Token::Function);
        }
        if whole && self.rest().starts_with(' ') && !self.rest().trim().is_empty() {
            return Err(self.wrong("a name with blanks must be written ['my name']"));
        }
        Ok(Token::Names(vec![name.into()]))
    }

    fn bracket(&mut self) -> Result<Token, PathError> {
        self.expect("[")?;
        self.skip_blanks();
        let token = if self.eat("*") {
            Token::Wildcard
        } else if self.eat("?") {
            Token::Filter(self.filter()?)
        } else if self.rest().starts_with(['\'', '"']) {
            let mut names = vec![self.quoted()?.into_boxed_str()];
            self.skip_blanks();
            while self.eat(",") {
                self.skip_blanks();
                names.push(self.quoted()?.into_boxed_str());
                self.skip_blanks();
            }
            Token::Names(names)
        } else {
            self.indexes()?
        };
        self.expect("]")?;
        Ok(token)
    }

    fn filter(&mut self) -> Result<Condition, PathError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong("filters are nested too deep"));
        }
        self.expect("(")?;
        let condition = parse_condition(self)?;
        self.expect(")")?;
        self.depth -= 1;
        Ok(condition)
    }

    fn indexes(&mut self) -> Result<Token, PathError> {
        let first = self.integer()?;
        self.skip_blanks();
        if self.eat(":") {
            self.skip_blanks();
            return Ok(Token::Slice(first, self.integer()?));
        }
        let Some(first) = first else {
            return Err(self.wrong("expected a quoted name, an index, `*` or `?`"));
        };
        let mut indexes = vec![first];
        while self.eat(",") {
            self.skip_blanks();
            indexes.push(self.integer()?.ok_or_else(|| self.wrong("expected an index"))?);
            self.skip_blanks();
        }
        Ok(Token::Indexes(indexes))
    }

    fn integer(&mut self) -> Result<Option<i64>, PathError> {
        let rest = self.rest();
        let digits = rest.trim_start_matches('-');
        let length = rest.len() - digits.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if length == 0 {
            return Ok(None);
        }
        let number = rest[..length].parse().map_err(|_| self.wrong("not an index"))?;
        self.at += length;
        Ok(Some(number))
    }

    /// A quoted text with `\` escapes.
    pub(super) fn quoted(&mut self) -> Result<String, PathError> {
        let mut chars = self.rest().char_indices();
        let Some((_, quote @ ('\'' | '"'))) = chars.next() else {
            return Err(self.wrong("expected a quoted text"));
        };
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += at + 1;
                return Ok(text);
            }
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, escaped)) => text.push(escaped),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err(self.wrong("the quoted text has no end"))
    }
}
