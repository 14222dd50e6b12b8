//! Waiting until files have changed and whoever writes them has finished.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::collect::files::{Files, is_manifest};

/// Quiet after which a change is complete.
const QUIET: Duration = Duration::from_millis(20);

/// Longest wait for the writer of a file to close it.
const UNCLOSED: Duration = Duration::from_millis(300);

/// Longest wait overall, so that a writer who never rests cannot hold everyone else's edits back.
const LONGEST: Duration = Duration::from_secs(1);

/// What happened to the files, or to the process.
pub(crate) enum Notice {
    Files(notify::Result<Event>),
    /// SIGINT or SIGTERM.
    Stop,
}

/// Watches folders. Folders, not files: an editor or Kubernetes replaces a file by renaming another to its name, and
/// a watch on the file would go on watching the one that is gone.
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    followed: BTreeMap<PathBuf, Option<Identity>>,
    /// Those that may be another folder under the same name by now: the watch is on the one that was there before.
    stale: BTreeSet<PathBuf>,
    /// Those of them in which everything matters.
    folders: BTreeSet<PathBuf>,
    /// Names that matter though they do not look like manifests: files that the command line names.
    named: BTreeSet<OsString>,
    /// An event found no room in the queue.
    lost: Arc<AtomicBool>,
}

/// Room for events that wait while files are read.
pub(crate) const QUEUE: usize = 1024;

impl Watch {
    pub(crate) fn new(paths: &[PathBuf], notices: mpsc::SyncSender<Notice>) -> notify::Result<Self> {
        let lost = Arc::new(AtomicBool::new(false));
        let losing = Arc::clone(&lost);
        let watcher = notify::recommended_watcher(move |event| {
            // Waiting here would hold up the thread that `follow` waits for. Events only say that everything must be
            // read again, so one that finds no room need only leave word that there was one.
            if let Err(mpsc::TrySendError::Full(_)) = notices.try_send(Notice::Files(event)) {
                losing.store(true, Ordering::Release);
            }
        })?;
        let named = paths.iter().filter_map(|path| Some(path.file_name()?.to_owned())).collect();
        Ok(Self { watcher, followed: BTreeMap::new(), stale: BTreeSet::new(), folders: BTreeSet::new(), named, lost })
    }

    /// Watches exactly the folders of these files. True when one is new: what happened in it before now must be read
    /// again.
    pub(crate) fn follow(&mut self, files: &Files) -> bool {
        let wanted: BTreeSet<PathBuf> = files.folders.union(&files.outposts).cloned().collect();
        let stale = std::mem::take(&mut self.stale);
        let watcher = &mut self.watcher;
        self.followed.retain(|folder, identity| {
            let kept = wanted.contains(folder) && !stale.contains(folder) && *identity == identity_of(folder);
            if !kept {
                // The folder may be gone, and its watch with it.
                watcher.unwatch(folder).ok();
            }
            kept
        });
        let mut grown = false;
        for folder in wanted {
            if self.followed.contains_key(&folder) {
                continue;
            }
            let identity = identity_of(&folder);
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.followed.insert(folder, identity);
                    grown = true;
                }
                // A folder that has just gone needs no watch; any other fault is tried again with the next change.
                Err(error) => tracing::debug!(folder = %folder.display(), %error, "cannot watch"),
            }
        }
        self.folders = files.folders.clone();
        grown
    }

    /// A folder of these files that is there and is not watched.
    pub(crate) fn blind<'a>(&self, files: &'a Files) -> Option<&'a Path> {
        files
            .folders
            .iter()
            .find(|folder| !self.followed.contains_key(*folder) && folder.exists())
            .map(PathBuf::as_path)
    }

    /// Whether what is written there may be a manifest.
    fn is_content(&self, path: &Path) -> bool {
        is_manifest(path) || self.is_named(path)
    }

    /// Whether what comes, goes or is renamed there may be a manifest, a folder of some, or a link to either.
    fn is_structure(&self, path: &Path) -> bool {
        let inside = |path: &Path| self.folders.contains(path);
        inside(path) || path.parent().is_some_and(inside) || self.is_named(path)
    }

    fn is_named(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.named.contains(name))
    }

    fn meaning(&mut self, event: &Event) -> Meaning {
        if event.need_rescan() || self.lost.swap(false, Ordering::AcqRel) {
            return Meaning::Changed;
        }
        let path = event.paths.iter().find(|path| self.is_content(path)).cloned();
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => path.map_or(Meaning::Nothing, Meaning::Opened),
            EventKind::Modify(ModifyKind::Metadata(_)) => path.map_or(Meaning::Nothing, |_| Meaning::Changed),
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => path.map_or(Meaning::Nothing, Meaning::Closed),
            EventKind::Access(_) => Meaning::Nothing,
            EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Any | ModifyKind::Name(_) | ModifyKind::Other) => {
                self.stale.extend(event.paths.iter().filter(|path| self.followed.contains_key(*path)).cloned());
                let matters = event.paths.is_empty() || event.paths.iter().any(|path| self.is_structure(path));
                if matters { Meaning::Changed } else { Meaning::Nothing }
            }
            EventKind::Any | EventKind::Other => Meaning::Changed,
        }
    }
}

