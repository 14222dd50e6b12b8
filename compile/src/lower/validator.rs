//! Request validators.

use std::collections::BTreeMap;

use super::api::is_true;
use super::draft::{Draft, note};
use crate::finding::{Findings, Reason, Severity};
use crate::read::{Node, Operation};
use crate::support::Feature;

const VALIDATOR: &str = "x-amazon-apigateway-request-validator";

/// The validators of a document: by name whether they check anything.
pub(super) struct Validators(BTreeMap<String, bool>);

impl Validators {
    pub(super) fn read(root: &Node<'_>, findings: &mut Findings) -> Self {
        let map = root.get("x-amazon-apigateway-request-validators");
        let checks = |node: &Node<'_>| {
            ["validateRequestBody", "validateRequestParameters"]
                .iter()
                .any(|key| node.value.get(key).is_some_and(is_true))
        };
        let validators =
            Self(map.iter().flat_map(Node::entries).map(|(name, node)| (name.to_owned(), checks(&node))).collect());
        if let Some(node) = root.get(VALIDATOR) {
            match validators.look_up(&node) {
                Ok(true) => note(findings, Feature::RequestValidation, true, &node.pointer),
                Ok(false) => {}
                Err(text) => findings.document(Severity::Error, Reason::UnknownValidator, &node.pointer, text),
            }
        }
        validators
    }

    /// Checks the validator an operation names itself; the document's own is reported once.
    pub(super) fn check(&self, operation: &Operation<'_>, draft: &mut Draft<'_>) {
        let Some(node) = operation.node.get(VALIDATOR) else { return };
        match self.look_up(&node) {
            Ok(true) => draft.wants(Feature::RequestValidation, &node),
            Ok(false) => {}
            Err(text) => draft.error(Reason::UnknownValidator, &node, text),
        }
    }

    fn look_up(&self, node: &Node<'_>) -> Result<bool, String> {
        let name = node.text().ok_or("a request validator is named by text")?;
        self.0.get(name).copied().ok_or_else(|| format!("nobody defines the request validator `{name}`"))
    }
}
