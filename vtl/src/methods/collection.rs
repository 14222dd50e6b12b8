//! `java.util.List` and `java.util.Map`.

use std::rc::Rc;

use super::{Call, Method};
use crate::error::{Eval, Fault};
use crate::limits::Meter;
use crate::value::{Access, Entry, Form, List, Map, Value, equals_metered};

/// What one more item of a container costs of the scratch bound.
const ITEM: usize = 64;

impl Call<'_> {
    pub(super) fn on_list(&mut self, list: &Rc<List>) -> Eval<Value> {
        Ok(match self.method {
            Method::Size => Value::from(list.len() as i64),
            Method::IsEmpty => Value::Bool(list.is_empty()),
            Method::Get => list.get(self.index(0, list.len())?).unwrap_or_default(),
            Method::Set => {
                let at = self.index(0, list.len())?;
                set_item(list, at, self.argument(1).clone(), self.meter)?
            }
            Method::Add if self.arguments.len() > 1 => {
                let at = self.index(0, list.len() + 1)?;
                let item = self.argument(1).clone();
                grow(&Value::List(Rc::clone(list)), &item, self.meter)?;
                self.meter.step(list.len() as u64 / 64)?;
                list.change(|items| items.insert(at.min(items.len()), item));
                Value::Null
            }
            Method::Add => {
                let item = self.argument(0).clone();
                grow(&Value::List(Rc::clone(list)), &item, self.meter)?;
                list.change(|items| items.push(item));
                Value::Bool(true)
            }
            Method::AddAll => {
                let more = items_of(self.argument(0));
                for item in &more {
                    grow(&Value::List(Rc::clone(list)), item, self.meter)?;
                }
                let added = !more.is_empty();
                list.change(|items| items.extend(more));
                Value::Bool(added)
            }
            Method::Contains => Value::Bool(
                search(&list.items(), self.arguments.first().unwrap_or(&Value::Null), false, self.meter)?.is_some(),
            ),
            Method::ContainsAll => {
                let wanted = items_of(self.argument(0));
                let mut all = true;
                for wanted in &wanted {
                    all = all && search(&list.items(), wanted, false, self.meter)?.is_some();
                }
                Value::Bool(all)
            }
            Method::IndexOf => {
                position(search(&list.items(), self.arguments.first().unwrap_or(&Value::Null), false, self.meter)?)
            }
            Method::LastIndexOf => {
                position(search(&list.items(), self.arguments.first().unwrap_or(&Value::Null), true, self.meter)?)
            }
            Method::Remove => match self.argument(0) {
                Value::Int(_) => {
                    let at = self.index(0, list.len())?;
                    self.meter.step(list.len() as u64 / 64)?;
                    list.change(|items| if at < items.len() { items.remove(at) } else { Value::Null })
                }
                _ => {
                    let found =
                        search(&list.items(), self.arguments.first().unwrap_or(&Value::Null), false, self.meter)?;
                    let removed = found.map(|at| list.change(|items| items.remove(at)));
                    Value::Bool(removed.is_some())
                }
            },
            Method::RemoveAll => self.keep(list, false)?,
            Method::RetainAll => self.keep(list, true)?,
            Method::Iterator => {
                self.meter.scratch(list.len() * ITEM)?;
                Value::List(Rc::new(List::new(Form::Iterator, list.items().clone())))
            }
            Method::HasNext if list.form() == Form::Iterator => Value::Bool(!list.is_empty()),
            Method::Next if list.form() == Form::Iterator => {
                if list.is_empty() {
                    return Err(self.fails("nothing is left", "ask hasNext() first"));
                }
                self.meter.step(list.len() as u64 / 64)?;
                list.change(|items| items.remove(0))
            }
            Method::ToJsonString if list.form() == Form::Json => {
                Value::Str(self.printed(&Value::List(Rc::clone(list)))?)
            }
            Method::Clear => {
                let old = list.change(std::mem::take);
                drop(old);
                Value::Null
            }
            Method::SubList => {
                let (from, to) = (self.integer(0)?, self.integer(1)?);
                let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
                let items = range.and_then(|(from, to)| Some(list.items().get(from..to)?.to_vec()));
                let Some(items) = items else {
                    return Err(
                        self.fails(format!("from {from}, to {to}, size {}", list.len()), "compare with size() first")
                    );
                };
                self.meter.scratch(items.len() * ITEM)?;
                Value::list(items)
            }
            Method::ToArray => {
                self.meter.scratch(list.len() * ITEM)?;
                Value::list(list.items().clone())
            }
            Method::Equals => Value::Bool(equals_metered(
                &Value::List(Rc::clone(list)),
                self.arguments.first().unwrap_or(&Value::Null),
                self.meter,
            )?),
            _ => Value::Null,
        })
    }

    pub(super) fn on_map(&mut self, map: &Rc<Map>) -> Eval<Value> {
        Ok(match self.method {
            Method::Get => map.get_key(self.argument(0)).unwrap_or_default(),
            Method::GetOrDefault => map.get_key(self.argument(0)).unwrap_or_else(|| self.argument(1).clone()),
            Method::Put => put_entry(map, self.argument(0).clone(), self.argument(1).clone(), self.meter)?,
            Method::PutIfAbsent => match map.get_key(self.argument(0)) {
                Some(present) => present,
                None => put_entry(map, self.argument(0).clone(), self.argument(1).clone(), self.meter)?,
            },
            Method::PutAll => {
                if let Value::Map(other) = self.argument(0) {
                    let pairs = other.pairs().to_vec();
                    for (key, value) in pairs {
                        put_entry(map, key, value, self.meter)?;
                    }
                }
                Value::Null
            }
            Method::Replace => match map.get_key(self.argument(0)) {
                Some(_) => put_entry(map, self.argument(0).clone(), self.argument(1).clone(), self.meter)?,
                None => Value::Null,
            },
            Method::Remove if map.access() == Access::Sealed => Value::Null,
            Method::Remove => {
                self.meter.step(map.len() as u64)?;
                map.remove(self.argument(0)).unwrap_or_default()
            }
            Method::Clear => {
                if map.access() != Access::Sealed {
                    map.clear();
                }
                Value::Null
            }
            Method::ContainsKey => Value::Bool(map.get_key(self.argument(0)).is_some()),
            Method::ContainsValue => {
                let values: Vec<Value> = map.pairs().iter().map(|(_, value)| value.clone()).collect();
                Value::Bool(
                    search(&values, self.arguments.first().unwrap_or(&Value::Null), false, self.meter)?.is_some(),
                )
            }
            Method::Size => Value::from(map.len() as i64),
            Method::IsEmpty => Value::Bool(map.is_empty()),
            Method::KeySet => {
                self.view(map)?;
                Value::list(map.pairs().iter().map(|(key, _)| key.clone()).collect())
            }
            Method::Values => {
                self.view(map)?;
                Value::list(map.pairs().iter().map(|(_, value)| value.clone()).collect())
            }
            Method::EntrySet => {
                self.view(map)?;
                let entry = |(key, value): &(Value, Value)| {
                    Value::Entry(Rc::new(Entry { key: key.clone(), value: value.clone() }))
                };
                Value::list(map.pairs().iter().map(entry).collect())
            }
            Method::Equals => Value::Bool(equals_metered(
                &Value::Map(Rc::clone(map)),
                self.arguments.first().unwrap_or(&Value::Null),
                self.meter,
            )?),
            _ => Value::Null,
        })
    }

    /// `removeAll` and `retainAll`: keeps the items that are, or are not, among those of the argument.
    fn keep(&mut self, list: &List, among: bool) -> Eval<Value> {
        let others = items_of(self.argument(0));
        let items = list.items().clone();
        self.meter.scratch(items.len() * ITEM)?;
        let mut kept = Vec::new();
        for item in &items {
            if search(&others, item, false, self.meter)?.is_some() == among {
                kept.push(item.clone());
            }
        }
        let changed = kept.len() != items.len();
        list.change(|items| *items = kept);
        Ok(Value::Bool(changed))
    }

    fn view(&mut self, map: &Map) -> Eval<()> {
        self.meter.step(map.len() as u64 / 4)?;
        self.meter.scratch(map.len() * ITEM)
    }

    /// An argument as an index below `end`.
    fn index(&self, nth: usize, end: usize) -> Eval<usize> {
        let index = self.integer(nth)?;
        match usize::try_from(index) {
            Ok(at) if at < end => Ok(at),
            _ => Err(out_of_bounds(index, end)),
        }
    }
}

