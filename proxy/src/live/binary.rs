//! Which payloads are bytes and which are text.

use std::collections::BTreeSet;

use crate::live::template::media_type;

/// The binary media types of an API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BinaryTypes {
    /// `*/*` is among them.
    every: bool,
    /// `type/subtype`, lower case.
    exact: Box<[Box<str>]>,
    /// `image/` of `image/*`.
    families: Box<[Box<str>]>,
}

impl BinaryTypes {
    /// Parses `type/subtype`, `type/*` and `*/*`.
    pub fn parse(types: &BTreeSet<String>) -> Self {
        let every = types.contains("*/*");
        let lower = |text: &str| text.to_ascii_lowercase().into();
        let (families, exact): (Vec<&String>, Vec<&String>) = types.iter().partition(|text| text.ends_with("/*"));
        Self {
            every,
            exact: exact.into_iter().map(|text| lower(text)).collect(),
            families: families.into_iter().map(|text| lower(text.trim_end_matches('*'))).collect(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.every && self.exact.is_empty() && self.families.is_empty()
    }

    /// Whether a payload of this `Content-Type` is bytes; one without is JSON. Parameters do not matter.
    pub fn holds(&self, content_type: Option<&[u8]>) -> bool {
        if self.is_empty() {
            return false;
        }
        if self.every {
            return true;
        }
        let Ok(content_type) = std::str::from_utf8(content_type.unwrap_or(b"application/json")) else { return false };
        let wanted = media_type(content_type);
        let begins = |family: &str| {
            wanted.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family))
                && wanted.len() > family.len()
        };
        self.exact.iter().any(|exact| exact.eq_ignore_ascii_case(wanted))
            || self.families.iter().any(|family| begins(family))
    }

    /// Whether a client asks for bytes: by the first type of its `Accept` alone, as Amazon has it.
    pub fn accepted(&self, accept: Option<&[u8]>) -> bool {
        let first = accept.and_then(|accept| accept.split(|&byte| byte == b',').next());
        !self.is_empty() && self.holds(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(types: &[&str]) -> BinaryTypes {
        BinaryTypes::parse(&types.iter().map(|&text| text.to_owned()).collect())
    }

    #[test]
    fn types_families_and_everything() {
        let some = types(&["image/*", "application/octet-stream"]);
        for yes in ["image/webp", "IMAGE/PNG", "application/octet-stream; x=1", " image/png ;q=1"] {
            assert!(some.holds(Some(yes.as_bytes())), "{yes}");
        }
        for no in ["text/plain", "image/", "imagex/png", "application/octet-streams", "", "*/*", "\u{e9}"] {
            assert!(!some.holds(Some(no.as_bytes())), "{no}");
        }
        assert!(!some.holds(None));
        assert!(types(&["application/json"]).holds(None));
        assert!(types(&["*/*"]).holds(Some(b"text/plain")) && types(&["*/*"]).holds(None));
        assert!(!types(&[]).holds(Some(b"image/png")));
    }

    #[test]
    fn the_first_type_of_accept_decides() {
        let image = types(&["image/*"]);
        assert!(image.accepted(Some(b"image/webp,text/html,*/*;q=0.8")));
        assert!(!image.accepted(Some(b"text/html,image/webp")));
        assert!(!image.accepted(None));
        assert!(types(&["*/*"]).accepted(None));
    }
}
