//! Request validators: which operation has one, and what it checks.

use std::collections::{BTreeMap, BTreeSet};

use bundle::validation::{Parameter, Validation};

use super::api::is_true;
use super::draft::Draft;
use super::model::Models;
use super::template::media_type;
use crate::finding::{Findings, Reason, Severity};
use crate::read::{Node, Operation};

const VALIDATOR: &str = "x-amazon-apigateway-request-validator";
const BODY: &str = "validateRequestBody";
const PARAMETERS: &str = "validateRequestParameters";

/// What a validator checks.
#[derive(Clone, Copy, Debug, Default)]
struct Checks {
    body: bool,
    parameters: bool,
}

/// The validators of a document, by name.
pub(super) struct Validators(BTreeMap<String, Checks>);

impl Validators {
    pub(super) fn read(root: &Node<'_>, findings: &mut Findings) -> Self {
        let map = root.get("x-amazon-apigateway-request-validators");
        let checks = |node: &Node<'_>| {
            let set = |key| node.value.get(key).is_some_and(is_true);
            Checks { body: set(BODY), parameters: set(PARAMETERS) }
        };
        let validators =
            Self(map.iter().flat_map(Node::entries).map(|(name, node)| (name.to_owned(), checks(&node))).collect());
        if let Some(node) = root.get(VALIDATOR)
            && let Err(text) = validators.look_up(&node)
        {
            findings.document(Severity::Error, Reason::UnknownValidator, &node.pointer, text);
        }
        validators
    }

    /// What is checked before an operation is served; `None` if nothing is.
    pub(super) fn lower(
        &self,
        operation: &Operation<'_>,
        models: &mut Models,
        draft: &mut Draft<'_>,
    ) -> Option<Validation> {
        let node = operation.or_root(VALIDATOR)?;
        let checks = match self.look_up(&node) {
            Ok(checks) => checks,
            Err(text) => {
                draft.error(Reason::UnknownValidator, &node, text);
                return None;
            }
        };
        let validation = Validation {
            parameters: if checks.parameters { parameters(operation) } else { BTreeSet::new() },
            models: if checks.body { bodies(operation, models, draft) } else { BTreeMap::new() },
        };
        (validation != Validation::default()).then_some(validation)
    }

    fn look_up(&self, node: &Node<'_>) -> Result<Checks, String> {
        let name = node.text().ok_or("a request validator is named by text")?;
        self.0.get(name).copied().ok_or_else(|| format!("nobody defines the request validator `{name}`"))
    }
}

/// Parameters that must be there.
fn parameters(operation: &Operation<'_>) -> BTreeSet<Parameter> {
    let required = |node: &Node<'_>| node.value.get("required").is_some_and(is_true);
    let mut parameters = BTreeSet::new();
    for parameter in operation.parameters().iter().filter(|parameter| required(&parameter.node)) {
        let name = parameter.name.to_owned();
        parameters.extend(match parameter.place {
            "header" => Some(Parameter::Header(name)),
            "path" => Some(Parameter::Path(name)),
            "query" => Some(Parameter::Query(name)),
            _ => None,
        });
    }
    parameters
}

/// Models of bodies, by media type: of `requestBody`, and of Swagger's parameter in the body for all it consumes.
fn bodies(operation: &Operation<'_>, models: &mut Models, draft: &mut Draft<'_>) -> BTreeMap<String, String> {
    let mut bodies = BTreeMap::new();
    let content = operation.node.get("requestBody").and_then(Node::resolve).and_then(|body| body.get("content"));
    for (media, node) in content.iter().flat_map(Node::entries) {
        if let Some(schema) = node.resolve().and_then(|node| node.get("schema"))
            && let Some(name) = models.name(&schema, draft)
        {
            bodies.insert(media_type(media), name);
        }
    }
    let body = operation.parameters().into_iter().find(|parameter| parameter.place == "body");
    if let Some(schema) = body.and_then(|body| body.node.get("schema"))
        && let Some(name) = models.name(&schema, draft)
    {
        let consumes = operation.or_root("consumes").map(|list| list.items()).unwrap_or_default();
        let consumed: Vec<_> = consumes.iter().filter_map(Node::text).map(media_type).collect();
        let consumed = if consumed.is_empty() { vec!["application/json".to_owned()] } else { consumed };
        bodies.extend(consumed.into_iter().map(|media| (media, name.clone())));
    }
    bodies
}
