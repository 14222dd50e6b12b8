//! An HTTP API's `integrationSubtype`: one action of an AWS service.

use bundle::integration::AwsAction;
use bundle::mapping::Part;
use bundle::subtype::Subtype;

use super::draft::Draft;
use super::endpoint::timeout;
use super::http_api::{self, Side};
use super::{aws_service, http_api::value};
use crate::finding::Reason;
use crate::read::Node;

/// Reads an integration with a subtype. `None` has been reported.
pub(super) fn lower(node: &Node<'_>, draft: &mut Draft<'_>) -> Option<AwsAction> {
    let written = node.get("integrationSubtype")?;
    let name = written.text().unwrap_or_default();
    let Some((_, subtype)) = Subtype::ALL.into_iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = Subtype::ALL.iter().map(|(name, _)| *name).collect();
        draft.error(Reason::InvalidEnum, &written, format!("{} is none of {}", written.shown(), known.join(", ")));
        return None;
    };
    let timeout_ms = timeout(node, true, false, draft);
    let role = aws_service::role(node, draft);
    let mut action = AwsAction {
        subtype,
        parameters: Default::default(),
        region: None,
        role,
        timeout_ms,
        response_changes: http_api::responses(node, draft),
    };
    let written = node.get("requestParameters");
    for (key, parameter) in written.iter().flat_map(Node::entries) {
        if key == "Region" {
            match value(&parameter, Side::Request, draft).as_deref() {
                Some([Part::Text(region)]) if !region.is_empty() => action.region = Some(region.clone()),
                Some(_) => draft.error(Reason::InvalidMapping, &parameter, "`Region` is a literal"),
                None => {}
            }
        } else if subtype.parameters().iter().any(|known| known.name == key) {
            if let Some(value) = value(&parameter, Side::Request, draft) {
                action.parameters.insert(key.to_owned(), value);
            }
        } else {
            let known: Vec<_> = subtype.parameters().iter().map(|parameter| parameter.name).collect();
            let text = format!("`{key}` is no parameter of {name}: Region, {} are", known.join(", "));
            draft.error(Reason::InvalidMapping, &parameter, text);
        }
    }
    for missing in subtype.parameters().iter().filter(|known| known.required) {
        if !written.iter().flat_map(Node::entries).any(|(key, _)| key == missing.name) {
            let text = format!("{name} needs the parameter `{}`", missing.name);
            draft.error(Reason::InvalidMapping, written.as_ref().unwrap_or(node), text);
        }
    }
    Some(action)
}
