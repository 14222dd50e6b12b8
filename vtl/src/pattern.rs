//! Java's regular expressions. Nearly all run on the linear-time engine; look-around and back references are for short
//! patterns that an author wrote, on short texts and with bounds.

mod java;

use std::ops::Range;

use regex::{Regex, RegexBuilder};

use java::rewrite;

/// Largest compiled pattern, in bytes.
const SIZE_LIMIT: usize = 1 << 20;
/// Longest pattern, in bytes.
const MAX_LENGTH: usize = 4096;
/// Longest pattern, and longest text, that are matched by backtracking, in bytes.
const MAX_BACKTRACKING: usize = 256;
const MAX_BACKTRACKED: usize = 4 << 10;
/// How often the engine may go back before it gives up, in one match of a whole text: a few times for each character.
const MAX_BACKTRACKS: usize = 20_000;
/// The same for each match of a search, which may find many.
const MAX_SEARCHED: usize = 1_000;
/// The engine does not count how often it repeats what takes no text, so counted repeats have a bound, all of a pattern's
/// together.
const MAX_REPEATS: u64 = 1_000;
/// Largest compiled part of a pattern for backtracking, in bytes.
const PART_LIMIT: usize = 128 << 10;

/// A Java pattern, compiled.
#[derive(Debug, Clone)]
pub struct Pattern(Engine);

#[derive(Debug, Clone)]
enum Engine {
    Linear(Regex),
    Backtracking(fancy_regex::Regex),
}

impl Pattern {
    /// A pattern that an author wrote and that must match a whole text, as `String.matches` wants it.
    ///
    /// # Errors
    /// Why it is none, or cannot be had: half a sentence.
    pub fn whole(java: &str) -> Result<Self, String> {
        // Alone first: `a)|(b` is a pattern only between the parentheses.
        Self::search(java)?;
        let rust = format!(r"\A(?:{})\z", rewrite(java));
        Self::of(java, &rust, MAX_BACKTRACKS)
    }

    /// A pattern that an author wrote, for searching.
    pub(crate) fn search(java: &str) -> Result<Self, String> {
        within(java)?;
        Self::of(java, &rewrite(java), MAX_SEARCHED)
    }

    /// The same, of data: it never backtracks.
    pub(crate) fn linear_search(java: &str) -> Result<Self, String> {
        within(java)?;
        linear(&rewrite(java)).map(|regex| Self(Engine::Linear(regex))).map_err(Refused::reason)
    }

    pub(crate) fn linear_whole(java: &str) -> Result<Self, String> {
        linear_whole(java).map(|regex| Self(Engine::Linear(regex)))
    }

    fn of(java: &str, rust: &str, limit: usize) -> Result<Self, String> {
        match linear(rust) {
            Ok(regex) => Ok(Self(Engine::Linear(regex))),
            Err(Refused::NotLinear) => {
                if java.len() > MAX_BACKTRACKING {
                    return Err(format!("it looks around or back, and is longer than {MAX_BACKTRACKING} bytes"));
                }
                repeats(rust)?;
                backtracking(rust, limit).map(|regex| Self(Engine::Backtracking(regex)))
            }
            Err(refused @ Refused::Never(_)) => Err(refused.reason()),
        }
    }

    /// Steps of a rendering that each match in a text may cost beyond those of the call.
    pub(crate) fn cost(&self, text: &str) -> u64 {
        match &self.0 {
            Engine::Linear(_) => 0,
            Engine::Backtracking(_) => 500 + text.len() as u64,
        }
    }

    /// Does it match?
    ///
    /// # Errors
    /// A pattern that needs backtracking may give up: why, half a sentence.
    pub fn is_match(&self, text: &str) -> Result<bool, String> {
        match &self.0 {
            Engine::Linear(regex) => Ok(regex.is_match(text)),
            Engine::Backtracking(regex) => {
                short(text)?;
                regex.is_match(text).map_err(gave_up)
            }
        }
    }

    /// Where it matches, one after the other.
    pub(crate) fn finds<'p>(&'p self, text: &'p str) -> Result<Finds<'p>, String> {
        Ok(match &self.0 {
            Engine::Linear(regex) => Finds::Linear(regex.find_iter(text)),
            Engine::Backtracking(regex) => {
                short(text)?;
                Finds::Backtracking(regex.find_iter(text))
            }
        })
    }

