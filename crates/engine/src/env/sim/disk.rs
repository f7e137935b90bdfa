//! The simulated disk's content: what programs read, what would survive a power cut, and the unsynced changes
//! between the two.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The unit that a device writes atomically, in bytes.
pub(super) const SECTOR: usize = 512;
const PAGE: usize = 4096;

type Page = [u8; PAGE];

/// Sparse bytes in pages shared between images until written.
#[derive(Clone, Default)]
pub(super) struct Content {
    pages: BTreeMap<u64, Arc<Page>>,
    len: u64,
    /// Bytes reserved by `allocate`.
    reserved: u64,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, mut offset: u64, mut buf: &mut [u8]) {
        while !buf.is_empty() {
            let within = (offset % PAGE as u64) as usize;
            let n = buf.len().min(PAGE - within);
            let (head, rest) = buf.split_at_mut(n);
            match self.pages.get(&(offset / PAGE as u64)) {
                Some(page) => head.copy_from_slice(&page[within..within + n]),
                None => head.fill(0),
            }
            offset += n as u64;
            buf = rest;
        }
    }

    pub(super) fn write(&mut self, mut offset: u64, mut data: &[u8]) {
        self.len = self.len.max(offset + data.len() as u64);
        while !data.is_empty() {
            let within = (offset % PAGE as u64) as usize;
            let n = data.len().min(PAGE - within);
            let page = self.pages.entry(offset / PAGE as u64).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + n].copy_from_slice(&data[..n]);
            offset += n as u64;
            data = &data[n..];
        }
    }

    /// Takes over the pages of `other` that hold `len` bytes at `offset`.
    fn share(&mut self, other: &Self, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        self.len = self.len.max(offset + len);
        for (number, page) in other.pages.range(offset / PAGE as u64..=(offset + len - 1) / PAGE as u64) {
            self.pages.insert(*number, page.clone());
        }
    }

    fn allocate(&mut self, len: u64) {
        self.len = self.len.max(len);
        self.reserved = self.reserved.max(len);
    }

    /// Space taken, bytes.
    fn charge(&self) -> u64 {
        let reserved_pages = self.reserved.div_ceil(PAGE as u64);
        let beyond = self.pages.range(reserved_pages..).count() as u64;
        (reserved_pages + beyond) * PAGE as u64
    }

    /// Space that the disk must find for a write of `len` bytes at `offset`, bytes.
    fn charge_of_write(&self, offset: u64, len: u64) -> u64 {
        if len == 0 {
            return 0;
        }
        let reserved_pages = self.reserved.div_ceil(PAGE as u64);
        let (first, last) = (offset / PAGE as u64, (offset + len - 1) / PAGE as u64);
        let missing = (first.max(reserved_pages)..=last).filter(|p| !self.pages.contains_key(p)).count();
        missing as u64 * PAGE as u64
    }
}

/// A change of a file not yet synced.
#[derive(Clone)]
pub(super) enum Change {
    Write(u64, Arc<[u8]>),
    Allocate(u64),
}

#[derive(Clone, Default)]
pub(super) struct Inode {
    /// What programs read.
    pub(super) current: Content,
    /// What the last sync made durable.
    durable: Content,
    /// Changes since, in order.
    unsynced: Vec<Change>,
    /// A failed sync left bytes in `current` that will never be durable.
    diverged: bool,
}

impl Inode {
    pub(super) fn change(&mut self, change: Change) {
        match &change {
            Change::Write(offset, data) => self.current.write(*offset, data),
            Change::Allocate(len) => self.current.allocate(*len),
        }
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self, rng: &mut ChaCha8Rng) {
        if self.diverged {
            return self.settle(Keep::All, rng);
        }
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write(offset, data) => self.durable.share(&self.current, offset, data.len() as u64),
                Change::Allocate(len) => self.durable.allocate(len),
            }
        }
    }

    /// The sync fails: part of what was unsynced is durable, the rest never will be, although it can be read.
    pub(super) fn fail_sync(&mut self, rng: &mut ChaCha8Rng) {
        self.settle(Keep::Each(0.5), rng);
        self.diverged = true;
    }

    /// Alters a byte in place, in what is read and in what is durable.
    pub(super) fn damage(&mut self, offset: u64, xor: u8) {
        for content in [&mut self.current, &mut self.durable] {
            if offset < content.len {
                let mut byte = [0];
                content.read(offset, &mut byte);
                content.write(offset, &[byte[0] ^ xor]);
            }
        }
    }

    /// A part of the unsynced changes reaches the device, sector by sector; the rest never will.
    fn settle(&mut self, keep: Keep, rng: &mut ChaCha8Rng) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write(offset, data) => {
                    let mut at = 0;
                    while at < data.len() {
                        let within = ((offset + at as u64) % SECTOR as u64) as usize;
                        let n = (data.len() - at).min(SECTOR - within);
                        if keep.draw(rng) {
                            self.durable.write(offset + at as u64, &data[at..at + n]);
                        }
                        at += n;
                    }
                }
                Change::Allocate(len) => {
                    if keep.draw(rng) {
                        self.durable.allocate(len);
                    }
                }
            }
        }
    }

    fn lose_current(&mut self) {
        self.current = self.durable.clone();
        self.diverged = false;
    }
}

