//! What is wrong, where, and what to do about it.

use std::fmt;

/// Whether something can be served at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object is refused; what was served before goes on being served.
    Error,
    /// It is served, and something about it is not what its author may expect.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// The object a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `ApiDefinition`, `Stage`, `UsagePlan`, `Secret`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The object.
    pub object: ObjectRef,
    /// Whether `pointer` is into the API's document, wherever that comes from, instead of into the object itself.
    pub in_document: bool,
    /// JSON pointer, `/spec/hosts/0/name`; of an inline document the object's own is `/spec/openapi` before it.
    pub pointer: String,
    /// Error or warning.
    pub severity: Severity,
    /// What kind of thing: a condition's reason, a metric's label.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
    /// What to do, where that is not obvious.
    pub help: Option<String>,
}

impl Finding {
    /// JSON pointer into the object as it is written, where the document is inline.
    pub fn object_pointer(&self) -> String {
        if self.in_document { format!("/spec/openapi{}", self.pointer) } else { self.pointer.clone() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.in_document { "document" } else { "" };
        write!(f, "{}[{}] {} {place}{}: {}", self.severity, self.reason, self.object, self.pointer, self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

macro_rules! reasons {
    ($($name:ident $doc:literal),* $(,)?) => {
        /// Kinds of findings. In text the name as it stands, CamelCase as Kubernetes wants a condition's reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $(#[doc = $doc] $name),* }

        impl Reason {
            /// The name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

reasons! {
    // Documents as a whole.
    DocumentMissing "The object names no document, or two.",
    DocumentNotFound "The ConfigMap or the key is not there.",
    DocumentUnreadable "The document is neither JSON nor YAML, or not text.",
    NotOpenApi "The document is not OpenAPI 3.0, 3.1 or Swagger 2.0.",
    DocumentTooLarge "The document or bundle is larger than something on its way takes.",
    AmbiguousScalar "A plain YAML scalar that kubectl reads as a boolean.",
    RemoteReference "A `$ref` out of the document.",
    UnresolvedReference "A `$ref` to nothing, or only to itself.",
    Malformed "A value has the wrong type.",
    TooManyFindings "The rest is left out.",
    // Paths and methods.
    InvalidPath "A path that cannot be routed.",
    UnusualPath "A path that Amazon would refuse; it is served.",
    SiblingVariable "A second variable below the same parent.",
    ChildOfGreedy "Something below a greedy parameter.",
    DuplicateRoute "The same resource and verb twice.",
    InvalidVerb "A verb that Amazon's methods do not have.",
    // Integrations.
    NoIntegration "Neither an integration nor a backend.",
    InvalidIntegrationType "An unknown integration type.",
    InvalidUri "A `uri` that no request can be sent to.",
    MissingHttpMethod "No `httpMethod` where one is needed.",
    InvalidHttpMethod "An `httpMethod` that is no verb.",
    InvalidTimeout "A timeout out of range.",
    InvalidEnum "A value that is none of those allowed.",
    InvalidStatus "No status code, or a bad one.",
    InvalidPattern "A selection pattern that is no regular expression.",
    InvalidMapping "A parameter mapping that cannot be read.",
    IllegalHeaderMapping "A mapping to a header that may not be mapped: 500 at run time.",
    InvalidTemplate "A template that cannot be used.",
    IntrinsicFunction "A CloudFormation function that nobody resolved.",
    // Who may call.
    UnknownSecurityScheme "A security scheme that nobody defined.",
    InvalidAuthorizer "An authorizer that cannot be read.",
    SchemeNotEnforced "A security scheme that the gateway does not check.",
    UnknownValidator "A request validator that nobody defined.",
    InvalidModel "A model that is no schema, or one that cannot be checked.",
    // The rest of a document.
    UnknownGatewayResponse "A gateway response type that does not exist.",
    InvalidSetting "A setting out of range.",
    UnknownExtension "An `x-amazon-…` that is not known here.",
    UnknownField "A field that is not known here.",
    NotServedYet "Understood, and not served yet.",
    // Backends.
    InvalidBackend "A backend that cannot be reached as written.",
    RefNotPermitted "No ReferenceGrant allows the reference to another namespace.",
    // Stages.
    ApiNotFound "The ApiDefinition is not there.",
    ApiNotCompiled "The ApiDefinition has errors of its own.",
    InvalidStageName "Not a stage name.",
    DuplicateStageName "Another Stage of the API has the name.",
    InvalidVariable "Not a stage variable.",
    InvalidHost "Not a host name.",
    InvalidBasePath "Not a base path.",
    SecretNotFound "The Secret is not there.",
    InvalidSecret "The Secret does not hold what it should.",
    HostConflict "Another Stage has the host and base path.",
    SidecarWithoutTls "A sidecar speaks no TLS, so it cannot ask for client certificates.",
    DefaultHostOpen "The default host lets in whom another host of the Stage would not.",
    HostDisagreement "Stages give one host different TLS settings.",
    UnknownGateway "No gateway of that name.",
    InvalidFunction "A function nobody can call.",
    // Plans.
    InvalidPlan "A usage plan that cannot be read.",
    PlanConflict "Two plans give one key the same Stage.",
    InvalidApiKey "An API key that cannot be one.",
    DuplicateApiKey "An API key, or the id of one, that an older Secret has.",
    KeyWithoutPlan "No plan selects the API keys.",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Errors, and warnings, kept of one object: the bound of a hostile document.
const MAX_FINDINGS: usize = 5_000;

/// Collects findings about one object.
#[derive(Debug)]
pub(crate) struct Findings {
    object: ObjectRef,
    list: Vec<Finding>,
    errors: usize,
    warnings: usize,
    dropped: usize,
}

impl Findings {
    pub(crate) fn new(object: ObjectRef) -> Self {
        Self { object, list: Vec::new(), errors: 0, warnings: 0, dropped: 0 }
    }

    /// A finding in the object itself.
    pub(crate) fn object(
        &mut self,
        severity: Severity,
        reason: Reason,
        pointer: impl Into<String>,
        text: impl Into<String>,
    ) {
        self.push(severity, reason, false, pointer.into(), text.into());
    }

    /// A finding in the API's document.
    pub(crate) fn document(&mut self, severity: Severity, reason: Reason, pointer: &str, text: impl Into<String>) {
        self.push(severity, reason, true, pointer.to_owned(), text.into());
    }

    fn push(&mut self, severity: Severity, reason: Reason, in_document: bool, pointer: String, message: String) {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count > MAX_FINDINGS {
            self.dropped += 1;
            return;
        }
        let object = self.object.clone();
        self.list.push(Finding { object, in_document, pointer, severity, reason, message, help: None });
    }

    /// Adds advice to the finding made last.
    pub(crate) fn help(&mut self, help: impl Into<String>) {
        if self.dropped == 0
            && let Some(last) = self.list.last_mut()
        {
            last.help = Some(help.into());
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    pub(crate) fn extend(&mut self, others: impl IntoIterator<Item = Finding>) {
        for finding in others {
            self.errors += usize::from(finding.severity == Severity::Error);
            self.list.push(finding);
        }
    }

    /// All of them, sorted and each once: their order must not depend on the order of keys.
    pub(crate) fn into_sorted(mut self) -> Vec<Finding> {
        if self.dropped > 0 {
            self.list.push(Finding {
                object: self.object,
                in_document: false,
                pointer: String::new(),
                severity: Severity::Warning,
                reason: Reason::TooManyFindings,
                message: format!("{} more findings are left out", self.dropped),
                help: None,
            });
        }
        self.list.sort();
        self.list.dedup();
        self.list
    }
}
