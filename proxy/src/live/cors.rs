//! Cross-origin requests that the gateway answers for, parsed.

use http::HeaderValue;

/// What pages of other origins may do.
#[derive(Debug)]
pub struct Cors {
    origins: Box<[Origin]>,
    pub credentials: bool,
    /// Ready for the header; `None` allows nothing beyond what needs no preflight.
    pub methods: Option<Words>,
    pub headers: Option<Words>,
    pub expose: Option<HeaderValue>,
    pub max_age: Option<HeaderValue>,
}

/// Values of a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Words {
    All,
    Some(HeaderValue),
}

#[derive(Debug)]
enum Origin {
    All,
    /// `https://*`: every host of a scheme, which ends in `://`.
    Scheme(Box<str>),
    Exactly(Box<str>),
}

/// How an answer names the origin.
#[derive(Debug, PartialEq, Eq)]
pub enum Allowed {
    /// `*`.
    All,
    /// By the name it gave.
    Named,
}

impl Cors {
    /// # Errors
    /// When a word cannot stand in a header, as a sentence.
    pub fn parse(cors: &bundle::cors::Cors) -> Result<Self, String> {
        let bundle::cors::Cors {
            allow_origins,
            allow_credentials,
            allow_methods,
            allow_headers,
            expose_headers,
            max_age,
        } = cors;
        let origins: Box<[Origin]> = allow_origins.iter().map(|origin| Origin::parse(origin)).collect();
        if *allow_credentials && origins.iter().any(|origin| matches!(origin, Origin::All)) {
            return Err("CORS with credentials needs origins by name".to_owned());
        }
        let expose = match words(expose_headers)? {
            Some(Words::All) => Some(HeaderValue::from_static("*")),
            Some(Words::Some(value)) => Some(value),
            None => None,
        };
        Ok(Self {
            origins,
            credentials: *allow_credentials,
            methods: words(allow_methods)?,
            headers: words(allow_headers)?,
            expose,
            max_age: max_age.map(HeaderValue::from),
        })
    }

    /// Whether and how an origin is allowed.
    pub fn allows(&self, origin: &[u8]) -> Option<Allowed> {
        let mut named = false;
        for allowed in &self.origins {
            match allowed {
                Origin::All => return Some(Allowed::All),
                Origin::Scheme(scheme) => {
                    named |= origin.len() > scheme.len()
                        && origin.get(..scheme.len()).is_some_and(|own| own.eq_ignore_ascii_case(scheme.as_bytes()));
                }
                Origin::Exactly(exact) => named |= origin.eq_ignore_ascii_case(exact.as_bytes()),
            }
        }
        named.then_some(Allowed::Named)
    }
}

impl Origin {
    fn parse(text: &str) -> Self {
        match text {
            "*" => Self::All,
            text => match text.strip_suffix('*').filter(|scheme| scheme.ends_with("://")) {
                Some(scheme) => Self::Scheme(scheme.into()),
                None => Self::Exactly(text.trim_end_matches('/').into()),
            },
        }
    }
}

fn words(words: &std::collections::BTreeSet<String>) -> Result<Option<Words>, String> {
    if words.is_empty() {
        return Ok(None);
    }
    if words.contains("*") {
        return Ok(Some(Words::All));
    }
    let list: Vec<&str> = words.iter().map(String::as_str).collect();
    let list = list.join(",");
    HeaderValue::from_str(&list)
        .map(|value| Some(Words::Some(value)))
        .map_err(|_| format!("`{list}` cannot stand in a CORS header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(origins: &[&str], allow_credentials: bool) -> Result<Cors, String> {
        let allow_origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        Cors::parse(&bundle::cors::Cors { allow_origins, allow_credentials, ..Default::default() })
    }

    #[test]
    fn origins() {
        let cors = parse(&["https://app.example.com", "http://*"], true).unwrap();
        for (origin, expected) in [
            ("https://app.example.com", Some(Allowed::Named)),
            ("HTTPS://App.example.com", Some(Allowed::Named)),
            ("https://app.example.com.evil.test", None),
            ("https://other.example.com", None),
            ("http://anything:8080", Some(Allowed::Named)),
            ("http://", None),
            ("null", None),
        ] {
            assert_eq!(cors.allows(origin.as_bytes()), expected, "{origin}");
        }
        assert_eq!(parse(&["*"], false).unwrap().allows(b"null"), Some(Allowed::All));
        assert_eq!(parse(&[], false).unwrap().allows(b"https://a"), None);
        assert!(parse(&["*", "https://a"], true).is_err(), "every page could act for its visitor");
    }
}
