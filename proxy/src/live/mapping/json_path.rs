//! A JSONPath of a parameter mapping, compiled.

use vtl::jsonpath::Path;

/// A JSONPath of a parameter mapping.
#[derive(Debug)]
pub struct JsonPath {
    text: Box<str>,
    path: Path,
}

impl JsonPath {
    /// # Errors
    /// When it is none, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = Path::compile(text).map_err(|error| format!("the JSONPath `{text}` does not work: {error}"))?;
        Ok(Self { text: text.into(), path })
    }

    /// The compiled path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl PartialEq for JsonPath {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for JsonPath {}
