//! Mapping templates: media type to text.

use bundle::integration::Templates;
use serde_json::Value;

use super::draft::Draft;
use crate::finding::Reason;
use crate::read::Node;
use crate::support::Feature;

/// Amazon's bound of one template.
const MAX_BYTES: usize = 300 << 10;

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
        if text.len() > MAX_BYTES {
            let text = format!("the template has {} bytes, more than {MAX_BYTES}", text.len());
            draft.error(Reason::InvalidTemplate, &node, text);
        }
        if !is_plain(text) {
            draft.wants(Feature::MappingTemplate, &node);
        }
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

/// Whether the template language would leave the text as it is. It errs on the safe side: an escaped reference, an
/// undefined macro and a colour like `#fff` count as language.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.iter().enumerate().any(|(at, byte)| {
        let next = |ahead: usize| bytes.get(at + ahead).copied().unwrap_or(b' ');
        match byte {
            b'$' => {
                let name = if next(1) == b'!' { next(2) } else { next(1) };
                name.is_ascii_alphabetic() || matches!(name, b'_' | b'{')
            }
            b'#' => next(1).is_ascii_alphabetic() || matches!(next(1), b'{' | b'@' | b'#' | b'*' | b'[' | b'_'),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_language_leaves_alone_is_plain() {
        for plain in ["", "{\"statusCode\": 200}", "costs $5", "a # b", "#1", "100%", "$", "$ {x}"] {
            assert!(is_plain(plain), "{plain}");
        }
        for language in [
            "$x",
            "${x}",
            "$!x",
            "$!{x}",
            "a$input.body",
            "#set($a=1)",
            "## no",
            "#* no *#",
            "#[[x]]#",
            "\\$x",
            "#fff",
            "#{if}",
        ] {
            assert!(!is_plain(language), "{language}");
        }
    }
}