/// Which folder it is that has a name: device and number.
type Identity = (u64, u64);

fn identity_of(folder: &Path) -> Option<Identity> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(folder).ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// What an event says about the wait.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Nothing,
    Changed,
    /// Someone is writing.
    Opened(PathBuf),
    /// And has finished.
    Closed(PathBuf),
}

/// A change in the making.
#[derive(Debug)]
pub(crate) struct Settling {
    first: Instant,
    last: Instant,
    open: BTreeSet<PathBuf>,
}

impl Settling {
    /// Takes an event in; `None` while nothing has changed.
    pub(crate) fn note(
        settling: Option<Self>,
        event: &notify::Result<Event>,
        watch: &mut Watch,
        now: Instant,
    ) -> Option<Self> {
        let meaning = match event {
            Ok(event) => watch.meaning(event),
            // Events were lost, so anything may have changed.
            Err(_) => Meaning::Changed,
        };
        if meaning == Meaning::Nothing {
            return settling;
        }
        let mut settling = settling.unwrap_or_else(|| Self { first: now, last: now, open: BTreeSet::new() });
        settling.last = now;
        match meaning {
            // Only Linux says when a file is closed; elsewhere quiet alone must do.
            Meaning::Opened(path) if cfg!(target_os = "linux") => drop(settling.open.insert(path)),
            Meaning::Opened(_) => {}
            Meaning::Closed(path) => drop(settling.open.remove(&path)),
            Meaning::Changed | Meaning::Nothing => {}
        }
        Some(settling)
    }

    /// When the change counts as complete if nothing else happens.
    pub(crate) fn due(&self) -> Instant {
        let wait = if self.open.is_empty() { QUIET } else { UNCLOSED };
        (self.last + wait).min(self.first + LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, MetadataKind, RenameMode};

    use super::*;

    fn watch() -> Watch {
        let (sender, _receiver) = mpsc::sync_channel(QUEUE);
        let mut watch = Watch::new(&[PathBuf::from("/x")], sender).unwrap();
        watch.folders.insert(PathBuf::from("/x"));
        watch
    }

    fn meaning_of(kind: EventKind, path: &str) -> Meaning {
        watch().meaning(&Event::new(kind).add_path(PathBuf::from(path)))
    }

    #[test]
    fn what_is_written_beside_the_manifests_does_not_matter() {
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert_eq!(meaning_of(data, "/x/access.log"), Meaning::Nothing);
        let metadata = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        assert_eq!(meaning_of(metadata, "/x/access.log"), Meaning::Nothing);
        assert_eq!(meaning_of(EventKind::Access(AccessKind::Read), "/x/a.yaml"), Meaning::Nothing);
    }

    #[test]
    fn links_and_folders_matter_whatever_their_name_but_not_in_the_folder_around() {
        let rename = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert_eq!(meaning_of(rename, "/x/..data"), Meaning::Changed);
        assert_eq!(meaning_of(EventKind::Create(CreateKind::Folder), "/x/more"), Meaning::Changed);
        assert_eq!(meaning_of(EventKind::Create(CreateKind::Folder), "/y"), Meaning::Nothing);
        assert_eq!(meaning_of(rename, "/x"), Meaning::Changed);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_still_open_is_waited_for() {
        let mut watch = watch();
        let event = |kind| Ok(Event::new(kind).add_path(PathBuf::from("/x/a.yaml")));
        let now = Instant::now();
        let written = event(EventKind::Modify(ModifyKind::Data(DataChange::Any)));
        let settling = Settling::note(None, &written, &mut watch, now);
        assert_eq!(settling.as_ref().unwrap().due(), now + UNCLOSED);
        let closed = event(EventKind::Access(AccessKind::Close(AccessMode::Write)));
        let settling = Settling::note(settling, &closed, &mut watch, now);
        assert_eq!(settling.unwrap().due(), now + QUIET);
    }

    #[test]
    fn a_writer_who_never_rests_is_not_waited_for_longer_than_a_second() {
        let mut watch = watch();
        let event = Ok(Event::new(EventKind::Create(CreateKind::Any)).add_path(PathBuf::from("/x/a.yaml")));
        let start = Instant::now();
        let mut settling = None;
        for step in 0..200 {
            settling = Settling::note(settling, &event, &mut watch, start + Duration::from_millis(10 * step));
        }
        assert_eq!(settling.unwrap().due(), start + LONGEST);
    }
}
