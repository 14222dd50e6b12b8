//! Files to objects: what `stagegate dev` and `stagegate lint` put where the operator has its watches.

pub(crate) mod files;
mod object;
mod parse;
mod places;
mod strict;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compile::World;

use files::Files;
use object::{Key, Object};
use parse::{Found, Parsed};
pub(crate) use places::Places;
use places::Site;

use crate::print::{Diagnostic, Level, Place};

/// What the files hold.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) world: World,
    /// Where the objects are.
    pub(crate) places: Places,
    /// What is wrong with the files themselves.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Reads files, and remembers what it has read.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    parsed: HashMap<PathBuf, Arc<Parsed>>,
    /// The last good form of each object and the file it was in: it stands in while the file is broken.
    good: HashMap<Key, (PathBuf, Object, Site)>,
}

impl Collector {
    /// Objects of all files. A file whose text is the same as before is not parsed again. `named` are the paths on
    /// the command line.
    pub(crate) fn collect(&mut self, files: &Files, named: &[PathBuf]) -> Collected {
        let mut collected = Collected::default();
        for problem in &files.problems {
            let place = Place { file: problem.path.clone(), line: 0, column: 0, snippet: String::new() };
            collected.diagnostics.push(plain(Level::Error, "UnreadableFile", &problem.message, Some(place)));
        }
        let mut parsed = HashMap::with_capacity(files.content.len());
        for (path, text) in &files.content {
            let known = self.parsed.get(path).filter(|known| known.document.text() == text);
            let fresh = known.cloned().unwrap_or_else(|| Arc::new(parse::parse(path, text)));
            parsed.insert(path.clone(), fresh);
        }
        self.parsed = parsed;
        self.gather(files, named, &mut collected);
        collected
    }

    fn gather(&mut self, files: &Files, named: &[PathBuf], collected: &mut Collected) {
        let mut seen: BTreeMap<Key, Vec<(PathBuf, Object, Site)>> = BTreeMap::new();
        // Files and folders that do not say all they hold: what they held stands.
        let mut broken: Vec<&Path> = files.problems.iter().map(|problem| problem.path.as_path()).collect();
        for path in files.content.keys() {
            let Some(parsed) = self.parsed.get(path) else { continue };
            let held = self.good.values().any(|(owner, ..)| owner == path);
            if let Some(diagnostic) = parsed.whole_file_fault(path, held || named.contains(path)) {
                if diagnostic.level == Level::Error {
                    broken.push(path);
                }
                collected.diagnostics.push(diagnostic);
            }
            for found in parsed.found() {
                match found {
                    Found::Object { key, object, site } => {
                        let entry = (path.clone(), object.clone(), site.clone());
                        seen.entry(key.clone()).or_default().push(entry);
                    }
                    Found::Fault { key, diagnostics } => {
                        collected.diagnostics.extend(diagnostics.iter().cloned());
                        match key.as_ref().and_then(|key| self.stand_in(key, path)) {
                            Some((key, entry)) => seen.entry(key).or_default().push(entry),
                            // Its name does not say which object it was: it may be any that is missing now.
                            None => broken.push(path),
                        }
                    }
                    Found::Nothing { diagnostic } => {
                        let mut diagnostic = diagnostic.clone();
                        // Whoever names a file wants it served; in a folder many things lie about.
                        if diagnostic.level == Level::Note && named.contains(path) {
                            diagnostic.level = Level::Warning;
                        }
                        collected.diagnostics.push(diagnostic);
                    }
                }
            }
            collected.diagnostics.extend(parsed.ambiguities(path));
        }
        for path in broken {
            for (key, entry) in self.good.keys().filter_map(|key| self.stand_in(key, path)) {
                // A file that could be read in a folder that could not says itself what it holds.
                if path != entry.0 && files.content.contains_key(&entry.0) {
                    continue;
                }
                let entries = seen.entry(key).or_default();
                if !entries.iter().any(|(owner, ..)| *owner == entry.0) {
                    entries.push(entry);
                }
            }
        }
        self.good.retain(|key, _| seen.contains_key(key));
        for (key, mut entries) in seen {
            // Whoever had the object first keeps it, so that a copy beside it does not take over.
            let owner = self.good.get(&key).map(|(path, ..)| path.clone());
            entries.sort_by_key(|(path, ..)| owner.as_ref() != Some(path));
            let mut entries = entries.into_iter();
            let Some((path, object, site)) = entries.next() else { continue };
            for (_, _, other) in entries {
                collected.diagnostics.push(duplicate(&key, &other, &site));
            }
            object.put(&key, &mut collected.world);
            collected.places.insert(&key, site.clone());
            self.good.insert(key, (path, object, site));
        }
    }

    /// The last good form of an object, if this file or one in this folder had it.
    fn stand_in(&self, key: &Key, path: &Path) -> Option<(Key, (PathBuf, Object, Site))> {
        let good = self.good.get(key).filter(|(owner, ..)| owner.starts_with(path))?;
        Some((key.clone(), good.clone()))
    }
}

fn duplicate(key: &Key, here: &Site, there: &Site) -> Diagnostic {
    let first = there.place("");
    Diagnostic {
        help: Some("give one of them another name, or remove it".to_owned()),
        object: Some(key.to_string()),
        ..plain(
            Level::Error,
            "DuplicateObject",
            &format!("{key} is already at {}:{}:{}", first.file.display(), first.line, first.column),
            Some(here.place("")),
        )
    }
}

fn plain(level: Level, reason: &str, message: &str, place: Option<Place>) -> Diagnostic {
    Diagnostic {
        place,
        level,
        reason: reason.to_owned(),
        message: message.to_owned(),
        object: None,
        pointer: None,
        help: None,
    }
}

#[cfg(test)]
mod tests;
