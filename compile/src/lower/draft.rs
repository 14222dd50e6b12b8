//! A route that is being made: what is found while it is, and whether it can be served in the end.

use bundle::route::Refusal;

use crate::finding::{Findings, Reason, Severity};
use crate::read::Node;
use crate::support::{Effect, Feature, gap};

/// A route that is being made. The first thing that forbids to serve it is its refusal; all things are findings.
pub(super) struct Draft<'f> {
    findings: &'f mut Findings,
    refusal: Option<Refusal>,
}

impl<'f> Draft<'f> {
    pub(super) fn new(findings: &'f mut Findings) -> Self {
        Self { findings, refusal: None }
    }

    /// Something that must be changed.
    pub(super) fn error(&mut self, reason: Reason, at: &Node<'_>, text: impl Into<String>) {
        let text = text.into();
        self.refuse(reason, &text);
        self.findings.document(Severity::Error, reason, &at.pointer, text);
    }

    /// Something to know.
    pub(super) fn warning(&mut self, reason: Reason, at: &Node<'_>, text: impl Into<String>) {
        self.findings.document(Severity::Warning, reason, &at.pointer, text);
    }

    /// Advice about what was reported last.
    pub(super) fn help(&mut self, help: impl Into<String>) {
        self.findings.help(help);
    }

    /// Something that is asked for and may not be served yet.
    pub(super) fn wants(&mut self, feature: Feature, at: &Node<'_>) {
        let Some(gap) = gap(feature) else { return };
        let text = gap.text();
        let text = match gap.effect {
            Effect::Refuse => {
                self.refuse(Reason::NotServedYet, &text);
                format!("{text}; the route answers 500")
            }
            Effect::Ignore => text,
        };
        self.findings.document(Severity::Warning, Reason::NotServedYet, &at.pointer, text);
    }

    /// Refuses the route for something that is reported elsewhere.
    pub(super) fn refuse(&mut self, reason: Reason, text: &str) {
        self.refusal.get_or_insert_with(|| refusal(reason, text));
    }

    /// Refuses the route as something around it is refused.
    pub(super) fn refuse_for(&mut self, refusal: &Refusal) {
        self.refusal.get_or_insert_with(|| refusal.clone());
    }

    pub(super) fn into_refusal(self) -> Option<Refusal> {
        self.refusal
    }
}

/// A refusal with a finding's reason.
pub(super) fn refusal(reason: Reason, text: &str) -> Refusal {
    Refusal { reason: reason.as_str().to_owned(), message: text.to_owned() }
}

/// An unserved feature of the document as a whole, in the object's own fields or in the document.
pub(super) fn note(findings: &mut Findings, feature: Feature, in_document: bool, pointer: &str) {
    let Some(gap) = gap(feature) else { return };
    let text = gap.text();
    if in_document {
        findings.document(Severity::Warning, Reason::NotServedYet, pointer, text);
    } else {
        findings.object(Severity::Warning, Reason::NotServedYet, pointer, text);
    }
}
