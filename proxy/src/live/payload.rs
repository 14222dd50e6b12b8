//! Which payloads are bytes and not text.

/// `binaryMediaTypes` of an API.
#[derive(Debug, Default)]
pub struct BinaryTypes(Box<[Type]>);

#[derive(Debug)]
enum Type {
    /// `*/*`.
    All,
    /// `image/*`, without the `*`.
    Family(Box<str>),
    Exactly(Box<str>),
}

impl BinaryTypes {
    pub fn parse<'t>(types: impl IntoIterator<Item = &'t String>) -> Self {
        Self(types.into_iter().map(|text| Type::parse(text)).collect())
    }

    /// True if the API has none, so that every payload is text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether payloads of a media type (without parameters) are bytes; `None` is one that nobody named.
    pub fn hold(&self, media_type: Option<&str>) -> bool {
        self.0.iter().any(|known| match (known, media_type) {
            (Type::All, _) => true,
            (Type::Family(_) | Type::Exactly(_), None) => false,
            (Type::Family(family), Some(media_type)) => {
                media_type.get(..family.len()).is_some_and(|own| own.eq_ignore_ascii_case(family))
            }
            (Type::Exactly(exact), Some(media_type)) => media_type.eq_ignore_ascii_case(exact),
        })
    }
}

impl Type {
    fn parse(text: &str) -> Self {
        match text.strip_suffix('*').filter(|family| family.ends_with('/')) {
            Some("*/") => Self::All,
            Some(family) => Self::Family(family.into()),
            None => Self::Exactly(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_match_exactly_by_family_or_at_all() {
        let parse = |types: &[&str]| BinaryTypes::parse(&types.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        for (types, media_type, expected) in [
            (&["image/png"][..], Some("image/png"), true),
            (&["image/png"], Some("Image/PNG"), true),
            (&["image/png"], Some("image/pngx"), false),
            (&["image/png"], Some("*/*"), false),
            (&["image/*"], Some("image/webp"), true),
            (&["image/*"], Some("imagex/webp"), false),
            (&["image/*"], None, false),
            (&["*/*"], Some("text/plain"), true),
            (&["*/*"], None, true),
            (&[], Some("image/png"), false),
        ] {
            assert_eq!(parse(types).hold(media_type), expected, "{types:?} {media_type:?}");
        }
    }
}
