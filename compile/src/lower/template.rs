//! Mapping templates: media type to text.

use bundle::integration::Templates;
use serde_json::Value;

use super::draft::Draft;
use crate::finding::Reason;
use crate::read::Node;

/// Reads `requestTemplates` or `responseTemplates`.
pub(super) fn templates(owner: &Node<'_>, key: &str, draft: &mut Draft<'_>) -> Templates {
    let mut templates = Templates::new();
    let Some(map) = owner.get(key) else { return templates };
    if !map.value.is_object() {
        draft.error(Reason::Malformed, &map, format!("`{key}` maps media types to templates"));
    }
    for (media, node) in map.entries() {
        let text = match node.value {
            // The console writes null and "" for a body that passes through.
            Value::Null => "",
            Value::String(text) => text,
            _ => {
                draft.error(Reason::InvalidTemplate, &node, "a template is text");
                continue;
            }
        };
        check(media, text, &node, draft);
        templates.insert(media_type(media), text.to_owned());
    }
    templates
}

/// Media types are compared without parameters and in lower case; `$default` stands as it is.
pub(super) fn media_type(key: &str) -> String {
    if key.starts_with('$') {
        return key.to_owned();
    }
    key.split(';').next().unwrap_or(key).trim().to_ascii_lowercase()
}

/// Reports a template that does not parse, with the place inside it.
fn check(media: &str, text: &str, node: &Node<'_>, draft: &mut Draft<'_>) {
    let Err(error) = vtl::Template::parse(media, text) else { return };
    let message = match error.kind {
        vtl::Kind::Limit => error.message.clone(),
        vtl::Kind::Syntax | vtl::Kind::Evaluation | vtl::Kind::Payload => {
            format!("line {}, column {} of the template: {}", error.line, error.column, error.message)
        }
    };
    draft.error(Reason::InvalidTemplate, node, message);
    if !error.help.is_empty() {
        draft.help(error.help);
    }
}
