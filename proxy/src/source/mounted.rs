//! A sidecar's bundle: the files of one mounted Secret.
//!
//! `index` and `payload` are the Stage's, as in its bundle Secret; further pairs may be `NAME.index` and
//! `NAME.payload`, and a part's file has the part's name. Whatever host a request names is answered, under the
//! Stage's name, since it comes from the program beside us.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundle::object::{INDEX_KEY, PAYLOAD_KEY};
use bundle::{Certificate, Digest, HostBundle, HostTable};

use crate::proxy::Proxy;
use crate::source::collection::{Came, Collection};

/// Time between two looks. A mount changes long after its Secret, so this adds little.
const EVERY: Duration = Duration::from_secs(1);
/// Most that is read of all files together: Kubernetes stores 1 MiB in a Secret.
const MAX_TOTAL: u64 = 4 << 20;

/// Serves the files of a folder and follows them, for ever.
pub async fn follow(folder: PathBuf, proxy: &Proxy) {
    let mut mounted = Mounted { folder, latest: None, trouble: None, bundles: Collection::default() };
    loop {
        mounted.look(proxy);
        tokio::time::sleep(EVERY).await;
    }
}

struct Mounted {
    folder: PathBuf,
    /// Digest of all files.
    latest: Option<Digest>,
    /// What was wrong with the folder last, told once.
    trouble: Option<String>,
    bundles: Collection,
}

impl Mounted {
    fn look(&mut self, proxy: &Proxy) {
        let files = match read(&self.folder) {
            Ok(files) => files,
            Err(error) => {
                let trouble = error.to_string();
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(folder = %self.folder.display(), %error, "the bundle cannot be read; what was there stays");
                    self.trouble = Some(trouble);
                }
                return;
            }
        };
        self.trouble = None;
        let digest = digest(&files);
        if self.latest.as_ref() == Some(&digest) {
            return;
        }
        self.latest = Some(digest);
        self.take(&files, proxy);
        // A folder without a bundle is not ready; a sidecar has one Stage.
        if self.bundles.has_changed() && self.bundles.stages().next().is_some() {
            let report = self.bundles.serve(proxy);
            tracing::info!(routes = report.routes, not_servable = report.broken.len(), "the bundle is live");
        }
    }

    fn take(&mut self, files: &BTreeMap<String, Vec<u8>>, proxy: &Proxy) {
        let names: HashSet<String> = files.keys().cloned().collect();
        self.bundles.retain(&names);
        let (indexes, rest): (Vec<_>, Vec<_>) =
            files.iter().partition(|(name, _)| *name == INDEX_KEY || name.ends_with(".index"));
        for (name, content) in rest {
            if name != PAYLOAD_KEY && !name.ends_with(".payload") {
                self.bundles.part(name, content);
            }
        }
        for (name, content) in indexes {
            let payload = match name.strip_suffix(".index") {
                Some(name) => files.get(&format!("{name}.payload")),
                None => files.get(PAYLOAD_KEY),
            };
            let came = self.bundles.index(name, |key| match key {
                INDEX_KEY => Some(content),
                PAYLOAD_KEY => payload.map(Vec::as_slice),
                _ => None,
            });
            match came {
                Came::Rejected => proxy.count_rejected(),
                Came::Nothing | Came::Read(_) => {}
            }
        }
        let stages: BTreeMap<String, bundle::StageKey> = self
            .bundles
            .stages()
            .map(|(key, stage)| (stage.map(|stage| stage.stage_name.clone()), key.clone()))
            .map(|(name, key)| {
                let live =
                    || proxy.live().stages.iter().find(|stage| stage.key == key).map(|stage| stage.name.to_string());
                (name.or_else(live).unwrap_or_else(|| key.name.clone()), key)
            })
            .collect();
        if !stages.is_empty() {
            let table = HostTable::Default { stages };
            let host = HostBundle {
                host: "*".to_owned(),
                certificate: Certificate::Local,
                refuse: None,
                requires: Default::default(),
                client_ca: None,
                table,
            };
            self.bundles.host(host);
        }
    }
}

/// The files of a mounted Secret. Kubernetes swaps a symbolic link: all of them are of one version.
fn read(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let version = folder.join("..data");
    let folder = if version.exists() { fs::canonicalize(version)? } else { folder.to_owned() };
    let mut left = MAX_TOTAL;
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let metadata = fs::metadata(entry.path())?;
        if name.starts_with('.') || !metadata.is_file() {
            continue;
        }
        left = left
            .checked_sub(metadata.len())
            .ok_or_else(|| io::Error::other(format!("the files have more than {MAX_TOTAL} bytes")))?;
        files.insert(name, fs::read(entry.path())?);
    }
    Ok(files)
}

fn digest(files: &BTreeMap<String, Vec<u8>>) -> Digest {
    let mut all = Vec::new();
    for (name, content) in files {
        all.extend_from_slice(format!("{name}\n{}\n", content.len()).as_bytes());
        all.extend_from_slice(content);
    }
    Digest::of(&all)
}
