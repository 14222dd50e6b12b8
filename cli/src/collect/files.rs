//! Paths to files: which ones are read, and which folders must be watched to notice that they change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files read at most; beyond, someone has named a folder by mistake.
const MAX_FILES: usize = 10_000;

/// Folders below a path at most that deep.
const MAX_DEPTH: usize = 32;

/// Largest file read: what a bundle may be, unpacked.
const MAX_BYTES: u64 = bundle::codec::MAX_BYTES as u64;

/// What was found under some paths.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Content by the path as a user would write it, in the order of the paths.
    pub(crate) content: BTreeMap<PathBuf, String>,
    /// Folders in which any change may matter.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Folders that hold one that was named: only its coming and going matters there.
    pub(crate) outposts: BTreeSet<PathBuf>,
    /// What could not be read.
    pub(crate) problems: Vec<Problem>,
}

/// A file or folder that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) path: PathBuf,
    pub(crate) message: String,
}

/// Reads every file under the paths: files as they are named, folders with what is in them.
pub(crate) fn read(paths: &[PathBuf]) -> Files {
    let mut walk = Walk::default();
    for path in paths {
        let around = if path.is_dir() { &mut walk.files.outposts } else { &mut walk.files.folders };
        around.extend(parent(path));
        walk.visit(path, 0, true);
    }
    walk.files
}

/// Whether a name in a folder is one that is read: `*.yaml`, `*.yml`, `*.json`, not hidden, no editor's temporary file.
pub(crate) fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    !is_hidden(path) && ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// `.git`, `.#a.yaml`, `..data`; `#a.yaml#` and `~a.yaml` besides.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '#', '~']))
}

#[derive(Default)]
struct Walk {
    files: Files,
    /// Folders and files seen, by their real path: a link may lead back, a path may be given twice.
    seen: BTreeSet<PathBuf>,
}

impl Walk {
    fn visit(&mut self, path: &Path, depth: usize, named: bool) {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // A file that is gone is like one that was never there; `collect` refuses a path that never was.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.problem(path, &error.to_string()),
        };
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.problem(path, &error.to_string()),
        };
        if metadata.is_dir() {
            if depth > MAX_DEPTH {
                return self.problem(path, "the folder lies too deep");
            }
            if self.seen.insert(real) {
                self.folder(path, depth);
            }
        } else if (named || is_manifest(path)) && self.seen.insert(real.clone()) {
            // A link's target may change while the link does not.
            self.files.folders.extend(parent(&real));
            self.file(path, &metadata);
        }
    }

    fn folder(&mut self, path: &Path, depth: usize) {
        self.files.folders.insert(path.to_owned());
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            // Removed since it was looked at.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.problem(path, &error.to_string()),
        };
        let mut children = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => children.push(entry.path()),
                // Which one is missing is not known: anything below the folder may be.
                Err(error) => {
                    self.problem(path, &error.to_string());
                    break;
                }
            }
        }
        children.sort();
        for child in children {
            if !is_hidden(&child) {
                self.visit(&child, depth + 1, false);
            }
        }
    }

    fn file(&mut self, path: &Path, metadata: &fs::Metadata) {
        if !metadata.is_file() {
            return self.problem(path, "not a file");
        }
        if self.files.content.len() >= MAX_FILES {
            if self.files.content.len() + self.files.problems.len() == MAX_FILES {
                self.problem(path, &format!("more than {MAX_FILES} files: the rest is not read"));
            }
            return;
        }
        if metadata.len() > MAX_BYTES {
            return self.problem(path, &format!("larger than the {MAX_BYTES} bytes that are read"));
        }
        match fs::read(path).map(String::from_utf8) {
            Ok(Ok(content)) => {
                self.files.content.insert(path.to_owned(), content);
            }
            Ok(Err(_)) => self.problem(path, "not UTF-8"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.problem(path, &error.to_string()),
        }
    }

    fn problem(&mut self, path: &Path, message: &str) {
        self.files.problems.push(Problem { path: path.to_owned(), message: message.to_owned() });
    }
}

/// The folder a path is in.
fn parent(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &Files) -> Vec<String> {
        files.content.keys().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn manifests_are_found_below_a_folder_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.yaml", "b.yml", "c.JSON", "d.txt", ".e.yaml", "#f.yaml", "g.yaml~", ".#h.yaml", "i.yaml.swp"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir_all(folder.path().join("deep/er")).unwrap();
        fs::write(folder.path().join("deep/er/j.yaml"), "x").unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        fs::write(folder.path().join(".git/k.yaml"), "x").unwrap();
        let files = read(&[folder.path().to_owned()]);
        assert_eq!(names(&files), ["a.yaml", "b.yml", "c.JSON", "j.yaml"]);
        assert!(files.folders.contains(&folder.path().join("deep/er")));
        assert_eq!(files.problems, []);
    }

    #[test]
    fn a_file_that_is_named_is_read_whatever_its_name_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.txt");
        fs::write(&path, "x").unwrap();
        let files = read(&[path.clone(), path.clone(), folder.path().join("gone.yaml")]);
        assert_eq!(names(&files), ["api.txt"]);
    }

    #[test]
    fn what_is_no_text_is_a_problem_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), [0xff, 0xfe]).unwrap();
        fs::write(folder.path().join("b.yaml"), "x").unwrap();
        let files = read(&[folder.path().to_owned()]);
        assert_eq!(names(&files), ["b.yaml"]);
        assert_eq!(files.problems.len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_volume_as_kubernetes_mounts_it_is_read_through_its_links() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("..2024_01");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("a.yaml"), "x").unwrap();
        symlink("..2024_01", folder.path().join("..data")).unwrap();
        symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
        symlink(".", folder.path().join("loop")).unwrap();
        let files = read(&[folder.path().to_owned()]);
        assert_eq!(names(&files), ["a.yaml"]);
        assert!(files.folders.iter().any(|path| path.ends_with("..2024_01")));
    }
}
