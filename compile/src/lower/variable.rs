//! Stage variables.

use std::collections::BTreeMap;

use crate::finding::{Findings, Reason, Severity};
use crate::read::escape;

const MAX_COUNT: usize = 100;
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 512;

/// Letters, digits and `_`, at most 64.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_value(value: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#&=,".contains(&byte);
    (1..=MAX_VALUE).contains(&value.len()) && value.bytes().all(legal)
}

/// Checks variables of a stage or canary; those that Amazon would refuse are left out.
pub(super) fn lower(written: &BTreeMap<String, String>, at: &str, findings: &mut Findings) -> BTreeMap<String, String> {
    if written.len() > MAX_COUNT {
        let text = format!("{} variables are more than {MAX_COUNT}", written.len());
        findings.object(Severity::Error, Reason::InvalidVariable, at, text);
    }
    let mut variables = BTreeMap::new();
    for (name, value) in written {
        let pointer = || format!("{at}/{}", escape(name));
        if !is_name(name) {
            let text = format!("`{name}` is no name of a variable: 1 to {MAX_NAME} letters, digits and `_`");
            findings.object(Severity::Error, Reason::InvalidVariable, pointer(), text);
        } else if !is_value(value) {
            let text = format!("the value of `{name}` is 1 to {MAX_VALUE} letters, digits and `-._~:/?#&=,`");
            findings.object(Severity::Error, Reason::InvalidVariable, pointer(), text);
        } else {
            variables.insert(name.clone(), value.clone());
        }
    }
    variables
}
