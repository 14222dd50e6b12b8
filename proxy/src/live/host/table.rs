//! Who answers under a host.

use std::collections::HashMap;
use std::sync::Arc;

use bundle::{HostTable, StageKey};

use crate::dispatch::path::canonical;
use crate::live::Stage;

/// Who answers under a host: indexes of the stages. A stage that is named but not here is `None`: it answers for
/// nothing, and hides what lies behind it all the same.
#[derive(Debug)]
pub(super) enum Table {
    /// The first path segment names the stage.
    Default { stages: Map<Option<u32>> },
    /// The longest base path wins.
    Custom {
        /// By base path; that of `/` is empty.
        base_paths: Map<Option<u32>>,
        /// Segments of the longest one.
        depth: usize,
    },
}

/// Names from the configuration, looked up on every request. An outsider cannot choose what lies in it, so it need not be
/// hashed as if he could.
pub(super) type Map<T> = HashMap<Box<str>, T, foldhash::fast::RandomState>;

/// An HTTP API's stage whose name is no part of the path.
const UNNAMED: &str = "$default";

impl Table {
    pub(super) fn parse(table: &HostTable, stages: &[Arc<Stage>], messages: &mut Vec<String>) -> Self {
        let mut index = |key: &StageKey| {
            let found = stages.binary_search_by(|stage| stage.key.cmp(key)).ok();
            if found.is_none() {
                messages.push(format!("stage {key} is not here"));
            }
            found.and_then(|index| u32::try_from(index).ok())
        };
        match table {
            HostTable::Default { stages } => {
                Self::Default { stages: stages.iter().map(|(name, key)| (name.as_str().into(), index(key))).collect() }
            }
            HostTable::Custom { base_paths } => {
                let entry = |base: &bundle::BasePath| {
                    let path = canonical(&base.path).map_or_else(|_| base.path.clone(), |path| path.into_owned());
                    (path.trim_end_matches('/').into(), index(&base.stage))
                };
                let base_paths: Map<_> = base_paths.iter().map(entry).collect();
                let depth = base_paths.keys().map(|path| path.matches('/').count()).max().unwrap_or(0);
                Self::Custom { base_paths, depth }
            }
        }
    }

    pub(super) fn is_custom(&self) -> bool {
        match self {
            Self::Default { .. } => false,
            Self::Custom { .. } => true,
        }
    }

    /// The stage's index, and where its name or base path ends.
    pub(super) fn stage(&self, path: &str) -> Option<(usize, usize)> {
        let (stage, end) = match self {
            Self::Default { stages } => {
                let end = next_slash(path, 1);
                match stages.get(path.get(1..end)?) {
                    Some(stage) => (*stage, end),
                    None => (*stages.get(UNNAMED)?, 0),
                }
            }
            Self::Custom { base_paths, depth } => {
                let mut end =
                    (0..*depth).fold(0, |end, _| if end < path.len() { next_slash(path, end + 1) } else { end });
                loop {
                    if let Some(stage) = base_paths.get(&path[..end]) {
                        break (*stage, end);
                    }
                    end = path[..end].rfind('/')?;
                }
            }
        };
        Some((stage? as usize, end))
    }
}

/// The stage that is named first.
pub(super) fn first(table: &HostTable) -> Option<&StageKey> {
    match table {
        HostTable::Default { stages } => stages.values().next(),
        HostTable::Custom { base_paths } => base_paths.first().map(|base| &base.stage),
    }
}

/// Where the segment that begins at `from` ends.
fn next_slash(path: &str, from: usize) -> usize {
    let rest = path.as_bytes().get(from..).unwrap_or_default();
    memchr::memchr(b'/', rest).map_or(path.len(), |slash| from + slash)
}
