//! Word of changes from the file system.
//!
//! A watch on a file is a watch on its inode, and dies when the file is renamed over or a link
//! leads elsewhere. So folders are watched: the one that an entry is in and the one above, and
//! those of every link on the way. Word of any of these entries means no more than that it is
//! time to look.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::inputs::Inputs;
use crate::keys::source;

/// A watch over some files, until it is dropped.
pub(super) struct Watch {
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Tells `changed` whenever one of these may have changed.
    ///
    /// Where the system gives no word, or not of every folder, that is logged, and nothing else
    /// happens: somebody looks now and then anyway.
    pub(super) fn over(inputs: &Inputs, changed: Arc<Notify>) -> Self {
        let entries = Entries::of(inputs);
        let folders: Vec<PathBuf> = entries.0.keys().cloned().collect();
        let tell = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| entries.concern(&event)) {
                changed.notify_one();
            }
        };
        let mut watcher = match RecommendedWatcher::new(tell, Config::default()) {
            Ok(watcher) => watcher,
            Err(error) => {
                warn!(%error, "no word of changed files; they are looked at every [reload] poll");
                return Self { _watcher: None };
            }
        };
        for folder in folders {
            if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
                debug!(folder = %folder.display(), %error, "no word of changes in a folder");
            }
        }
        Self {
            _watcher: Some(watcher),
        }
    }
}

/// What is looked for, by the folders it is in.
struct Entries(BTreeMap<PathBuf, Names>);

/// Which entries of a folder.
enum Names {
    All,
    These(BTreeSet<OsString>),
}

impl Entries {
    fn of(inputs: &Inputs) -> Self {
        let mut entries = Self(BTreeMap::new());
        for path in inputs.iter() {
            entries.follow(path, 0);
            // In a folder of keys, each may be a link to somewhere else.
            if path.is_dir()
                && let Ok(listing) = source::list_key_files(path)
            {
                let links = listing.files.iter().filter(|file| file.is_symlink());
                links.for_each(|link| entries.follow(link, 0));
            }
        }
        entries
    }

    /// Adds a path and, where a part of it is a link, where that leads to.
    fn follow(&mut self, path: &Path, links: usize) {
        let folders = path.parent().into_iter().chain(path.ancestors().nth(2));
        for (entry, folder) in path.ancestors().zip(folders) {
            self.add(folder, entry.file_name());
        }
        if path.is_dir() {
            self.0.insert(path.to_owned(), Names::All);
        }
        if links == MAX_LINKS {
            return;
        }
        for part in path.ancestors() {
            if let (Ok(target), Some(folder)) = (fs::read_link(part), part.parent()) {
                self.add(folder, part.file_name());
                let rest = path.strip_prefix(part).unwrap_or(Path::new(""));
                let mut target = folder.join(target);
                if rest != Path::new("") {
                    target.push(rest);
                }
                self.follow(&target, links + 1);
            }
        }
    }

    fn add(&mut self, folder: &Path, name: Option<&OsStr>) {
        let Some(name) = name else { return };
        let names = self
            .0
            .entry(folder.to_owned())
            .or_insert_with(|| Names::These(BTreeSet::new()));
        if let Names::These(names) = names {
            names.insert(name.to_owned());
        }
    }

    fn concern(&self, event: &Event) -> bool {
        // Our own reading is an event, too.
        let is_reading = matches!(event.kind, EventKind::Access(kind)
            if kind != AccessKind::Close(AccessMode::Write));
        let concerns = |path: &PathBuf| {
            let folder = path.parent().and_then(|folder| self.0.get(folder));
            self.0.contains_key(path)
                || match (folder, path.file_name()) {
                    (Some(Names::All), _) => true,
                    (Some(Names::These(names)), Some(name)) => names.contains(name),
                    (Some(Names::These(_)), None) | (None, _) => false,
                }
        };
        !is_reading && (event.need_rescan() || event.paths.iter().any(concerns))
    }
}

/// As many as the kernel follows (path_resolution(7)) would take, and no loop.
const MAX_LINKS: usize = 8;
