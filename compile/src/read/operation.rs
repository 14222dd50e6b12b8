//! Operations: a path item's methods with what they inherit from it.

use bundle::route::Verb;

use super::Node;

/// Fields of a path item that are methods.
pub(crate) const VERBS: [&str; 8] = ["delete", "get", "head", "options", "patch", "post", "put", "trace"];

/// Amazon's field for a method that stands for all.
pub(crate) const ANY: &str = "x-amazon-apigateway-any-method";

/// One method of one path.
#[derive(Clone, Debug)]
pub(crate) struct Operation<'d> {
    pub(crate) verb: Verb,
    pub(crate) node: Node<'d>,
    items: Vec<Node<'d>>,
}

/// A parameter of an operation, its own or its path item's.
#[derive(Clone, Debug)]
pub(crate) struct Parameter<'d> {
    /// `path`, `query`, `header`, `cookie`, and Swagger's `body` and `formData`.
    pub(crate) place: &'d str,
    pub(crate) name: &'d str,
    pub(crate) node: Node<'d>,
}

/// The operations of a path item, sorted by verb. An item may refer to another and have fields of its own beside it;
/// its own win.
pub(crate) fn operations<'d>(item: &Node<'d>) -> Vec<Operation<'d>> {
    let mut items = vec![item.clone()];
    if item.has("$ref")
        && let Some(target) = item.clone().resolve()
    {
        items.push(target);
    }
    // One that refers to nothing stays: whoever leaves it out hands its requests to another route.
    let field = |name: &str| {
        let node = items.iter().find_map(|item| item.get(name))?;
        Some(node.clone().resolve().unwrap_or(node))
    };
    let mut found = Vec::new();
    if let Some(node) = field(ANY) {
        found.push(Operation { verb: Verb::Any, node, items: items.clone() });
    }
    for verb in VERBS {
        if let Some(node) = field(verb) {
            found.push(Operation { verb: Verb::One(verb.to_ascii_uppercase()), node, items: items.clone() });
        }
    }
    found
}

impl<'d> Operation<'d> {
    /// A field that the operation may override and the document may set for all.
    pub(crate) fn or_root(&self, key: &str) -> Option<Node<'d>> {
        self.node.get(key).or_else(|| self.node.document().get(key))
    }

    /// Its parameters: the path item's, those of the same place and name replaced by its own.
    pub(crate) fn parameters(&self) -> Vec<Parameter<'d>> {
        let mut merged: Vec<Parameter<'d>> = Vec::new();
        for owner in std::iter::once(&self.node).chain(&self.items) {
            let own = owner.get("parameters").map(|list| list.items()).unwrap_or_default();
            for node in own.into_iter().filter_map(Node::resolve) {
                let text = |key| node.value.get(key).and_then(serde_json::Value::as_str);
                let (Some(place), Some(name)) = (text("in"), text("name")) else { continue };
                if !merged.iter().any(|known| known.place == place && known.name == name) {
                    merged.push(Parameter { place, name, node });
                }
            }
        }
        merged.sort_by(|a, b| (a.place, a.name).cmp(&(b.place, b.name)));
        merged
    }
}
