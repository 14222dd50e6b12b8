//! MOCK integrations.

use bundle::integration::RequestMapping;

use super::draft::Draft;
use super::integration;
use crate::finding::Reason;
use crate::read::Node;

/// Reads the request side. Its templates say which status is meant; parameters have no backend to go to and are kept
/// because illegal names among them fail at run time.
pub(super) fn request(node: &Node<'_>, http_api: bool, draft: &mut Draft<'_>) -> RequestMapping {
    if http_api {
        draft.error(Reason::InvalidIntegrationType, node, "an HTTP API has no MOCK integration");
    }
    integration::request(node, http_api, draft)
}
