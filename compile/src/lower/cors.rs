//! `x-amazon-apigateway-cors`: cross-origin requests that the gateway answers for by itself.

use std::collections::BTreeSet;

use bundle::cors::Cors;

use super::api::is_true;
use crate::finding::{Findings, Reason, Severity};
use crate::read::Node;

/// Longest time a browser may remember, in seconds. Amazon's bound.
const MAX_AGE: i64 = 86_400;

/// Reads the configuration, in Amazon's two spellings of its fields.
pub(super) fn lower(root: &Node<'_>, findings: &mut Findings) -> Option<Cors> {
    let node = root.get("x-amazon-apigateway-cors")?;
    let mut fail = |at: &Node<'_>, reason, text: &str| findings.document(Severity::Error, reason, &at.pointer, text);
    if !node.value.is_object() {
        fail(&node, Reason::Malformed, "`x-amazon-apigateway-cors` is an object");
        return None;
    }
    let mut cors = Cors::default();
    for (key, field) in node.entries() {
        match key.to_ascii_lowercase().as_str() {
            "alloworigins" => cors.allow_origins = words(&field, &mut fail),
            "allowmethods" => cors.allow_methods = words(&field, &mut fail),
            "allowheaders" => cors.allow_headers = words(&field, &mut fail),
            "exposeheaders" => cors.expose_headers = words(&field, &mut fail),
            "allowcredentials" => cors.allow_credentials = is_true(field.value),
            "maxage" => match field.value.as_i64().filter(|age| (-1..=MAX_AGE).contains(age)) {
                Some(age) => cors.max_age = Some(age),
                None => fail(&field, Reason::InvalidSetting, "`maxAge` is -1 to 86400 seconds"),
            },
            _ => fail(&field, Reason::UnknownField, "`x-amazon-apigateway-cors` has no such field"),
        }
    }
    if cors.allow_credentials && cors.allow_origins.contains("*") {
        let text = "`allowCredentials` needs origins by name: with `*` every page could act for its visitor";
        fail(&node, Reason::InvalidSetting, text);
        return None;
    }
    Some(cors)
}

fn words(list: &Node<'_>, fail: &mut impl FnMut(&Node<'_>, Reason, &str)) -> BTreeSet<String> {
    let items = if list.value.is_string() { vec![list.clone()] } else { list.items() };
    let mut words = BTreeSet::new();
    for item in &items {
        match item.text().map(str::trim).filter(|text| is_word(text)) {
            Some(text) => drop(words.insert(text.to_owned())),
            None => fail(item, Reason::InvalidSetting, "an origin, a verb or a header's name, or `*`"),
        }
    }
    words
}

/// Can stand in a list within a header.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}
