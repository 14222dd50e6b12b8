//! The folder that outlives a run: the local CA and the deployments.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bundle::Digest;

/// The folder that outlives a run. Several processes may share it.
#[derive(Clone, Debug)]
pub(crate) struct State {
    root: PathBuf,
    /// It is the user's data folder, which all of his projects share.
    shared: bool,
}

impl State {
    /// Opens the folder, and makes it if it is not there. `None` is the user's data folder.
    pub(crate) fn open(folder: Option<&Path>) -> anyhow::Result<Self> {
        let shared = folder.is_none();
        let root = match folder {
            Some(folder) => folder.to_owned(),
            None => default_folder().context("no HOME is set: say where to keep the local CA with --state DIR")?,
        };
        private_folder(&root)
            .with_context(|| format!("cannot make the folder {} (change it with --state DIR)", root.display()))?;
        Ok(Self { root, shared })
    }

    /// The folder for what belongs to these files alone: one of their own in a folder that projects share, where
    /// objects of different projects may have one name. Whoever names a folder has it as it is.
    pub(crate) fn project(&self, paths: &[PathBuf]) -> io::Result<Self> {
        if !self.shared {
            return Ok(self.clone());
        }
        let real = paths.iter().map(fs::canonicalize).collect::<io::Result<BTreeSet<_>>>()?;
        let mut name = Vec::new();
        for path in &real {
            name.extend_from_slice(path.as_os_str().as_encoded_bytes());
            // No path holds it, so no two lists make one name.
            name.push(0);
        }
        let root = self.path("projects").join(Digest::of(&name).short());
        private_folder(&root)?;
        Ok(Self { root, shared: false })
    }

    /// A path in it.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Holds the lock that makes one process at a time write what is shared. It ends with the process at the latest.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.path("lock"))?;
        file.lock()?;
        Ok(file)
    }
}

/// `$XDG_DATA_HOME/stagegate`, or `~/.local/share/stagegate`. The specification says that a relative one is ignored.
fn default_folder() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/share")))
        .map(|data| data.join("stagegate"))
}

/// Makes a folder that only its owner may look into; one that is there keeps its rights.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    Everyone,
    Owner,
}

/// Writes a file so that a reader sees all of it or what was there before, never a part.
pub(crate) fn write_atomically(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let draft = write_draft(path, content, readers)?;
    fs::rename(&draft, path).inspect_err(|_| discard(&draft))
}

/// Like `write_atomically`, but fails with `AlreadyExists` if the file is there.
pub(crate) fn create_atomically(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let draft = write_draft(path, content, readers)?;
    // Linking, unlike renaming, never replaces: whoever links first has made the file.
    let outcome = fs::hard_link(&draft, path);
    discard(&draft);
    outcome
}

/// Writes beside the file, under a name that no other process uses, so that a rename stays in one file system.
fn write_draft(path: &Path, content: &[u8], readers: Readers) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let draft = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    // A process that died may have left a draft under the same number.
    discard(&draft);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(
        &mut options,
        match readers {
            Readers::Everyone => 0o644,
            Readers::Owner => 0o600,
        },
    );
    #[cfg(not(unix))]
    let _ = readers;
    options.open(&draft)?.write_all(content).inspect_err(|_| discard(&draft))?;
    Ok(draft)
}

/// A draft that cannot be removed is rubbish, not an error.
fn discard(draft: &Path) {
    fs::remove_file(draft).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_in_a_shared_folder_have_their_own_and_one_that_is_named_is_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        for path in [&a, &b] {
            fs::create_dir(path).unwrap();
        }
        let shared = State { root: folder.path().to_owned(), shared: true };
        let root = |paths: &[&PathBuf]| {
            let paths: Vec<_> = paths.iter().copied().cloned().collect();
            shared.project(&paths).unwrap().root
        };
        assert_ne!(root(&[&a]), root(&[&b]));
        assert_ne!(root(&[&a]), root(&[&a, &b]));
        assert_eq!(root(&[&b, &a]), root(&[&a, &b.join("../b"), &a]));
        let named = State::open(Some(folder.path())).unwrap();
        assert_eq!(named.project(&[a]).unwrap().root, folder.path());
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        write_atomically(&path, b"one", Readers::Everyone).unwrap();
        write_atomically(&path, b"two", Readers::Everyone).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_exists_is_not_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.json");
        create_atomically(&path, b"one", Readers::Owner).unwrap();
        let again = create_atomically(&path, b"two", Readers::Owner).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.key");
        write_atomically(&path, b"secret", Readers::Owner).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
