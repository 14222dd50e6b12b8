//! Amazon's routing: literal beats parameter beats greedy per segment, method-aware, with backtracking.
//!
//! A look-up walks one tree of segments depth first, the better kind of segment first, so the first hit is the best.
//! Every node has one way to it, so no node is entered twice: the work is bounded by the tree, whatever the path, and
//! without backtracking it is one probe per segment, however many routes there are.

mod build;

use std::ops::Range;

use http::Method;

pub use build::{Builder, Taken};

/// Path and verb to a route's index.
#[derive(Debug, Default)]
pub struct Router {
    nodes: Box<[Node]>,
    edges: Box<[Edge]>,
    /// Open addressing over `edges` by parent and text, at most half full; `NONE` is free. What lies here comes from
    /// the configuration, so nobody outside can lengthen a probe.
    slots: Box<[u32]>,
    /// Texts of all edges, one after the other.
    texts: Box<[u8]>,
    /// The longest text: a longer segment need not be hashed.
    longest: usize,
    methods: Box<[Entry]>,
    /// Verbs beside Amazon's seven that some route names.
    verbs: Box<[Box<str>]>,
    /// Route of an HTTP API's `$default`.
    fallback: Option<u32>,
    /// An HTTP API's rule: a greedy route only where no other matches the whole path.
    greedy_last: bool,
}

/// One resource, or a step on the way to some.
#[derive(Debug)]
struct Node {
    /// Child of a parameter.
    parameter: u32,
    /// Methods of the resource that ends here.
    here: Span,
    /// Methods of the greedy resource below.
    greedy: Span,
}

/// A literal segment from a node to a child.
#[derive(Debug)]
struct Edge {
    parent: u32,
    child: u32,
    start: u32,
    length: u32,
}

/// A slice of `methods`.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    length: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    verb: Verb,
    route: u32,
}

/// A verb as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    /// One of [`SEVEN`].
    Known(u8),
    /// One of the router's own list.
    Other(u16),
    /// `ANY` of an integration of Amazon's.
    Seven,
    /// `ANY` of a `backend`.
    Every,
}

/// The verbs that `ANY` of a REST API stands for.
pub const SEVEN: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

const NONE: u32 = u32::MAX;

/// The verbs a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verbs<'a> {
    One(&'a str),
    /// `ANY` of an integration of Amazon's.
    Seven,
    /// `ANY` of a `backend`.
    Every,
}

impl Router {
    /// The best route for a path below the stage, and the values of its parameters: ranges of `path`, put behind
    /// `base`.
    pub fn find(&self, method: &Method, path: &str, base: usize, parameters: &mut Vec<Range<usize>>) -> Option<usize> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let verb = self.verb(method.as_str());
        let search = |full, greedy| Search { router: self, path: path.as_bytes(), base, verb, full, greedy };
        parameters.clear();
        let found = if self.nodes.is_empty() {
            None
        } else if self.greedy_last {
            search(true, false).descend(0, 1, parameters).or_else(|| search(false, true).descend(0, 1, parameters))
        } else {
            search(true, true).descend(0, 1, parameters)
        };
        found.or(self.fallback).map(|route| route as usize)
    }

    fn verb(&self, method: &str) -> Option<Verb> {
        if let Some(index) = SEVEN.iter().position(|known| *known == method) {
            return Some(Verb::Known(index as u8));
        }
        self.verbs.iter().position(|verb| **verb == *method).map(|index| Verb::Other(index as u16))
    }

    /// The route among a resource's methods: a specific verb beats `ANY`.
    fn pick(&self, span: Span, verb: Option<Verb>) -> Option<u32> {
        let entries = &self.methods[span.start as usize..][..span.length as usize];
        let any = |entry: &&Entry| match entry.verb {
            Verb::Every => true,
            Verb::Seven => matches!(verb, Some(Verb::Known(_))),
            Verb::Known(_) | Verb::Other(_) => false,
        };
        let specific = verb.and_then(|verb| entries.iter().find(|entry| entry.verb == verb));
        specific.or_else(|| entries.iter().find(any)).map(|entry| entry.route)
    }

    fn literal(&self, parent: u32, segment: &[u8]) -> Option<u32> {
        if segment.len() > self.longest || self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash(parent, segment) as usize & mask;
        loop {
            let edge = self.edges.get(self.slots[slot] as usize)?;
            if edge.parent == parent && self.text(edge) == segment {
                return Some(edge.child);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn text(&self, edge: &Edge) -> &[u8] {
        &self.texts[edge.start as usize..][..edge.length as usize]
    }
}

/// FNV-1a, seeded with the parent.
fn hash(parent: u32, segment: &[u8]) -> u64 {
    let seed = 0xcbf2_9ce4_8422_2325 ^ u64::from(parent).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = segment.iter().fold(seed, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^ (hash >> 32)
}

/// One look-up.
struct Search<'a> {
    router: &'a Router,
    /// Without its trailing slash.
    path: &'a [u8],
    base: usize,
    verb: Option<Verb>,
    /// Whether a route may match the whole path, segment by segment.
    full: bool,
    /// Whether a greedy one may.
    greedy: bool,
}

impl Search<'_> {
    /// The best route at or below a node for the segments from `start` on; past the end, none are left. As deep as
    /// the deepest resource, which `Pattern` bounds.
    fn descend(&self, node: u32, start: usize, parameters: &mut Vec<Range<usize>>) -> Option<u32> {
        let Node { parameter, here, greedy } = &self.router.nodes[node as usize];
        let Some(rest) = self.path.get(start..) else {
            return self.full.then(|| self.router.pick(*here, self.verb)).flatten();
        };
        let end = memchr::memchr(b'/', rest).map_or(self.path.len(), |slash| start + slash);
        if let Some(child) = self.router.literal(node, &self.path[start..end])
            && let Some(route) = self.descend(child, end + 1, parameters)
        {
            return Some(route);
        }
        if *parameter != NONE && start < end {
            parameters.push(self.base + start..self.base + end);
            if let Some(route) = self.descend(*parameter, end + 1, parameters) {
                return Some(route);
            }
            parameters.pop();
        }
        if self.greedy
            && start < self.path.len()
            && let Some(route) = self.router.pick(*greedy, self.verb)
        {
            parameters.push(self.base + start..self.base + self.path.len());
            return Some(route);
        }
        None
    }
}

#[cfg(test)]
mod tests;
