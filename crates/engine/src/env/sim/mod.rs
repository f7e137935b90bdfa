//! A deterministic disk in memory. One [`SimEnv`] is the disk of one node.
//!
//! Programs read the *current* content. A power cut ([`SimEnv::crash`]) returns to the synced content, plus a
//! seeded part of what was not synced: for each file some 512-byte sectors of the unsynced writes, for each
//! folder some of the unsynced creations, renames and removals. All randomness comes from the disk's seeds,
//! so a run repeats exactly.

mod disk;

use super::{Env, File, OpenMode};
use crate::{Error, Result};
use disk::{Change, Disk};
use parking_lot::Mutex;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A simulated disk. Clones are handles on the same disk; [`SimEnv::clone_image`] copies it.
#[derive(Clone)]
pub struct SimEnv {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Clone)]
struct Shared {
    disk: Disk,
    /// Rises at each crash: files opened and locks taken before it are dead.
    boot: u64,
    locks: BTreeSet<PathBuf>,
    rng: ChaCha8Rng,
    faults: Faults,
    /// Operations that change something, since creation.
    operations: u64,
    syncs: u64,
    capture: Option<Vec<(u64, SimEnv)>>,
}

#[derive(Clone, Copy, Default)]
struct Faults {
    /// Number of syncs that succeed before one fails.
    fail_sync_after: Option<u64>,
    /// Number of writes that succeed before one fails.
    fail_write_after: Option<u64>,
    /// Number of writes that reach the right place before one reaches another.
    misdirect_after: Option<u64>,
    /// Number of writes that reach the disk before one reports success without doing so.
    drop_write_after: Option<u64>,
    lying_sync: bool,
    stalled: bool,
    capacity: Option<u64>,
    log_writes_durable: bool,
}

impl Default for SimEnv {
    fn default() -> Self {
        Self::new(0)
    }
}

impl SimEnv {
    /// An empty disk. `seed` decides how much of its data a failed sync leaves behind.
    pub fn new(seed: u64) -> Self {
        let shared = Shared {
            disk: Disk::default(),
            boot: 0,
            locks: BTreeSet::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            faults: Faults::default(),
            operations: 0,
            syncs: 0,
            capture: None,
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Cuts the power: unsynced changes are lost or kept in part, decided by `seed`. Open files are dead
    /// (every operation fails), locks are free, and the one-time faults are cleared (capacity, lying sync and
    /// the stall flag stay).
    pub fn crash(&self, seed: u64) {
        let mut shared = self.shared.lock();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        shared.disk.crash(&mut rng);
        shared.rng = rng;
        shared.reboot();
    }

    /// The process dies but the machine lives: nothing is lost; open files are dead and locks are free.
    pub fn kill(&self) {
        self.shared.lock().reboot();
    }

    /// A copy of the disk as it is now, unsynced changes included, with nothing open and nothing locked. Call
    /// [`SimEnv::crash`] on the copy for the image after a power cut at this point.
    pub fn clone_image(&self) -> Self {
        let mut copy = {
            let shared = self.shared.lock();
            Shared {
                capture: None,
                disk: shared.disk.clone(),
                locks: BTreeSet::new(),
                rng: shared.rng.clone(),
                ..*shared
            }
        };
        copy.reboot();
        Self { shared: Arc::new(Mutex::new(copy)) }
    }

    /// From now on keeps an image after every operation that changes something (see [`SimEnv::take_images`]).
    pub fn capture_images(&self) {
        self.shared.lock().capture = Some(Vec::new());
    }

    /// The images kept since [`SimEnv::capture_images`], each with its operation number; stops capturing.
    pub fn take_images(&self) -> Vec<(u64, SimEnv)> {
        self.shared.lock().capture.take().unwrap_or_default()
    }

    /// Number of operations so far that changed something (write, allocate, sync, create, rename, remove,
    /// link, folder sync).
    pub fn operations(&self) -> u64 {
        self.shared.lock().operations
    }

    /// Number of file syncs so far.
    pub fn syncs(&self) -> u64 {
        self.shared.lock().syncs
    }

    /// The `nth` file sync from now (1 = the next) fails; a seeded part of what it should have written is
    /// durable, the rest will never be, although it can still be read.
    pub fn fail_sync(&self, nth: u64) {
        self.shared.lock().faults.fail_sync_after = Some(nth.saturating_sub(1));
    }

    /// The `nth` write from now (1 = the next) fails and changes nothing.
    pub fn fail_write(&self, nth: u64) {
        self.shared.lock().faults.fail_write_after = Some(nth.saturating_sub(1));
    }

    /// The `nth` write from now (1 = the next) lands 4 KiB away from where it should, in the same file, and
    /// reports success.
    pub fn misdirect_write(&self, nth: u64) {
        self.shared.lock().faults.misdirect_after = Some(nth.saturating_sub(1));
    }

    /// The `nth` write from now (1 = the next) reports success and does nothing.
    pub fn drop_write(&self, nth: u64) {
        self.shared.lock().faults.drop_write_after = Some(nth.saturating_sub(1));
    }

    /// Takes back the failures planned with [`SimEnv::fail_sync`] and [`SimEnv::fail_write`] that have not
    /// struck yet.
    pub fn cancel_planned(&self) {
        let faults = &mut self.shared.lock().faults;
        (faults.fail_sync_after, faults.fail_write_after) = (None, None);
        (faults.misdirect_after, faults.drop_write_after) = (None, None);
    }

    /// Syncs report success and make nothing durable.
    pub fn set_lying_sync(&self, on: bool) {
        self.shared.lock().faults.lying_sync = on;
    }

    /// Marks the disk stalled. Operations still work: whoever drives the node asks [`SimEnv::stalled`] before
    /// each turn of disk work and puts it off.
    pub fn set_stalled(&self, on: bool) {
        self.shared.lock().faults.stalled = on;
    }

    /// Whether the disk is marked stalled.
    pub fn stalled(&self) -> bool {
        self.shared.lock().faults.stalled
    }

    /// Limits the disk to `bytes`; what does not fit fails with [`Error::DiskFull`]. `None`: no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.lock().faults.capacity = bytes;
    }

    /// Space taken, bytes.
    pub fn used(&self) -> u64 {
        self.shared.lock().disk.used()
    }

    /// Makes writes to files opened with [`OpenMode::Log`] durable when they return, as `O_DSYNC` does. Off
    /// at first, which shows more crash states.
    pub fn set_log_writes_durable(&self, on: bool) {
        self.shared.lock().faults.log_writes_durable = on;
    }

    /// Flips one bit of a file, in what is read and in what is durable. False if there is no such byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let mut shared = self.shared.lock();
        let Some(inode) = shared.disk.lookup(path) else { return false };
        let Some(inode) = shared.disk.inode_mut(inode) else { return false };
        inode.damage(offset, 1 << (bit % 8));
        offset < inode.current.len()
    }
}

