//! Java's regular expressions on the linear-time engine: what means something else is rewritten, what
//! cannot be had (look-around, back references, possessive repeats) is an error.

use regex::{Regex, RegexBuilder};

/// Largest compiled pattern, in bytes.
const SIZE_LIMIT: usize = 1 << 20;
/// Longest pattern, in bytes.
const MAX_LENGTH: usize = 4096;

/// Compiles a pattern for searching.
pub(crate) fn compile(java: &str) -> Result<Regex, String> {
    build(java, &rewrite(java))
}

/// Compiles a pattern that must match a whole text, as `String.matches` does.
pub(crate) fn compile_whole(java: &str) -> Result<Regex, String> {
    build(java, &format!(r"\A(?:{})\z", rewrite(java)))
}

fn build(java: &str, rust: &str) -> Result<Regex, String> {
    if java.len() > MAX_LENGTH {
        return Err(format!("the pattern is longer than {MAX_LENGTH} bytes"));
    }
    RegexBuilder::new(rust).size_limit(SIZE_LIMIT).nest_limit(50).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("the pattern `{java}` is too big"),
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ");
            format!("the pattern `{java}` is not supported: {reason}")
        }
    })
}

/// Rewrites what Java and the engine spell differently. Java's classes are ASCII unless asked otherwise.
fn rewrite(java: &str) -> String {
    let mut rust = String::with_capacity(java.len() + 16);
    let mut chars = java.chars().peekable();
    let mut class_depth = 0_u32;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                None => rust.push('\\'),
                Some('Q') => {
                    let mut literal: String = chars.by_ref().collect();
                    let rest = literal.find("\\E").map(|end| literal.split_off(end));
                    rust.push_str(&regex::escape(&literal));
                    if let Some(rest) = rest {
                        rust.push_str(&rewrite(&rest[2..]));
                    }
                    return rust;
                }
                Some(class @ ('d' | 'w' | 's' | 'h' | 'v')) => {
                    let members = match class {
                        'd' => "0-9",
                        'w' => "A-Za-z0-9_",
                        's' => r" \t\n\x0B\f\r",
                        'h' => r" \t\u{A0}\u{1680}\u{180E}\u{2000}-\u{200A}\u{202F}\u{205F}\u{3000}",
                        _ => r"\n\x0B\f\r\u{85}\u{2028}\u{2029}",
                    };
                    if class_depth > 0 {
                        rust.push_str(members);
                    } else {
                        rust.push_str(&format!("[{members}]"));
                    }
                }
                Some('D') => rust.push_str("[^0-9]"),
                Some('W') => rust.push_str("[^A-Za-z0-9_]"),
                Some('S') => rust.push_str(r"[^ \t\n\x0B\f\r]"),
                Some('Z') => rust.push_str(r"(?:\r?\n)?\z"),
                Some('R') => rust.push_str(r"(?:\r\n|[\n\x0B\f\r\u{85}\u{2028}\u{2029}])"),
                Some('e') => rust.push_str(r"\x1B"),
                Some(c @ ('<' | '>')) => rust.push(c),
                Some(c) if !c.is_ascii() => rust.push(c),
                Some(c) => {
                    rust.push('\\');
                    rust.push(c);
                }
            },
            '[' => {
                class_depth += 1;
                rust.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    rust.push('^');
                }
            }
            ']' if class_depth > 0 => {
                class_depth -= 1;
                rust.push(']');
            }
            // Set operators of the engine that are plain characters in Java.
            '-' | '~' if class_depth > 0 && chars.peek() == Some(&c) => {
                rust.push('\\');
                rust.push(c);
            }
            c => rust.push(c),
        }
    }
    rust
}

/// `String.replaceAll` and `replaceFirst`: `$1` and `${name}` are groups, `\` takes the next character as
/// it is. `each` is told the length after every replacement and may refuse to go on.
pub(crate) fn replace<E>(
    regex: &Regex,
    text: &str,
    replacement: &str,
    first_only: bool,
    mut each: impl FnMut(usize) -> Result<(), E>,
) -> Result<Result<String, String>, E> {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    if !replacement.contains(['$', '\\']) {
        // Without groups the search is several times as fast.
        for found in regex.find_iter(text) {
            out.push_str(&text[done..found.start()]);
            out.push_str(replacement);
            done = found.end();
            each(out.len())?;
            if first_only {
                break;
            }
        }
        out.push_str(&text[done..]);
        each(out.len())?;
        return Ok(Ok(out));
    }
    for groups in regex.captures_iter(text) {
        let Some(whole) = groups.get(0) else { break };
        out.push_str(&text[done..whole.start()]);
        if let Err(message) = expand(&groups, replacement, &mut out) {
            return Ok(Err(message));
        }
        done = whole.end();
        each(out.len())?;
        if first_only {
            break;
        }
    }
    out.push_str(&text[done..]);
    each(out.len())?;
    Ok(Ok(out))
}

fn expand(groups: &regex::Captures<'_>, replacement: &str, out: &mut String) -> Result<(), String> {
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().ok_or("character to be escaped is missing")?),
            '$' if chars.next_if_eq(&'{').is_some() => {
                let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                out.push_str(groups.name(&name).map_or("", |group| group.as_str()));
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
                out.push_str(groups.get(number).map_or("", |group| group.as_str()));
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
        let regex = compile(pattern).unwrap();
        let never_refuses = |_| Ok::<(), ()>(());
        replace(&regex, text, replacement, false, never_refuses).unwrap().unwrap_or_else(|e| format!("! {e}"))
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
        assert!(compile_whole("a|ab").unwrap().is_match("ab"));
        assert!(!compile_whole("Hello").unwrap().is_match("Hello, World"));
    }

    #[test]
    fn what_is_not_linear_or_too_big_is_refused() {
        assert!(compile("(?=a)b").unwrap_err().contains("not supported"));
        assert!(compile(r"(a)\1").unwrap_err().contains("not supported"));
        assert!(compile(r"(\w{1000}){1000}").unwrap_err().contains("too big"));
        assert!(compile(&"(".repeat(4000)).is_err());
    }
}
