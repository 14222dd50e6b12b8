//! The front door: a template, parsed once and rendered often.

use crate::ast::{Block, Macro, Names, Node};
use crate::error::{Error, Fault};
use crate::limits::{Limits, MAX_TEMPLATE_BYTES};
use crate::parse;
use crate::render::Renderer;
use crate::scope::Scope;

/// A parsed template. Immutable, and free to be shared by threads.
#[derive(Debug)]
pub struct Template {
    name: Box<str>,
    source: Box<str>,
    pub(crate) block: Block,
    pub(crate) names: Names,
    pub(crate) macros: Vec<Macro>,
    mentions_context: bool,
    mentions_input: bool,
    mentions_parameters: bool,
    mentions_stage_variables: bool,
}

impl Template {
    /// Parses a template; `name` appears in its errors.
    ///
    /// # Errors
    /// [`crate::Kind::Syntax`] for what Velocity would not accept or the gateway refuses (`#parse`, `#include`),
    /// [`crate::Kind::Limit`] beyond [`MAX_TEMPLATE_BYTES`].
    pub fn parse(name: &str, source: &str) -> Result<Template, Error> {
        if source.len() > MAX_TEMPLATE_BYTES {
            let message = format!("the template has {} bytes, more than {MAX_TEMPLATE_BYTES}", source.len());
            return Err(Fault::limit(message, "split the work over several methods").locate(name, ""));
        }
        let parsed = parse::parse(source, Names::default()).map_err(|fault| fault.locate(name, source))?;
        // A name can also be put together at run time, but only by #evaluate.
        let dynamic = source.contains("evaluate");
        Ok(Template {
            name: name.into(),
            source: source.into(),
            block: parsed.block,
            names: parsed.names,
            macros: parsed.macros,
            mentions_context: dynamic || source.contains("context"),
            mentions_input: dynamic || source.contains("input"),
            mentions_parameters: dynamic || source.contains("params"),
            mentions_stage_variables: dynamic || source.contains("stageVariables"),
        })
    }

    /// The name given to [`Template::parse`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text it always renders to, if it holds no reference and no directive at all.
    pub fn as_plain(&self) -> Option<&str> {
        match self.block.as_slice() {
            [] => Some(""),
            [Node::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Is it `$input.body` and nothing else? Then the payload passes, be it text or not.
    pub fn passes_body(&self) -> bool {
        self.source.trim() == "$input.body"
    }

    /// May `$context` be looked at? If not, the caller need not build it.
    pub fn mentions_context(&self) -> bool {
        self.mentions_context
    }

    /// May `$input` be looked at? If not, the caller need not read the payload for the template's sake.
    pub fn mentions_input(&self) -> bool {
        self.mentions_input
    }

    /// May `$input.params` be looked at? If not, the caller need not collect the request's parameters.
    pub fn mentions_parameters(&self) -> bool {
        self.mentions_parameters
    }

    /// May `$stageVariables` be looked at? If not, the caller need not build it.
    pub fn mentions_stage_variables(&self) -> bool {
        self.mentions_stage_variables
    }

    /// Renders the template. Overrides it sets are in the maps given with the scope.
    ///
    /// # Errors
    /// [`crate::Kind::Evaluation`] where Java would throw, [`crate::Kind::Limit`] at a bound,
    /// [`crate::Kind::Payload`] if the payload has to be JSON and is not.
    pub fn render(&self, scope: &mut Scope<'_>, limits: &Limits) -> Result<String, Error> {
        if let Some(text) = self.as_plain() {
            return Ok(text.to_owned());
        }
        let mut out = String::with_capacity(2 * self.source.len());
        let result = Renderer::new(self, scope, limits).run(&mut out);
        result.map(|()| out).map_err(|fault| fault.locate(&self.name, &self.source))
    }
}
