//! Lists and maps: shared, changeable, and safe to drop however deep.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::{Value, java_equals};
use crate::text::Text;

/// How a list prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As `java.util.ArrayList`: `[a, b]`. List literals, key sets, splits.
    Java,
    /// As json-smart's `JSONArray`: `["a","b"]`. Lists out of JSON; recorded from the real service.
    Json,
    /// What a `java.util.Iterator` has left. Prints as a list would.
    Iterator,
}

/// A list. Iteration goes by index, so that a template may change it meanwhile.
#[derive(Debug)]
pub struct List {
    form: Form,
    items: RefCell<Vec<Value>>,
}

impl List {
    /// A list of these items.
    pub fn new(form: Form, items: Vec<Value>) -> List {
        List { form, items: RefCell::new(items) }
    }

    /// How it prints.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.items.borrow().len()
    }

    /// No items?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at an index from 0.
    pub fn get(&self, index: usize) -> Option<Value> {
        self.items.borrow().get(index).cloned()
    }

    /// The items; do not change the list while holding this.
    pub(crate) fn items(&self) -> Ref<'_, Vec<Value>> {
        self.items.borrow()
    }

    /// Changes the items. The closure must not look at this list by another way.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Vec<Value>) -> R) -> R {
        change(&mut self.items.borrow_mut())
    }
}

/// What templates may do with a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read, change, print.
    Open,
    /// Read and change, but it prints as empty text: the override maps of `$context`.
    Opaque,
    /// Read only, prints as empty text: the rest of `$context`.
    Sealed,
}

/// A map in insertion order. Keys are values, as in Java; nearly always strings.
#[derive(Debug)]
pub struct Map {
    access: Access,
    /// String keys are found in any case: header names.
    any_case: bool,
    entries: RefCell<Entries>,
}

/// Up to this many entries a search beats a hash.
const INDEX_FROM: usize = 12;

/// Where in the order a key is.
#[derive(Debug)]
struct Index(HashMap<Text, usize>);

impl Index {
    /// Apart, so that the search among few needs no room for hashing.
    #[inline(never)]
    fn find(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }
}

#[derive(Debug, Default)]
struct Entries {
    pairs: Vec<(Value, Value)>,
    /// Places of string keys; only for maps of more than `INDEX_FROM` entries. The hash is keyed, since
    /// names come from clients.
    index: Option<Box<Index>>,
}

impl Map {
    /// An empty map.
    pub fn new(access: Access) -> Map {
        Map { access, any_case: false, entries: RefCell::default() }
    }

    /// An open map of the members from a place on, which it takes off the list. Of several of a name, the
    /// last value stands in the first place.
    pub(crate) fn of_members(members: &mut Vec<(Value, Value)>, from: usize) -> Map {
        let own = members.split_off(from);
        let mut entries = Entries { pairs: own, index: None };
        if entries.pairs.len() > INDEX_FROM || has_twins(&entries.pairs) {
            let pairs = std::mem::take(&mut entries.pairs);
            pairs.into_iter().for_each(|(key, value)| drop(entries.put(key, value)));
        }
        Map { access: Access::Open, any_case: false, entries: RefCell::new(entries) }
    }

    /// A map of these entries; a later entry of the same name wins.
    pub fn collect(access: Access, entries: impl IntoIterator<Item = (Text, Value)>) -> Map {
        let map = Map::new(access);
        {
            let mut own = map.entries.borrow_mut();
            for (name, value) in entries {
                own.put(Value::Str(name), value);
            }
        }
        map
    }

    /// An open map whose string keys are found in any case. A later entry of the same spelling wins.
    pub fn any_case(entries: impl IntoIterator<Item = (Text, Value)>) -> Map {
        let mut map = Map::collect(Access::Open, entries);
        map.any_case = true;
        map
    }

    /// What templates may do with it.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.borrow().pairs.len()
    }

    /// No entries?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under a name.
    pub fn get(&self, name: &str) -> Option<Value> {
        let entries = self.entries.borrow();
        self.place(&entries, name).map(|at| entries.pairs[at].1.clone())
    }

    /// Looks at the value under a name where it is; none if there is none. The closure must not change this
    /// map.
    pub(crate) fn with<R>(&self, name: &str, look: impl FnOnce(&Value) -> R) -> Option<R> {
        let entries = self.entries.borrow();
        self.place(&entries, name).map(|at| look(&entries.pairs[at].1))
    }

    /// The value under a key of any kind.
    pub(crate) fn get_key(&self, key: &Value) -> Option<Value> {
        match key {
            Value::Str(name) => self.get(name),
            other => {
                let entries = self.entries.borrow();
                entries.find(other).map(|at| entries.pairs[at].1.clone())
            }
        }
    }

    #[inline]
    fn place(&self, entries: &Entries, name: &str) -> Option<usize> {
        let exact = entries.find_str(name);
        if exact.is_some() || !self.any_case {
            return exact;
        }
        let same = |(key, _): &(Value, Value)| as_text(key).is_some_and(|key| key.eq_ignore_ascii_case(name));
        entries.pairs.iter().position(same)
    }

    /// The entry at a place in insertion order.
    pub fn entry(&self, index: usize) -> Option<(Value, Value)> {
        self.entries.borrow().pairs.get(index).cloned()
    }

    /// All entries in order; do not change the map while holding this.
    pub(crate) fn pairs(&self) -> Ref<'_, [(Value, Value)]> {
        Ref::map(self.entries.borrow(), |entries| entries.pairs.as_slice())
    }

    /// Sets the value under a name and returns the former one. This is for the map's owner: it does not
    /// ask about [`Access`].
    pub fn put(&self, key: Value, value: Value) -> Option<Value> {
        self.entries.borrow_mut().put(key, value)
    }

    pub(crate) fn remove(&self, key: &Value) -> Option<Value> {
        let mut entries = self.entries.borrow_mut();
        let at = entries.find(key)?;
        let (_, value) = entries.pairs.remove(at);
        entries.reindex();
        Some(value)
    }

    pub(crate) fn clear(&self) {
        let old = std::mem::take(&mut *self.entries.borrow_mut());
        drop(old);
    }
}

