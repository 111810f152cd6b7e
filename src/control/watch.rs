//! Word of changes from the file system.
//!
//! A watch on a file is a watch on its inode, and dies when the file is renamed over or a link
//! leads elsewhere. So folders are watched as well: all that one passes on the way to it, for any of
//! them may be replaced, and those of every link on the way. Word of any of these entries means no
//! more than that it is time to look.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::inputs::Inputs;
use crate::keys::source;

/// A watch over some files.
pub(super) struct Watch {
    /// `None` where the system gives no word at all.
    watcher: Option<RecommendedWatcher>,
    word: Arc<Mutex<Word>>,
    /// What is watched, and what stood there when it began to be.
    watched: BTreeMap<PathBuf, Inode>,
    /// Whether the system had no more watches to give, and that was told.
    is_exhausted: bool,
}

/// A device and a number on it.
type Inode = (u64, u64);

impl Watch {
    /// Tells `changed` whenever one of these may have changed.
    ///
    /// Where the system gives no word, or not of everything, that is logged, and nothing else
    /// happens: somebody looks now and then anyway.
    pub(super) fn over(inputs: &Inputs, changed: Arc<Notify>) -> Self {
        let word = Arc::new(Mutex::new(Word::default()));
        let heard = word.clone();
        let tell = move |event: notify::Result<Event>| {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            if event.is_ok_and(|event| heard.concerns_us(event)) {
                changed.notify_one();
            }
        };
        let watcher = RecommendedWatcher::new(tell, Config::default());
        let mut watch = Self {
            watcher: watcher
                .inspect_err(|error| {
                    warn!(%error, "no word of changed files; they are looked at every [reload] poll");
                })
                .ok(),
            word,
            watched: BTreeMap::new(),
            is_exhausted: false,
        };
        watch.turn_to(inputs);
        watch
    }

    /// Watches these, as they are there now: what was replaced has taken its watch along.
    pub(super) fn turn_to(&mut self, inputs: &Inputs) {
        // What came into a folder before that was watched gave no word.
        for _ in 0..MAX_STEPS {
            if !self.step_to(inputs) {
                return;
            }
        }
    }

    /// A file that somebody has written to and not closed, so that there is more to come; unless
    /// there has been nothing for long.
    pub(super) fn being_written(&self) -> Option<PathBuf> {
        let mut word = self.word.lock().unwrap_or_else(PoisonError::into_inner);
        word.being_written
            .retain(|_, last| last.elapsed() < SILENCE);
        word.being_written.keys().next().cloned()
    }

    /// Watches what there is to be watched at this moment, and says whether some of that is new.
    fn step_to(&mut self, inputs: &Inputs) -> bool {
        let entries = Entries::of(inputs);
        let wanted = entries.inodes();
        let mut word = self.word.lock().unwrap_or_else(PoisonError::into_inner);
        word.entries = entries;
        let gone = std::mem::take(&mut word.gone);
        drop(word);
        self.let_go(&wanted, &gone);
        self.watch_more(wanted)
    }

    /// Ends the watches over what is not wanted any more, or has been replaced.
    fn let_go(&mut self, wanted: &BTreeMap<PathBuf, Inode>, gone: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let mut unwatched = BTreeSet::new();
        self.watched.retain(|path, inode| {
            let is_same = wanted.get(path) == Some(inode) && !gone.contains(path);
            if !is_same {
                // It may have ended by itself.
                let _ = watcher.unwatch(path);
                unwatched.insert(path.clone());
            }
            is_same
        });
        let mut word = self.word.lock().unwrap_or_else(PoisonError::into_inner);
        // Of what is in a folder that has gone, nobody will tell that it was closed.
        let has_gone = |file: &Path| {
            file.parent()
                .is_some_and(|folder| unwatched.contains(folder))
        };
        word.being_written.retain(|file, _| !has_gone(file));
    }

    /// Begins those that are missing, and says whether there are any.
    fn watch_more(&mut self, wanted: BTreeMap<PathBuf, Inode>) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        let (mut has_new, mut is_exhausted) = (false, false);
        for (path, inode) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, inode);
                    has_new = true;
                }
                Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => {
                    is_exhausted = true;
                }
                Err(error) => debug!(path = %path.display(), %error, "no word of changes there"),
            }
        }
        if is_exhausted && !self.is_exhausted {
            warn!(
                "no word of some changes, files are looked at every [reload] poll: \
                 fs.inotify.max_user_watches are used up"
            );
        }
        self.is_exhausted = is_exhausted;
        has_new
    }
}

/// What the system may tell, and what it has told.
#[derive(Default)]
struct Word {
    entries: Entries,
    /// What was written to and has not been closed, and when that was last.
    being_written: BTreeMap<PathBuf, Instant>,
    /// What was watched and has been taken away. Its watch is over even if something stands there
    /// again, which may well be the same inode.
    gone: BTreeSet<PathBuf>,
}