/// How much of what was unsynced a crash keeps.
#[derive(Clone, Copy)]
enum Keep {
    Nothing,
    All,
    Each(f64),
}

impl Keep {
    /// Drawn for each file and folder: the extremes are as likely as a mixture.
    fn choose(rng: &mut ChaCha8Rng) -> Self {
        match rng.random_range(0..4) {
            0 => Self::Nothing,
            1 => Self::All,
            2 => Self::Each(0.5),
            _ => Self::Each(rng.random_range(0.02..0.98)),
        }
    }

    fn draw(self, rng: &mut ChaCha8Rng) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Each(p) => rng.random_bool(p),
        }
    }
}

/// A change of a folder not yet synced.
#[derive(Clone)]
enum DirChange {
    Put(PathBuf, u64),
    Remove(PathBuf),
    Rename { from: PathBuf, to: PathBuf, inode: u64 },
}

/// Names and contents. Cloning shares pages.
#[derive(Clone, Default)]
pub(super) struct Disk {
    inodes: BTreeMap<u64, Arc<Inode>>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Unsynced changes by folder. Folders themselves are durable when created.
    dir_changes: BTreeMap<PathBuf, Vec<DirChange>>,
    dirs: BTreeSet<PathBuf>,
    next_inode: u64,
}

impl Disk {
    pub(super) fn lookup(&self, path: &Path) -> Option<u64> {
        self.names.get(path).copied()
    }

    pub(super) fn inode(&self, inode: u64) -> Option<&Inode> {
        self.inodes.get(&inode).map(Arc::as_ref)
    }

    pub(super) fn inode_mut(&mut self, inode: u64) -> Option<&mut Inode> {
        self.inodes.get_mut(&inode).map(Arc::make_mut)
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || path == Path::new("/") || self.dirs.contains(path)
    }

    pub(super) fn create_dirs(&mut self, path: &Path) {
        for dir in path.ancestors() {
            self.dirs.insert(dir.to_owned());
        }
    }

    pub(super) fn list(&self, path: &Path) -> Vec<PathBuf> {
        let children = self.names.keys().chain(&self.dirs).filter(|p| p.parent() == Some(path));
        let names: BTreeSet<PathBuf> = children.filter_map(|p| p.file_name().map(PathBuf::from)).collect();
        names.into_iter().collect()
    }

    fn dir_change(&mut self, of: &Path, change: DirChange) {
        let dir = of.parent().unwrap_or(Path::new("")).to_owned();
        self.dir_changes.entry(dir).or_default().push(change);
    }

    pub(super) fn create(&mut self, path: &Path) -> u64 {
        self.next_inode += 1;
        let inode = self.next_inode;
        self.inodes.insert(inode, Arc::default());
        self.names.insert(path.to_owned(), inode);
        self.dir_change(path, DirChange::Put(path.to_owned(), inode));
        inode
    }

    pub(super) fn link(&mut self, inode: u64, to: &Path) {
        self.names.insert(to.to_owned(), inode);
        self.dir_change(to, DirChange::Put(to.to_owned(), inode));
    }

    pub(super) fn remove(&mut self, path: &Path) -> bool {
        let found = self.names.remove(path).is_some();
        if found {
            self.dir_change(path, DirChange::Remove(path.to_owned()));
        }
        found
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let Some(inode) = self.names.remove(from) else { return false };
        self.names.insert(to.to_owned(), inode);
        // Recorded with the new name's folder: the pair is one change and happens or not as one.
        self.dir_change(to, DirChange::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        true
    }

    pub(super) fn sync_dir(&mut self, path: &Path) {
        for change in self.dir_changes.remove(path).unwrap_or_default() {
            apply(&mut self.durable_names, change);
        }
    }

    /// Space taken by files that have a name, bytes.
    pub(super) fn used(&self) -> u64 {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        named.iter().filter_map(|i| self.inode(*i)).map(|i| i.current.charge()).sum()
    }

    /// Space that `change` of a file would take, bytes.
    pub(super) fn growth(&self, inode: u64, change: &Change) -> u64 {
        let Some(inode) = self.inode(inode) else { return 0 };
        match change {
            Change::Write(offset, data) => inode.current.charge_of_write(*offset, data.len() as u64),
            Change::Allocate(len) => {
                let mut after = inode.current.clone();
                after.allocate(*len);
                after.charge() - inode.current.charge()
            }
        }
    }

    /// Power is cut: a seeded part of what was unsynced is kept, the rest is gone.
    pub(super) fn crash(&mut self, rng: &mut ChaCha8Rng) {
        for inode in self.inodes.values_mut() {
            let inode = Arc::make_mut(inode);
            inode.settle(Keep::choose(rng), rng);
            inode.lose_current();
        }
        for (_, changes) in std::mem::take(&mut self.dir_changes) {
            let keep = Keep::choose(rng);
            for change in changes {
                if keep.draw(rng) {
                    apply(&mut self.durable_names, change);
                }
            }
        }
        self.names = self.durable_names.clone();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|inode, _| named.contains(inode));
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: DirChange) {
    match change {
        DirChange::Put(path, inode) => {
            names.insert(path, inode);
        }
        DirChange::Remove(path) => {
            names.remove(&path);
        }
        DirChange::Rename { from, to, inode } => {
            if names.get(&from) == Some(&inode) {
                names.remove(&from);
            }
            names.insert(to, inode);
        }
    }
}
