//! Regular expressions that must match a whole text.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Largest compiled pattern.
const MAX_BYTES: usize = 1 << 20;

/// Whether a pattern is understood; if not, why.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    let whole = format!("^(?:{pattern})$");
    // Alone too: `a)(b` is only well-formed inside the group.
    let built = [pattern, &whole].map(|text| regex::RegexBuilder::new(text).size_limit(MAX_BYTES).build().map(drop));
    built.into_iter().collect::<Result<Vec<_>, _>>().map(drop).map_err(|error| gist(&error.to_string()).to_owned())
}

/// The last line; those before it draw the pattern.
fn gist(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

/// Answers that were given already: a document says `5\d{2}` ten thousand times, and compiling it is slow.
#[derive(Default)]
pub(super) struct Patterns(RefCell<BTreeMap<String, Result<(), String>>>);

impl Patterns {
    pub(super) fn check(&self, pattern: &str) -> Result<(), String> {
        let mut known = self.0.borrow_mut();
        if let Some(answer) = known.get(pattern) {
            return answer.clone();
        }
        let answer = check(pattern);
        known.insert(pattern.to_owned(), answer.clone());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for good in ["2\\d{2}", ".*timeout.*", "(\\n|.)+", "404"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["(", "a)(b", "(?=x)y", "[", "(\\w{99}){99}{99}"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