impl Word {
    fn concerns_us(&mut self, event: Event) -> bool {
        let concerns_us = self.entries.concern(&event);
        self.note_writing(&event);
        if let EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) = event.kind {
            let watched = |path: &PathBuf| self.entries.0.contains_key(path);
            self.gone.extend(event.paths.into_iter().filter(watched));
        }
        concerns_us
    }

    fn note_writing(&mut self, event: &Event) {
        if event.need_rescan() {
            // Words were lost, and a close may be among them.
            self.being_written.clear();
        }
        let is_write = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
        let is_end = matches!(
            event.kind,
            EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Remove(_)
                | EventKind::Modify(ModifyKind::Name(_))
        );
        for path in &event.paths {
            if is_end {
                self.being_written.remove(path);
            } else if is_write && self.entries.include(path) {
                self.being_written.insert(path.clone(), Instant::now());
            }
        }
    }
}

/// What is looked for, by the folder it is in or, for a single file, by the file.
#[derive(Default)]
struct Entries(BTreeMap<PathBuf, Names>);

/// Which entries of a folder.
enum Names {
    All,
    These(BTreeSet<OsString>),
}

impl Names {
    const fn none() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Entries {
    fn of(inputs: &Inputs) -> Self {
        let mut entries = Self::default();
        let mut walked = BTreeSet::new();
        for path in inputs.paths() {
            entries.follow(path, 0, &mut walked);
            // A file that is mounted alone changes without its folder's knowing.
            if path.is_file() {
                entries.at(path);
            }
            if path.is_dir() {
                entries.list(path, &mut walked);
            }
        }
        entries
    }

    /// Adds the key files of a folder: each may be a link to somewhere else, or be mounted.
    fn list(&mut self, folder: &Path, walked: &mut BTreeSet<PathBuf>) {
        let (Ok(listing), Ok(real)) = (source::list_key_files(folder), folder.canonicalize())
        else {
            return;
        };
        for file in &listing.files {
            let kind = fs::symlink_metadata(file).map(|metadata| metadata.file_type());
            match (kind, file.file_name()) {
                (Ok(kind), _) if kind.is_symlink() => {
                    self.follow(file, 0, walked);
                    self.at(file);
                }
                // There may be a thousand of them, so one does not ask the system where it is.
                (Ok(kind), Some(name)) if kind.is_file() => {
                    self.0.entry(real.join(name)).or_insert_with(Names::none);
                }
                (Ok(_) | Err(_), _) => {}
            }
        }
    }

    /// Adds a path and, where a part of it is a link, where that leads to. Folders that were walked
    /// before are on many a way.
    fn follow(&mut self, path: &Path, links: usize, walked: &mut BTreeSet<PathBuf>) {
        // `keys/` is what the link `keys` leads to, and `keys` is the link.
        let path: &Path = &path.components().collect::<PathBuf>();
        for (entry, folder) in path.ancestors().zip(path.ancestors().skip(1)) {
            self.add(folder, entry.file_name());
            if !walked.insert(folder.to_owned()) {
                break;
            }
        }
        if path.is_dir() {
            *self.at(path) = Names::All;
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
                self.follow(&target, links + 1, walked);
            }
        }
    }

    fn add(&mut self, folder: &Path, name: Option<&OsStr>) {
        if let (Some(name), Names::These(names)) = (name, self.at(folder)) {
            names.insert(name.to_owned());
        }
    }

    /// What is looked for at a place, which is one, by whatever name one comes to it: the system
    /// knows one watch for it, and tells of it under one name.
    fn at(&mut self, path: &Path) -> &mut Names {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.0.entry(path).or_insert_with(Names::none)
    }

    /// What stands at these places, where there is something.
    fn inodes(&self) -> BTreeMap<PathBuf, Inode> {
        let there = self.0.keys().filter_map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((path.clone(), (metadata.dev(), metadata.ino())))
        });
        there.collect()
    }

    /// Whether this is a file that is looked for, and no stranger in a folder of keys.
    fn include(&self, path: &Path) -> bool {
        let folder = path.parent().and_then(|folder| self.0.get(folder));
        match (folder, path.file_name()) {
            (Some(Names::All), _) => source::is_key_file_name(path),
            (Some(Names::These(names)), Some(name)) => names.contains(name),
            (Some(Names::These(_)), None) | (None, _) => self.0.contains_key(path),
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

/// How long a writer may be silent and still be believed to go on. It may never close the file, and
/// that it did may not have been told.
const SILENCE: Duration = Duration::from_secs(30);

/// As many as the kernel follows (path_resolution(7)) would take, and no loop.
const MAX_LINKS: usize = 8;

/// How often one looks again at once for what came meanwhile: folders below each other, of which
/// each is made just before it is looked for.
const MAX_STEPS: usize = 8;