    fn captures<'p>(&'p self, text: &'p str) -> Result<Captures<'p>, String> {
        Ok(match &self.0 {
            Engine::Linear(regex) => Captures::Linear(regex.captures_iter(text)),
            Engine::Backtracking(regex) => {
                short(text)?;
                Captures::Backtracking(regex.captures_iter(text))
            }
        })
    }
}

/// A pattern on the linear engine that must match a whole text.
pub(crate) fn linear_whole(java: &str) -> Result<Regex, String> {
    within(java)?;
    linear(&format!(r"\A(?:{})\z", rewrite(java))).map_err(Refused::reason)
}

/// What is said of a pattern that cannot be had.
pub(crate) fn unsupported(java: &str, reason: &str) -> String {
    format!("the pattern `{java}` is not supported: {reason}")
}

/// Why the linear engine does not take a pattern.
enum Refused {
    /// It looks around or back.
    NotLinear,
    /// No engine should take it: why, half a sentence.
    Never(String),
}

impl Refused {
    fn reason(self) -> String {
        match self {
            Self::NotLinear => "look-around and back references are not supported here".to_owned(),
            Self::Never(reason) => reason,
        }
    }
}

/// Asked before anything is made of a pattern.
fn within(java: &str) -> Result<(), String> {
    if java.len() > MAX_LENGTH {
        return Err(format!("it is longer than {MAX_LENGTH} bytes"));
    }
    Ok(())
}

fn linear(rust: &str) -> Result<Regex, Refused> {
    RegexBuilder::new(rust).size_limit(SIZE_LIMIT).nest_limit(50).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Refused::Never("it is too big".to_owned()),
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
            let backtracks = reason.starts_with("look-around") || reason.starts_with("backreferences");
            if backtracks { Refused::NotLinear } else { Refused::Never(reason) }
        }
    })
}

fn backtracking(rust: &str, limit: usize) -> Result<fancy_regex::Regex, String> {
    let mut builder = fancy_regex::RegexBuilder::new(rust);
    builder.backtrack_limit(limit).delegate_size_limit(PART_LIMIT).build().map_err(|error| error.to_string())
}

/// Refuses counted repeats beyond their bound, and braces that are none: the engine would take those for themselves.
fn repeats(rust: &str) -> Result<(), String> {
    let mut all = 1_u64;
    let mut class_depth = 0_u32;
    let mut rest = rust;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let escaped = rest.chars().next().map_or(0, char::len_utf8);
                rest = &rest[escaped..];
                // `\p{…}`, `\x{…}`
                if rest.starts_with('{') {
                    rest = rest.split_once('}').map_or("", |(_, rest)| rest);
                }
            }
            '[' => class_depth += 1,
            ']' => class_depth = class_depth.saturating_sub(1),
            '{' if class_depth == 0 => {
                let (counts, after) = rest.split_once('}').ok_or("unclosed counted repetition")?;
                rest = after;
                let (least, most) = counts.split_once(',').unwrap_or((counts, ""));
                let most = if most.is_empty() { least } else { most };
                let count: u64 = most.trim().parse().map_err(|_| "a brace begins no counted repetition".to_owned())?;
                all = all.saturating_mul(count.max(1));
            }
            _ => {}
        }
    }
    if all > MAX_REPEATS {
        return Err(format!("it looks around or back, and repeats more than {MAX_REPEATS} times"));
    }
    Ok(())
}

fn short(text: &str) -> Result<(), String> {
    if text.len() > MAX_BACKTRACKED {
        return Err(format!("the text has more than {MAX_BACKTRACKED} bytes, which is too long for look-around"));
    }
    Ok(())
}

fn gave_up(error: fancy_regex::Error) -> String {
    error.to_string()
}

/// Matches, one after the other.
pub(crate) enum Finds<'p> {
    Linear(regex::Matches<'p, 'p>),
    Backtracking(fancy_regex::Matches<'p, 'p, str>),
}

impl Iterator for Finds<'_> {
    type Item = Result<Range<usize>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Linear(matches) => matches.next().map(|found| Ok(found.range())),
            Self::Backtracking(matches) => {
                matches.next().map(|found| found.map(|found| found.range()).map_err(gave_up))
            }
        }
    }
}

