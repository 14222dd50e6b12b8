//! What references of customised gateway responses stand for.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::context;
use crate::exchange::Exchange;
use crate::live::text::Reference;

/// `$context.error`.
#[derive(Clone, Copy)]
pub(super) struct ErrorContext<'a> {
    pub message: Option<&'a str>,
    /// The type's name in documents.
    pub response_type: &'static str,
    /// What a validator found.
    pub validation: Option<&'a str>,
}

/// The value of a reference; what is absent or unknown has none.
pub(super) fn value<'a>(
    exchange: &'a Exchange,
    error: &ErrorContext<'a>,
    reference: &'a Reference,
) -> Option<Cow<'a, str>> {
    match reference {
        Reference::Context(name) => match name.strip_prefix("error.") {
            Some(field) => error.field(field),
            None => context::lookup(exchange, name),
        },
        Reference::Header(name) => {
            let last = exchange.headers.get_all(name).iter().next_back()?;
            Some(String::from_utf8_lossy(last.as_bytes()))
        }
        Reference::Query(name) => last_query_value(exchange.query_pairs(), name),
        Reference::Path(name) => exchange.path_parameter(name).map(Cow::Borrowed),
    }
}

impl<'a> ErrorContext<'a> {
    fn field(&self, field: &str) -> Option<Cow<'a, str>> {
        match field {
            "message" => self.message.map(Cow::Borrowed),
            "messageString" => Some(quoted(self.message).into()),
            "responseType" => Some(self.response_type.into()),
            "validationErrorString" => self.validation.map(Cow::Borrowed),
            _ => None,
        }
    }
}

/// A text as JSON has it; `null` if there is none.
pub(super) fn quoted(text: Option<&str>) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text as it stands between the quotes of a JSON text.
pub(super) fn escaped(text: &str) -> String {
    let quoted = quoted(Some(text));
    quoted[1..quoted.len() - 1].to_owned()
}

/// The last value of a query parameter, decoded.
fn last_query_value<'a>(pairs: impl DoubleEndedIterator<Item = &'a str>, name: &str) -> Option<Cow<'a, str>> {
    pairs.rev().find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key) == name).then(|| decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned().into()
    } else {
        percent_decode_str(text).decode_utf8_lossy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_decoded_and_the_last_counts() {
        for (query, expected) in [
            ("q=1&q=2", Some("2")),
            ("%71=a+b%2B", Some("a b+")),
            ("q", Some("")),
            ("q=%", Some("%")),
            ("q=1;q=2;a", Some("2")),
            ("qq=1", None),
            ("", None),
        ] {
            let pairs = crate::exchange::pairs(query, bundle::ApiKind::Rest);
            assert_eq!(last_query_value(pairs, "q").as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn a_message_is_quoted_or_null() {
        assert_eq!(quoted(Some("a \"b\"")), r#""a \"b\"""#);
        assert_eq!(quoted(None), "null");
        assert_eq!(escaped("a \"b\""), r#"a \"b\""#);
    }
}
