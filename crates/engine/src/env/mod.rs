//! The engine's access to files. Every file operation of this crate goes through the trait [`Env`].
//!
//! There are two implementations. [`RealEnv`] is the operating system; the binary uses it. [`SimEnv`] is a
//! seeded disk in memory; the simulation gives one to each node. It loses unsynced writes, tears writes,
//! flips bits, fails syncs and fills up, and its crash images can be cloned at any operation.
//!
//! Nothing here may read a clock or draw randomness of its own.

mod real;
mod sim;

pub use real::RealEnv;
pub use sim::SimEnv;

use crate::Result;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A writable or readable file. All methods take `&self`; positions are explicit.
pub trait File: Send + Sync {
    /// Reads exactly `buf.len()` bytes at `offset`; an `UnexpectedEof` error if the file is shorter.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;
    /// Writes all of `data` at `offset`, extending the file where needed. Not durable until [`File::sync`].
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()>;
    /// As [`File::write_at`], but a file opened with [`OpenMode::Log`] does not make it durable either. For
    /// bytes whose loss nobody would notice: no sync need cover them.
    fn write_unsynced_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.write_at(offset, data)
    }
    /// Makes all earlier writes of this file (and its length) durable.
    fn sync(&self) -> Result<()>;
    /// Starts carrying `len` bytes at `offset` to the device without waiting, so that a later [`File::sync`]
    /// of a large file does not flood the device at once. A hint: nothing is durable before the sync.
    fn start_writeback(&self, _offset: u64, _len: u64) {}
    /// Says that what was read so far will not be read again, so that the system need not keep it in memory.
    /// A hint.
    fn forget(&self) {}
    /// Length in bytes.
    fn len(&self) -> Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reserves space for `len` bytes; may be a no-op.
    fn allocate(&self, len: u64) -> Result<()>;
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing, for reading.
    Read,
    /// New (fails if it exists), for reading and writing.
    CreateNew,
    /// Existing or new, for reading and writing, contents kept.
    ReadWrite,
    /// As `ReadWrite`, each write durable when it returns where the device can (`O_DIRECT|O_DSYNC`, aligned
    /// to 4 KiB).
    Log,
}

/// Files and folders. Paths are absolute or relative to the process, as the caller opened the engine.
pub trait Env: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>>;
    /// Creates a folder and its parents, where missing, durably.
    fn create_dir_all(&self, path: &Path) -> Result<()>;
    /// Names (not paths) in a folder, sorted.
    fn list(&self, path: &Path) -> Result<Vec<PathBuf>>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Atomically renames a file; durable after [`Env::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Makes creations, renames and removals in a folder durable.
    fn sync_dir(&self, path: &Path) -> Result<()>;
    /// Hard-links a file.
    fn link(&self, from: &Path, to: &Path) -> Result<()>;
    /// Whether the path exists.
    fn exists(&self, path: &Path) -> Result<bool>;
    /// Takes an existing folder's exclusive lock (a file `LOCK` in it, on a real disk), held until the guard
    /// drops; [`crate::Error::Locked`] if another process has it.
    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>>;
}

fn io_error(op: &'static str, path: &Path, source: std::io::Error) -> crate::Error {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => crate::Error::DiskFull { path: path.to_owned() },
        _ => crate::Error::Io { op, path: path.to_owned(), source },
    }
}