/// The place of an item equal to `wanted`.
fn search(items: &[Value], wanted: &Value, from_end: bool, meter: &mut Meter) -> Eval<Option<usize>> {
    meter.step(items.len() as u64 / 4)?;
    for nth in 0..items.len() {
        let at = if from_end { items.len() - 1 - nth } else { nth };
        if equals_metered(&items[at], wanted, meter)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn position(found: Option<usize>) -> Value {
    found.map_or(Value::Int(-1), |at| Value::from(at as i64))
}

fn items_of(value: &Value) -> Vec<Value> {
    match value {
        Value::List(list) => list.items().clone(),
        _ => Vec::new(),
    }
}

pub(crate) fn out_of_bounds(index: i64, size: usize) -> Box<Fault> {
    Fault::failed(format!("index {index} is out of bounds for size {size}"), "compare with size() first")
}

/// `list.set(at, item)`; the former item comes back.
pub(crate) fn set_item(list: &Rc<List>, at: usize, item: Value, meter: &mut Meter) -> Eval<Value> {
    grow(&Value::List(Rc::clone(list)), &item, meter)?;
    Ok(list.change(|items| match items.get_mut(at) {
        Some(place) => std::mem::replace(place, item),
        None => Value::Null,
    }))
}

/// `map.put(key, value)`; the former value comes back. A sealed map stays as it is.
pub(crate) fn put_entry(map: &Rc<Map>, key: Value, value: Value, meter: &mut Meter) -> Eval<Value> {
    if map.access() == Access::Sealed {
        return Ok(Value::Null);
    }
    if matches!(key, Value::List(_) | Value::Map(_) | Value::Entry(_)) {
        return Err(Fault::failed("a list or map cannot be the key of a map", "use a string as key"));
    }
    grow(&Value::Map(Rc::clone(map)), &value, meter)?;
    Ok(map.put(key, value).unwrap_or_default())
}

/// Pays for an item about to go into a container, and refuses to make a circle: it could be neither printed
/// nor freed.
fn grow(container: &Value, item: &Value, meter: &mut Meter) -> Eval<()> {
    meter.scratch(ITEM)?;
    if reaches(item, container, meter, 500)? {
        return Err(Fault::failed("a list or map cannot be put into itself", "put a copy of it"));
    }
    Ok(())
}

fn reaches(from: &Value, wanted: &Value, meter: &mut Meter, depth: u32) -> Eval<bool> {
    let same = match (from, wanted) {
        (Value::List(a), Value::List(b)) => Rc::ptr_eq(a, b),
        (Value::Map(a), Value::Map(b)) => Rc::ptr_eq(a, b),
        _ => false,
    };
    if same {
        return Ok(true);
    }
    if depth == 0 {
        return Err(Fault::limit("lists and maps are nested too deep", "nest them less"));
    }
    match from {
        Value::List(list) => {
            meter.step(1 + list.len() as u64 / 16)?;
            list.items().iter().try_fold(false, |found, item| {
                Ok(found || is_container(item) && reaches(item, wanted, meter, depth - 1)?)
            })
        }
        Value::Map(map) => {
            meter.step(1 + map.len() as u64 / 16)?;
            map.pairs().iter().try_fold(false, |found, (_, value)| {
                Ok(found || is_container(value) && reaches(value, wanted, meter, depth - 1)?)
            })
        }
        Value::Entry(entry) => reaches(&entry.value, wanted, meter, depth - 1),
        _ => Ok(false),
    }
}

fn is_container(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::Map(_) | Value::Entry(_))
}