/// An entry of a map, as `entrySet()` hands it out.
#[derive(Debug)]
pub struct Entry {
    /// The key.
    pub key: Value,
    /// The value at the time.
    pub value: Value,
}

impl Entries {
    #[inline(always)]
    fn find_str(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.find(name),
            None => self.pairs.iter().position(|(key, _)| as_text(key).is_some_and(|key| key.is(name))),
        }
    }

    fn find(&self, key: &Value) -> Option<usize> {
        match key {
            Value::Str(name) => self.find_str(name),
            other => self.pairs.iter().position(|(key, _)| java_equals(key, other)),
        }
    }

    fn put(&mut self, key: Value, value: Value) -> Option<Value> {
        if let Some(at) = self.find(&key) {
            return Some(std::mem::replace(&mut self.pairs[at].1, value));
        }
        if let (Some(index), Value::Str(name)) = (&mut self.index, &key) {
            index.0.insert(name.clone(), self.pairs.len());
        }
        self.pairs.push((key, value));
        if self.index.is_none() && self.pairs.len() > INDEX_FROM {
            self.reindex();
        }
        None
    }

    fn reindex(&mut self) {
        self.index = (self.pairs.len() > INDEX_FROM).then(|| {
            let names = self.pairs.iter().enumerate();
            Box::new(Index(names.filter_map(|(at, (key, _))| Some((Text::clone(as_text(key)?), at))).collect()))
        });
    }
}

/// Do two of a few string keys say the same? A key is compared with those before it only where its length and
/// ends have been seen among them, which is hardly ever.
fn has_twins(pairs: &[(Value, Value)]) -> bool {
    let mut seen = 0_u64;
    pairs.iter().enumerate().any(|(nth, (key, _))| {
        as_text(key).is_some_and(|key| {
            let mark = 1 << (key.mark() % 64);
            let known = seen & mark != 0;
            seen |= mark;
            known && pairs[..nth].iter().any(|(other, _)| as_text(other) == Some(key))
        })
    })
}

fn as_text(value: &Value) -> Option<&Text> {
    match value {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

// Templates can chain containers as deep as they have steps; the derived drop would recurse as deep and
// overflow the stack. So beyond a depth that is ordinary, children are taken out and dropped one by one.
impl Drop for List {
    fn drop(&mut self) {
        let items = std::mem::take(self.items.get_mut());
        if items.iter().any(holds_values) {
            drop_children(items, |items| items);
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        let pairs = std::mem::take(&mut self.entries.get_mut().pairs);
        // Keys are never containers.
        if pairs.iter().any(|(_, value)| holds_values(value)) {
            drop_children(pairs, |pairs| pairs.into_iter().map(|(_, value)| value).collect());
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if holds_values(&self.value) {
            drop_children(std::mem::take(&mut self.value), |value| vec![value]);
        }
    }
}

thread_local! {
    static DROP_DEPTH: Cell<u32> = const { Cell::new(0) };
}

fn drop_children<T>(children: T, flatten: fn(T) -> Vec<Value>) {
    let depth = DROP_DEPTH.get();
    if depth > 100 {
        return drop_flat(flatten(children));
    }
    DROP_DEPTH.set(depth + 1);
    drop(children);
    DROP_DEPTH.set(depth);
}

fn holds_values(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::Map(_) | Value::Entry(_))
}

fn drop_flat(mut pending: Vec<Value>) {
    while let Some(value) = pending.pop() {
        match value {
            Value::List(list) => {
                if let Some(mut list) = Rc::into_inner(list) {
                    pending.extend(std::mem::take(list.items.get_mut()).into_iter().filter(holds_values));
                }
            }
            Value::Map(map) => {
                if let Some(mut map) = Rc::into_inner(map) {
                    let pairs = std::mem::take(&mut map.entries.get_mut().pairs);
                    pending.extend(pairs.into_iter().map(|(_, value)| value).filter(holds_values));
                }
            }
            Value::Entry(entry) => {
                if let Some(mut entry) = Rc::into_inner(entry) {
                    pending.push(std::mem::take(&mut entry.value));
                }
            }
            _ => {}
        }
    }
}
