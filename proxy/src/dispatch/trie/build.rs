//! Growing a router.

use std::collections::HashMap;

use super::{Edge, Entry, NONE, Node, Router, SEVEN, Span, Verb, Verbs, hash};
use crate::dispatch::pattern::{Pattern, Segment};

/// A router that still grows.
pub struct Builder {
    drafts: Vec<Draft>,
    literals: HashMap<(u32, Box<str>), u32>,
    verbs: Vec<Box<str>>,
    fallback: Option<u32>,
    greedy_last: bool,
}

/// A node that still grows.
#[derive(Default)]
struct Draft {
    parameter: Option<u32>,
    here: Vec<Entry>,
    greedy: Vec<Entry>,
}

/// Another route has the same verb on the same resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub by: usize,
}

impl Builder {
    /// `greedy_last`: an HTTP API's precedence instead of a REST API's.
    pub fn new(greedy_last: bool) -> Self {
        let drafts = vec![Draft::default()];
        Self { drafts, literals: HashMap::new(), verbs: Vec::new(), fallback: None, greedy_last }
    }

    /// Adds a route.
    ///
    /// # Errors
    /// When another one is there already: the names of parameters do not tell two resources apart.
    pub fn insert(&mut self, pattern: &Pattern, verbs: Verbs<'_>, route: usize) -> Result<(), Taken> {
        let mut node = 0;
        let mut greedy = false;
        for segment in &pattern.segments {
            match segment {
                Segment::Literal(text) => node = self.literal(node, text),
                Segment::Parameter(_) => node = self.parameter(node),
                Segment::Greedy(_) => greedy = true,
            }
        }
        let entry = Entry { verb: self.verb(verbs), route: index(route) };
        let draft = &mut self.drafts[node as usize];
        let entries = if greedy { &mut draft.greedy } else { &mut draft.here };
        let any = |verb| matches!(verb, Verb::Seven | Verb::Every);
        match entries.iter().find(|other| other.verb == entry.verb || (any(other.verb) && any(entry.verb))) {
            Some(other) => Err(Taken { by: other.route as usize }),
            None => {
                entries.push(entry);
                Ok(())
            }
        }
    }

    /// Sets the route of what no other one matches.
    ///
    /// # Errors
    /// When there is one already.
    pub fn insert_fallback(&mut self, route: usize) -> Result<(), Taken> {
        match self.fallback {
            Some(by) => Err(Taken { by: by as usize }),
            None => {
                self.fallback = Some(index(route));
                Ok(())
            }
        }
    }

    /// The router, packed.
    pub fn build(self) -> Router {
        let mut methods = Vec::new();
        let mut pack = |entries: Vec<Entry>| {
            let span = Span { start: index(methods.len()), length: index(entries.len()) };
            methods.extend(entries);
            span
        };
        let pack_node = |draft: Draft| Node {
            parameter: draft.parameter.unwrap_or(NONE),
            here: pack(draft.here),
            greedy: pack(draft.greedy),
        };
        let nodes = self.drafts.into_iter().map(pack_node).collect();
        let mut texts = String::new();
        let mut edges = Vec::with_capacity(self.literals.len());
        for ((parent, text), child) in &self.literals {
            let (start, length) = (index(texts.len()), index(text.len()));
            edges.push(Edge { parent: *parent, child: *child, start, length });
            texts.push_str(text);
        }
        let longest = self.literals.keys().map(|(_, text)| text.len()).max().unwrap_or(0);
        let mut router = Router {
            nodes,
            slots: Box::default(),
            texts: texts.into_bytes().into(),
            longest,
            methods: methods.into(),
            verbs: self.verbs.into(),
            fallback: self.fallback,
            greedy_last: self.greedy_last,
            edges: edges.into(),
        };
        router.slots = slots(&router);
        router
    }

    fn literal(&mut self, parent: u32, text: &str) -> u32 {
        *self.literals.entry((parent, text.into())).or_insert_with(|| {
            self.drafts.push(Draft::default());
            index(self.drafts.len() - 1)
        })
    }

    fn parameter(&mut self, parent: u32) -> u32 {
        if let Some(child) = self.drafts[parent as usize].parameter {
            return child;
        }
        let child = index(self.drafts.len());
        self.drafts.push(Draft::default());
        self.drafts[parent as usize].parameter = Some(child);
        child
    }

    fn verb(&mut self, verbs: Verbs<'_>) -> Verb {
        let name = match verbs {
            Verbs::Seven => return Verb::Seven,
            Verbs::Every => return Verb::Every,
            Verbs::One(name) => name,
        };
        if let Some(known) = SEVEN.iter().position(|known| *known == name) {
            return Verb::Known(known as u8);
        }
        let other = self.verbs.iter().position(|verb| **verb == *name).unwrap_or_else(|| {
            self.verbs.push(name.into());
            self.verbs.len() - 1
        });
        // A document has eight verbs; a bundle of 32 MiB could not name 65,536 routes' worth of others.
        Verb::Other(u16::try_from(other).unwrap_or(u16::MAX))
    }
}

fn slots(router: &Router) -> Box<[u32]> {
    if router.edges.is_empty() {
        return Box::default();
    }
    let size = (router.edges.len() * 2).next_power_of_two();
    let mut slots = vec![NONE; size].into_boxed_slice();
    for (number, edge) in router.edges.iter().enumerate() {
        let mut slot = hash(edge.parent, router.text(edge)) as usize & (size - 1);
        while slots[slot] != NONE {
            slot = (slot + 1) & (size - 1);
        }
        slots[slot] = index(number);
    }
    slots
}

/// Bundles are at most 32 MiB, so nothing of theirs is counted beyond 32 bits.
fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}
