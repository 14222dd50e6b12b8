//! Bounds of a rendering, and the meter that enforces them.

use crate::error::{Eval, Fault};

/// Largest template accepted, in bytes (Amazon's guide, limits table: 300 KB).
pub const MAX_TEMPLATE_BYTES: usize = 300 * 1024;

/// How much one rendering may cost. The defaults are the documented bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Operations: nodes rendered, calls made, values looked at.
    pub steps: u64,
    /// Bytes of output, and of any one string on the way to it.
    pub output: usize,
    /// Bytes of strings and containers made on the way, in total.
    pub scratch: u64,
    /// Nested calls of macros (Velocity's own default is 20).
    pub recursion: u32,
    /// Iterations of one `#foreach` (Amazon's guide, limits table: 1000).
    pub iterations: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            steps: 1_000_000,
            output: 10 * 1024 * 1024,
            scratch: 64 * 1024 * 1024,
            recursion: 20,
            iterations: 1000,
        }
    }
}

/// What is left of the bounds during one rendering.
pub(crate) struct Meter {
    steps: u64,
    scratch: u64,
    output: usize,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Meter { steps: limits.steps, scratch: limits.scratch, output: limits.output }
    }

    /// Pays for `steps` operations.
    #[inline]
    pub(crate) fn step(&mut self, steps: u64) -> Eval<()> {
        match self.steps.checked_sub(steps) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(too_many_steps()),
        }
    }

    /// Pays for a string or container of `bytes` made on the way.
    #[inline]
    pub(crate) fn scratch(&mut self, bytes: usize) -> Eval<()> {
        if bytes > self.output {
            return Err(self.too_long());
        }
        // Copying costs time as well as room.
        self.step(bytes as u64 / 256)?;
        match self.scratch.checked_sub(bytes as u64) {
            Some(left) => {
                self.scratch = left;
                Ok(())
            }
            None => Err(Fault::limit("the template needs too much memory", "build smaller strings and lists")),
        }
    }

    /// Refuses an output, or a string, longer than allowed.
    #[inline]
    pub(crate) fn output(&self, length: usize) -> Eval<()> {
        if length > self.output { Err(self.too_long()) } else { Ok(()) }
    }

    /// Longest string there may be.
    pub(crate) fn output_limit(&self) -> usize {
        self.output
    }

    fn too_long(&self) -> Box<Fault> {
        Fault::limit(format!("the template renders to more than {} bytes", self.output), "render less text")
    }
}

#[cold]
fn too_many_steps() -> Box<Fault> {
    Fault::limit("the template takes too many steps", "do less work in loops")
}
