//! The last good copy of every bundle, for a start while the API server is down: one file per object, written by a
//! thread of its own, checked by its digest when it is read.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bundle::object::Index;

use crate::source::collection::Read;

/// Largest file: what a bundle may be, and its index.
const MAX_FILE: u64 = (bundle::codec::MAX_BYTES as u64) + (64 << 10);
/// Most that is read of all files together.
const MAX_TOTAL: u64 = 1 << 30;
const SUFFIX: &str = ".bundle";

/// The folder.
pub(super) struct Disk {
    folder: PathBuf,
    queue: Arc<Queue>,
}

/// What is to be written: the latest of each object, so that it never holds more than there is.
#[derive(Default)]
struct Queue {
    pending: Mutex<Pending>,
    more: Condvar,
}

#[derive(Default)]
struct Pending {
    /// `None`: to be removed.
    files: BTreeMap<String, Option<Read>>,
    closed: bool,
}

impl Disk {
    /// Opens a folder, and starts the thread that writes into it.
    ///
    /// # Errors
    /// When it cannot be made, or there can be no thread.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let queue = Arc::new(Queue::default());
        let (folder, shared) = (folder.to_owned(), Arc::clone(&queue));
        let target = folder.clone();
        std::thread::Builder::new().name("copies".to_owned()).spawn(move || write_all(&target, &shared))?;
        Ok(Self { folder, queue })
    }

    /// Keeps a bundle.
    pub(super) fn keep(&self, object: String, read: Read) {
        self.queue.lock().files.insert(object, Some(read));
        self.queue.more.notify_one();
    }

    /// Forgets a bundle.
    pub(super) fn forget(&self, object: String) {
        self.queue.lock().files.insert(object, None);
        self.queue.more.notify_one();
    }

    /// Forgets everything but these.
    pub(super) fn retain(&self, objects: &HashSet<String>) {
        for (object, _) in self.files() {
            if !objects.contains(&object) {
                self.forget(object);
            }
        }
    }

    /// Everything that can be read; what cannot is left out, and told.
    pub(super) fn read(&self) -> Vec<(String, Read)> {
        let mut left = MAX_TOTAL;
        let mut found = Vec::new();
        for (object, path) in self.files() {
            match read_file(&path, &mut left) {
                Ok(read) => found.push((object, read)),
                Err(error) => tracing::warn!(file = %path.display(), %error, "a copy cannot be read"),
            }
        }
        found
    }

    fn files(&self) -> Vec<(String, PathBuf)> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(folder = %self.folder.display(), %error, "the folder of copies cannot be read");
                return Vec::new();
            }
        };
        let object = |path: &Path| Some(path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.to_owned());
        entries.flatten().filter_map(|entry| Some((object(&entry.path())?, entry.path()))).collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.more.notify_one();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Every change is whole before anything can panic.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next file; `None` when there will be no more.
    fn next(&self) -> Option<(String, Option<Read>)> {
        let mut pending = self.lock();
        loop {
            if let Some(file) = pending.files.pop_first() {
                return Some(file);
            }
            if pending.closed {
                return None;
            }
            pending = self.more.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn write_all(folder: &Path, queue: &Queue) {
    while let Some((object, read)) = queue.next() {
        let path = folder.join(format!("{object}{SUFFIX}"));
        let done = match read {
            Some(read) => write_file(folder, &path, &read),
            None => fs::remove_file(&path).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        if let Err(error) = done {
            tracing::warn!(file = %path.display(), %error, "a copy cannot be kept");
        }
    }
}

/// A line with the index, then the payload. Renamed into place; what a crash of the machine leaves of it, its digest
/// tells.
fn write_file(folder: &Path, path: &Path, read: &Read) -> io::Result<()> {
    let unfinished = folder.join(".unfinished");
    let index = serde_json::to_vec(&Index { parts: Vec::new(), ..read.index.clone() })?;
    let mut file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&index)?;
    file.write_all(b"\n")?;
    file.write_all(&read.payload)?;
    fs::rename(&unfinished, path)
}

fn read_file(path: &Path, left: &mut u64) -> io::Result<Read> {
    let size = fs::metadata(path)?.len();
    if size > MAX_FILE || size > *left {
        return Err(io::Error::other(format!("{size} bytes are more than a copy may have")));
    }
    *left -= size;
    let mut content = fs::read(path)?;
    let end = content.iter().position(|&byte| byte == b'\n').ok_or(io::ErrorKind::UnexpectedEof)?;
    let index = serde_json::from_slice(&content[..end])?;
    content.drain(..=end);
    Ok(Read { index, payload: content })
}

#[cfg(test)]
mod tests;