impl Shared {
    fn reboot(&mut self) {
        self.boot += 1;
        self.locks.clear();
        self.faults.fail_sync_after = None;
        self.faults.fail_write_after = None;
        self.faults.misdirect_after = None;
        self.faults.drop_write_after = None;
    }

    fn check_space(&self, path: &Path, growth: u64) -> Result<()> {
        match self.faults.capacity {
            Some(capacity) if growth > 0 && self.disk.used() + growth > capacity => {
                Err(Error::DiskFull { path: path.to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn parent_exists(&self, path: &Path) -> bool {
        path.parent().is_none_or(|dir| self.disk.is_dir(dir))
    }

    /// Counts a change that was just made and keeps an image if asked to.
    fn changed(&mut self) {
        self.operations += 1;
        if self.capture.is_some() {
            let mut copy = Shared {
                capture: None,
                disk: self.disk.clone(),
                locks: BTreeSet::new(),
                rng: self.rng.clone(),
                ..*self
            };
            copy.reboot();
            let image = SimEnv { shared: Arc::new(Mutex::new(copy)) };
            let operation = self.operations;
            if let Some(images) = &mut self.capture {
                images.push((operation, image));
            }
        }
    }
}

fn failure(op: &'static str, path: &Path, kind: io::ErrorKind, why: &'static str) -> Error {
    Error::Io { op, path: path.to_owned(), source: io::Error::new(kind, why) }
}

fn not_found(op: &'static str, path: &Path) -> Error {
    failure(op, path, io::ErrorKind::NotFound, "no such file or folder")
}

/// Counts down; true when it is this one's turn to fail.
fn due(countdown: &mut Option<u64>) -> bool {
    match countdown {
        Some(0) => {
            *countdown = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

impl Env for SimEnv {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let mut shared = self.shared.lock();
        let inode = match (shared.disk.lookup(path), mode) {
            (Some(_), OpenMode::CreateNew) => {
                return Err(failure("open", path, io::ErrorKind::AlreadyExists, "the file exists"));
            }
            (Some(inode), _) => inode,
            (None, OpenMode::Read) => return Err(not_found("open", path)),
            (None, _) => {
                if !shared.parent_exists(path) {
                    return Err(not_found("open", path));
                }
                let inode = shared.disk.create(path);
                shared.changed();
                inode
            }
        };
        Ok(Arc::new(SimFile { env: self.clone(), path: path.to_owned(), inode, mode, boot: shared.boot }))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.shared.lock().disk.create_dirs(path);
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let shared = self.shared.lock();
        if !shared.disk.is_dir(path) {
            return Err(not_found("list", path));
        }
        Ok(shared.disk.list(path))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut shared = self.shared.lock();
        if !shared.disk.remove(path) {
            return Err(not_found("remove", path));
        }
        shared.changed();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut shared = self.shared.lock();
        if !shared.parent_exists(to) || !shared.disk.rename(from, to) {
            return Err(not_found("rename", from));
        }
        shared.changed();
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        let mut shared = self.shared.lock();
        if !shared.disk.is_dir(path) {
            return Err(not_found("sync folder", path));
        }
        if !shared.faults.lying_sync {
            shared.disk.sync_dir(path);
        }
        shared.changed();
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        let mut shared = self.shared.lock();
        let Some(inode) = shared.disk.lookup(from) else { return Err(not_found("link", from)) };
        if shared.disk.lookup(to).is_some() {
            return Err(failure("link", to, io::ErrorKind::AlreadyExists, "the file exists"));
        }
        if !shared.parent_exists(to) {
            return Err(not_found("link", to));
        }
        shared.disk.link(inode, to);
        shared.changed();
        Ok(())
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        let shared = self.shared.lock();
        Ok(shared.disk.lookup(path).is_some() || shared.disk.is_dir(path))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        let mut shared = self.shared.lock();
        if !shared.locks.insert(path.to_owned()) {
            return Err(Error::Locked(path.to_owned()));
        }
        Ok(Box::new(SimLock { env: self.clone(), path: path.to_owned(), boot: shared.boot }))
    }
}

struct SimLock {
    env: SimEnv,
    path: PathBuf,
    boot: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut shared = self.env.shared.lock();
        if shared.boot == self.boot {
            shared.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    env: SimEnv,
    path: PathBuf,
    inode: u64,
    mode: OpenMode,
    boot: u64,
}

impl SimFile {
    fn change(&self, op: &'static str, mut change: Change) -> Result<()> {
        let mut guard = self.env.shared.lock();
        let shared = &mut *guard;
        self.alive(shared, op)?;
        if self.mode == OpenMode::Read {
            return Err(failure(op, &self.path, io::ErrorKind::PermissionDenied, "opened for reading"));
        }
        if matches!(change, Change::Write(..)) && due(&mut shared.faults.fail_write_after) {
            return Err(failure(op, &self.path, io::ErrorKind::Other, "planned fault"));
        }
        if let Change::Write(offset, _) = &mut change {
            if due(&mut shared.faults.drop_write_after) {
                shared.changed();
                return Ok(());
            }
            if due(&mut shared.faults.misdirect_after) {
                *offset = offset.checked_sub(4096).unwrap_or(*offset + 4096);
            }
        }
        shared.check_space(&self.path, shared.disk.growth(self.inode, &change))?;
        let durable =
            self.mode == OpenMode::Log && shared.faults.log_writes_durable && !shared.faults.lying_sync;
        let inode = shared.disk.inode_mut(self.inode).ok_or_else(|| not_found(op, &self.path))?;
        inode.change(change);
        if durable {
            inode.sync(&mut shared.rng);
        }
        shared.changed();
        Ok(())
    }

    fn alive(&self, shared: &Shared, op: &'static str) -> Result<()> {
        if shared.boot == self.boot {
            return Ok(());
        }
        Err(failure(op, &self.path, io::ErrorKind::Other, "opened before the crash"))
    }
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let shared = self.env.shared.lock();
        self.alive(&shared, "read")?;
        let inode = shared.disk.inode(self.inode).ok_or_else(|| not_found("read", &self.path))?;
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > inode.current.len()) {
            return Err(failure(
                "read",
                &self.path,
                io::ErrorKind::UnexpectedEof,
                "past the end of the file",
            ));
        }
        inode.current.read(offset, buf);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.change("write", Change::Write(offset, data.into()))
    }

    fn sync(&self) -> Result<()> {
        let mut guard = self.env.shared.lock();
        let shared = &mut *guard;
        self.alive(shared, "sync")?;
        shared.syncs += 1;
        let fails = due(&mut shared.faults.fail_sync_after);
        let inode = shared.disk.inode_mut(self.inode).ok_or_else(|| not_found("sync", &self.path))?;
        if fails {
            inode.fail_sync(&mut shared.rng);
        } else if !shared.faults.lying_sync {
            inode.sync(&mut shared.rng);
        }
        shared.changed();
        if fails { Err(failure("sync", &self.path, io::ErrorKind::Other, "planned fault")) } else { Ok(()) }
    }

    fn len(&self) -> Result<u64> {
        let shared = self.env.shared.lock();
        self.alive(&shared, "stat")?;
        Ok(shared.disk.inode(self.inode).ok_or_else(|| not_found("stat", &self.path))?.current.len())
    }

    fn allocate(&self, len: u64) -> Result<()> {
        self.change("allocate", Change::Allocate(len))
    }
}

#[cfg(test)]
mod tests;
