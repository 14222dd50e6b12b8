//! Paths: what can be routed, and what stands in each other's way.

use std::collections::BTreeMap;

use bundle::route::DEFAULT_RESOURCE;

use super::api::Prepared;
use crate::finding::{Findings, Reason, Severity};
use crate::read::Node;

/// A path of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// As the document writes it.
    pub(super) written: String,
    /// Without a trailing slash: the resource.
    pub(super) resource: String,
    pub(super) segments: Vec<Segment>,
}

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    Variable(String),
    Greedy(String),
}

impl Template {
    /// Reads a path. What it returns can be routed.
    pub(super) fn parse(path: &str, node: &Node<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fail = |reason, text: String| {
            findings.document(Severity::Error, reason, &node.pointer, text);
            None
        };
        let Some(rest) = path.strip_prefix('/') else {
            return fail(Reason::InvalidPath, format!("the path `{path}` does not begin with `/`"));
        };
        let root = rest.is_empty();
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut segments: Vec<Segment> = Vec::new();
        let mut unusual = false;
        for part in rest.split('/').filter(|_| !root) {
            if matches!(segments.last(), Some(Segment::Greedy(_))) {
                return fail(Reason::ChildOfGreedy, format!("`{path}` goes on below a greedy parameter"));
            }
            let Some(segment) = Segment::parse(part) else {
                let text = format!(
                    "`{part}` of `{path}` cannot be routed: a parameter fills its segment, `{{name}}` or `{{name+}}`"
                );
                return fail(Reason::InvalidPath, text);
            };
            let name = segment.variable();
            if name.is_some() && segments.iter().any(|known| known.variable() == name) {
                return fail(Reason::InvalidPath, format!("`{path}` has the parameter `{part}` twice"));
            }
            unusual |=
                name.is_none() && !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.,:".contains(&byte));
            segments.push(segment);
        }
        if unusual {
            let text = format!("Amazon API Gateway has no such path as `{path}`; it is served all the same");
            findings.document(Severity::Warning, Reason::UnusualPath, &node.pointer, text);
        }
        Some(Self { written: path.to_owned(), resource: format!("/{rest}"), segments })
    }

    /// An HTTP API's route for what no other one takes. No path is called so: others begin with a slash.
    pub(super) fn default_route() -> Self {
        let resource = DEFAULT_RESOURCE;
        let segments = vec![Segment::Literal(resource.to_owned())];
        Self { written: format!("/{resource}"), resource: resource.to_owned(), segments }
    }

    /// The path without the names of its parameters: two paths of one shape take the same requests.
    pub(super) fn shape(&self) -> String {
        let parts = self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => text.as_str(),
            Segment::Variable(_) => "{}",
            Segment::Greedy(_) => "{+}",
        });
        parts.fold(String::new(), |shape, part| shape + "/" + part)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.variables().any(|variable| variable == name)
    }

    /// The names of its parameters.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::variable)
    }
}

impl Segment {
    fn parse(part: &str) -> Option<Self> {
        if let Some(inner) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            let (name, greedy) = inner.strip_suffix('+').map_or((inner, false), |name| (name, true));
            let legal = !name.is_empty() && !name.contains(['{', '}', '+']) && !name.contains(char::is_whitespace);
            return legal.then(|| match greedy {
                true => Self::Greedy(name.to_owned()),
                false => Self::Variable(name.to_owned()),
            });
        }
        let legal = |c: char| !matches!(c, '{' | '}' | '?' | '#' | '\\') && !c.is_control() && !c.is_whitespace();
        let dots = matches!(part, "" | "." | "..");
        (!dots && part.chars().all(legal)).then(|| Self::Literal(part.to_owned()))
    }

    fn variable(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Variable(name) | Self::Greedy(name) => Some(name),
        }
    }
}

/// Reports variables beside variables, and refuses the later path's routes. A REST API's tree has one variable below a
/// resource, while an HTTP API's routes are a list; a reverse proxy does not care what parameters are called, so paths without any integration of Amazon's
/// may differ.
pub(super) fn check_siblings(prepared: &mut [Prepared<'_>], findings: &mut Findings) {
    // By parent: the variable and the path that brought it, and whether that path is one of Amazon's.
    let mut variables: BTreeMap<String, Vec<(Segment, String, bool)>> = BTreeMap::new();
    for item in prepared {
        let mut parent = String::new();
        let mut conflict = None;
        for segment in &item.template.segments {
            if let Some(name) = segment.variable() {
                let known = variables.entry(parent.clone()).or_default();
                let other = known.iter().find(|(other, _, amazon)| other != segment && (*amazon || item.amazon));
                if let Some((_, path, _)) = other {
                    let text = format!(
                        "`{}` has the parameter `{name}` where `{path}` has another: one is allowed below a resource",
                        item.template.resource
                    );
                    findings.document(Severity::Error, Reason::SiblingVariable, &item.node.pointer, text.clone());
                    conflict = Some(text);
                }
                match known.iter_mut().find(|(other, ..)| other == segment) {
                    Some((.., amazon)) => *amazon |= item.amazon,
                    None => known.push((segment.clone(), item.template.resource.clone(), item.amazon)),
                }
            }
            parent.push('/');
            match segment {
                Segment::Literal(text) => parent.push_str(text),
                Segment::Variable(name) | Segment::Greedy(name) => {
                    parent.push('{');
                    parent.push_str(name);
                }
            }
        }
        if let Some(text) = conflict {
            item.refuse(Reason::SiblingVariable, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::finding::ObjectRef;

    fn shape(path: &str) -> Option<String> {
        let mut findings =
            Findings::new(ObjectRef { kind: "ApiDefinition", namespace: String::new(), name: String::new() });
        Template::parse(path, &Node::root(&json!({})), &mut findings).map(|template| template.shape())
    }

    #[test]
    fn paths_that_can_be_routed() {
        assert_eq!(shape("/").as_deref(), Some(""));
        assert_eq!(shape("/a/{x}/").as_deref(), Some("/a/{}"));
        assert_eq!(shape("/a/{proxy+}").as_deref(), Some("/a/{+}"));
        assert_eq!(shape("/users/@me/$batch").as_deref(), Some("/users/@me/$batch"));
        for bad in [
            "",
            "a",
            "//",
            "/a//b",
            "/{x}.json",
            "/a{x}",
            "/{proxy+}/b",
            "/{}",
            "/{+}",
            "/{x}/{x}",
            "/a?b",
            "/a/../b",
            "/a b",
        ] {
            assert_eq!(shape(bad), None, "{bad}");
        }
    }
}