/// Matches with their groups, one after the other.
enum Captures<'p> {
    Linear(regex::CaptureMatches<'p, 'p>),
    Backtracking(fancy_regex::CaptureMatches<'p, 'p, str>),
}

impl<'p> Iterator for Captures<'p> {
    type Item = Result<Groups<'p>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Linear(captures) => captures.next().map(|groups| Ok(Groups::Linear(groups))),
            Self::Backtracking(captures) => {
                captures.next().map(|groups| groups.map(Groups::Backtracking).map_err(gave_up))
            }
        }
    }
}

/// The groups of a match.
enum Groups<'p> {
    Linear(regex::Captures<'p>),
    Backtracking(fancy_regex::Captures<'p, str>),
}

impl Groups<'_> {
    fn range(&self) -> Option<Range<usize>> {
        match self {
            Self::Linear(groups) => groups.get(0).map(|whole| whole.range()),
            Self::Backtracking(groups) => groups.get(0).map(|whole| whole.range()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Linear(groups) => groups.len(),
            Self::Backtracking(groups) => groups.len(),
        }
    }

    fn nth(&self, number: usize) -> &str {
        match self {
            Self::Linear(groups) => groups.get(number).map_or("", |group| group.as_str()),
            Self::Backtracking(groups) => groups.get(number).map_or("", |group| group.as_str()),
        }
    }

    fn named(&self, name: &str) -> &str {
        match self {
            Self::Linear(groups) => groups.name(name).map_or("", |group| group.as_str()),
            Self::Backtracking(groups) => groups.name(name).map_or("", |group| group.as_str()),
        }
    }
}

/// Why nothing was replaced.
pub(crate) enum Stopped<E> {
    /// The pattern gave up, or the replacement is none: half a sentence.
    Wrong(String),
    /// Who is told of every replacement refused to go on.
    Refused(E),
}

impl<E> From<String> for Stopped<E> {
    fn from(reason: String) -> Self {
        Self::Wrong(reason)
    }
}

/// `String.replaceAll` and `replaceFirst`: `$1` and `${name}` are groups, `\` takes the next character as
/// it is. `each` is told the length after every replacement and may refuse to go on.
pub(crate) fn replace<E>(
    pattern: &Pattern,
    text: &str,
    replacement: &str,
    first_only: bool,
    mut each: impl FnMut(usize) -> Result<(), E>,
) -> Result<String, Stopped<E>> {
    let mut each = |length| each(length).map_err(Stopped::Refused);
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    if !replacement.contains(['$', '\\']) {
        // Without groups the search is several times as fast.
        for found in pattern.finds(text)? {
            let found = found?;
            out.push_str(&text[done..found.start]);
            out.push_str(replacement);
            done = found.end;
            each(out.len())?;
            if first_only {
                break;
            }
        }
        out.push_str(&text[done..]);
        each(out.len())?;
        return Ok(out);
    }
    for groups in pattern.captures(text)? {
        let groups = groups?;
        let Some(whole) = groups.range() else { break };
        out.push_str(&text[done..whole.start]);
        expand(&groups, replacement, &mut out)?;
        done = whole.end;
        each(out.len())?;
        if first_only {
            break;
        }
    }
    out.push_str(&text[done..]);
    each(out.len())?;
    Ok(out)
}

fn expand(groups: &Groups<'_>, replacement: &str, out: &mut String) -> Result<(), String> {
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().ok_or("character to be escaped is missing")?),
            '$' if chars.next_if_eq(&'{').is_some() => {
                let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                out.push_str(groups.named(&name));
            }
            '$' => {
                let digit = chars.next_if(char::is_ascii_digit).and_then(|c| c.to_digit(10));
                let mut number = digit.ok_or("illegal group reference: write \\$ for a dollar sign")? as usize;
                if number >= groups.len() {
                    return Err(format!("no group {number} in the pattern"));
                }
                // More digits belong to the number as long as there is such a group.
                while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                    let longer = number * 10 + digit as usize;
                    if longer >= groups.len() {
                        break;
                    }
                    number = longer;
                    chars.next();
                }
                out.push_str(groups.nth(number));
            }
            c => out.push(c),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pattern: &str, text: &str, replacement: &str) -> String {
        let pattern = Pattern::search(pattern).unwrap();
        let never_refuses = |_| Ok::<(), ()>(());
        match replace(&pattern, text, replacement, false, never_refuses) {
            Ok(replaced) => replaced,
            Err(Stopped::Wrong(reason)) => format!("! {reason}"),
            Err(Stopped::Refused(())) => panic!("it never refuses"),
        }
    }

    #[test]
    fn java_spellings_work() {
        assert_eq!(all(r"(\w+), (\w+)", "Hello, World", "$2 $1"), "World Hello");
        assert_eq!(all(r"\\'", r"it\'s", "'"), "it's");
        assert_eq!(all(r"[\s\d]+", "a 1 b", "_"), "a_b");
        assert_eq!(all(r"\Qa.b\E+", "a.bb axb", "x"), "x axb");
        assert_eq!(all(r"(a)", "aa", "$10"), "a0a0");
        assert_eq!(all(r"a", "aa", r"\$"), "$$");
        assert_eq!(all(r"\/\-\'\<", "/-'<", "y"), "y");
        assert_eq!(all("a", "a", "$1"), "! no group 1 in the pattern");
        assert_eq!(all("\\d", "٣", "x"), "٣");
        assert_eq!(Pattern::whole("a|ab").unwrap().is_match("ab"), Ok(true));
        assert_eq!(Pattern::whole("Hello").unwrap().is_match("Hello, World"), Ok(false));
    }

    #[test]
    fn look_around_and_back_references() {
        assert_eq!(all("(?<!l)l", "Hello, World", "L"), "HeLlo, WorLd");
        assert_eq!(all("(l)(?=o)", "Hello", "<$1>"), "Hel<l>o");
        assert_eq!(all(r"(\w)\1", "Hello", "$1"), "Helo");
        let pattern = Pattern::whole(r"^(?!\[4\d\d\]).*$").unwrap();
        assert_eq!((pattern.is_match("[500] broken"), pattern.is_match("[404] nothing")), (Ok(true), Ok(false)));
    }

    #[test]
    fn backtracking_has_bounds() {
        let pattern = Pattern::whole("(?=(a+)+$)x|(a|aa)+b").unwrap();
        assert!(pattern.is_match(&"a".repeat(MAX_BACKTRACKED)).is_err(), "it gives up");
        let long = "a".repeat(MAX_BACKTRACKED + 1);
        assert!(Pattern::search("(?=a)a").unwrap().is_match(&long).unwrap_err().contains("too long"));
        assert_eq!(Pattern::search("a").unwrap().is_match(&long), Ok(true));
        // A usual one goes through the longest text there may be.
        let usual = Pattern::whole(r"(?!\[4)(\n|.)+timed out(\n|.)*").unwrap();
        assert_eq!(usual.is_match(&format!("it timed out {}", "x".repeat(MAX_BACKTRACKED - 13))), Ok(true));
    }

    #[test]
    fn what_is_no_pattern_or_too_big_is_refused() {
        for (pattern, reason) in [
            ("(", "unclosed group"),
            ("a)|(b", "unopened group"),
            (r"4\d{2", "unclosed counted"),
            (r"(\w{1000}){1000}", "too big"),
            (r"(\w{99}){99}{99}", "too big"),
            // What takes no text is repeated without going back.
            ("((?=.)){9999999999999}", "repeats more than"),
            ("((?=.){100}){100}", "repeats more than"),
            (r"(?!2)4\d{2", "unclosed counted"),
            ("(?!2)a{b}", "no counted repetition"),
            (&format!("(?=a){}", "b".repeat(300)), "longer than 256 bytes"),
            (&r"\Q\E".repeat(100_000), "longer than"),
        ] {
            assert!(Pattern::whole(pattern).unwrap_err().contains(reason), "{pattern}");
        }
        assert!(Pattern::search(&"(".repeat(4000)).is_err());
        assert!(Pattern::search(&"(?=".repeat(1300)).is_err());
        assert!(Pattern::linear_search("(?=a)b").unwrap_err().contains("not supported"));
    }
}
