//! Regular expressions that must match a whole text.

use std::cell::RefCell;
use std::collections::BTreeMap;

use vtl::pattern::Pattern;

/// Whether a pattern is understood; if not, why.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    Pattern::whole(pattern).map(drop)
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
        for good in ["2\\d{2}", ".*timeout.*", "(\\n|.)+", "404", "(?!4).*", "\\Qa.b\\E.*"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["(", "a)(b", "(?=x", "[", "(\\w{99}){99}{99}"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
