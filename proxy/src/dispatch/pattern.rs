//! A resource's path as the document writes it.

use crate::dispatch::path::canonical;

/// Deepest resource; what bounds a look-up's recursion.
const MAX_SEGMENTS: usize = 128;

/// A resource's path, split at `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    pub segments: Vec<Segment>,
}

/// One segment of a resource's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// In canonical form, so that it can be compared with a request's.
    Literal(Box<str>),
    /// `{name}`
    Parameter(Box<str>),
    /// `{name+}`: only the last one of a pattern.
    Greedy(Box<str>),
}

impl Pattern {
    /// Splits a resource's path. Of one that cannot be served the pattern covers at least the requests it was meant
    /// for, so that they can be refused, and the reason stands beside it.
    pub fn parse(resource: &str) -> (Self, Option<String>) {
        let mut segments = Vec::new();
        let Some(below) = resource.strip_prefix('/') else {
            return (Self { segments }, Some(format!("the path `{resource}` does not begin with a slash")));
        };
        let below = below.strip_suffix('/').unwrap_or(below);
        if below.is_empty() {
            return (Self { segments }, None);
        }
        let mut reason = None;
        let mut texts = below.split('/').peekable();
        while let Some(text) = texts.next() {
            let (segment, wrong) = segment(text);
            reason = reason.or_else(|| wrong.map(|wrong| format!("the segment `{text}` of `{resource}` {wrong}")));
            let greedy = matches!(segment, Segment::Greedy(_));
            segments.push(segment);
            if greedy && texts.peek().is_some() {
                reason = reason.or_else(|| Some(format!("`{text}` of `{resource}` is not its last segment")));
                break;
            }
            if segments.len() == MAX_SEGMENTS && texts.peek().is_some() {
                reason = reason.or_else(|| Some(format!("a path has more than {MAX_SEGMENTS} segments")));
                if let Some(last) = segments.last_mut() {
                    *last = Segment::Greedy("rest".into());
                }
                break;
            }
        }
        (Self { segments }, reason)
    }

    /// Names of the parameters, in the order of the path.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter(name) | Segment::Greedy(name) => Some(&**name),
        })
    }
}

/// A segment, and what is wrong with it.
fn segment(text: &str) -> (Segment, Option<&'static str>) {
    if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        let (name, greedy) = name.strip_suffix('+').map_or((name, false), |name| (name, true));
        let wrong = (name.is_empty() || name.contains(['{', '}', '+'])).then_some("names no parameter");
        return (if greedy { Segment::Greedy(name.into()) } else { Segment::Parameter(name.into()) }, wrong);
    }
    if text.contains(['{', '}']) {
        return (Segment::Parameter("part".into()), Some("mixes a parameter with other text"));
    }
    match canonical(&format!("/{text}")) {
        Ok(path) => (Segment::Literal(path[1..].into()), None),
        Err(_) => (Segment::Literal(text.into()), Some("can never be asked for")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(resource: &str) -> (String, bool) {
        let (pattern, reason) = Pattern::parse(resource);
        let shown = pattern.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => format!("/{text}"),
            Segment::Parameter(name) => format!("/<{name}>"),
            Segment::Greedy(name) => format!("/<{name}+>"),
        });
        (shown.collect(), reason.is_none())
    }

    #[test]
    fn segments_of_resources() {
        for (resource, shown, served) in [
            ("/", "", true),
            ("/pets", "/pets", true),
            ("/pets/", "/pets", true),
            ("/pets/{id}/{rest+}", "/pets/<id>/<rest+>", true),
            ("/a%7Eb//c", "/a~b//c", true),
            ("pets", "", false),
            ("/a/{p+}/b", "/a/<p+>", false),
            ("/{id}.json", "/<part>", false),
            ("/{}", "/<>", false),
            ("/a/..", "/a/..", false),
        ] {
            assert_eq!(shape(resource), (shown.to_owned(), served), "{resource}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let (pattern, reason) = Pattern::parse(&"/a".repeat(1000));
        assert_eq!(pattern.segments.len(), MAX_SEGMENTS);
        assert!(reason.is_some());
        assert!(Pattern::parse(&"/a".repeat(MAX_SEGMENTS)).1.is_none());
    }
}
