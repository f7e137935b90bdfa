//! [`Env`] on the operating system's files.

// Only this file calls the operating system for files.
#![allow(clippy::disallowed_methods)]

use super::{Env, File, OpenMode, io_error};
use crate::{Error, Result};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Direct transfers must start, end and lie in memory on this boundary, in bytes.
const DIRECT_ALIGN: usize = 4096;

/// Files of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealEnv;

impl RealEnv {
    /// The operating system's files.
    pub fn new() -> Self {
        Self
    }
}

impl Env for RealEnv {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::ReadWrite | OpenMode::Log => {
                options.write(true).create(true).truncate(false);
            }
        }
        let file = options.open(path).map_err(|e| io_error("open", path, e))?;
        if mode == OpenMode::Read {
            advise_random(&file);
        }
        let (direct, unsynced) = match mode {
            OpenMode::Log => (open_direct(path, true), open_direct(path, false)),
            _ => (None, None),
        };
        Ok(Arc::new(RealFile {
            path: path.to_owned(),
            file,
            direct,
            unsynced,
            direct_works: AtomicBool::new(true),
            // What an earlier process wrote may still be unsynced.
            written: AtomicU64::new(1),
            synced: AtomicU64::new(0),
        }))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        let missing = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
        std::fs::create_dir_all(path).map_err(|e| io_error("create folder", path, e))?;
        // Each new folder's name lies in its parent.
        for parent in path.ancestors().skip(1).take(missing) {
            self.sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let mut names = std::fs::read_dir(path)
            .and_then(|entries| {
                entries.map(|e| e.map(|e| PathBuf::from(e.file_name()))).collect::<io::Result<Vec<_>>>()
            })
            .map_err(|e| io_error("list", path, e))?;
        names.sort();
        Ok(names)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        std::fs::remove_file(path).map_err(|e| io_error("remove", path, e))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to).map_err(|e| io_error("rename", from, e))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        std::fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| io_error("sync folder", path, e))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::hard_link(from, to).map_err(|e| io_error("link", from, e))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        path.try_exists().map_err(|e| io_error("look up", path, e))
    }

    /// Takes `flock` on the file `LOCK` in the folder. The file stays when the guard drops.
    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        let lock_path = path.join("LOCK");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|e| io_error("open", &lock_path, e))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Box::new(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked(path.to_owned())),
            Err(e) => Err(io_error("lock", &lock_path, e.into())),
        }
    }
}

/// Point reads come in no order. Without the hint the kernel reads ahead around them and evicts pages that it
/// should keep. Sequential readers ask for long pieces themselves.
#[cfg(target_os = "linux")]
fn advise_random(file: &std::fs::File) {
    // A hint: a file system that refuses it works without it.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
}

#[cfg(not(target_os = "linux"))]
fn advise_random(_file: &std::fs::File) {}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path, synced: bool) -> Option<std::fs::File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::DIRECT | if synced { OFlags::DSYNC } else { OFlags::empty() };
    // Refused by some file systems, which then get plain writes and a sync.
    OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path, _synced: bool) -> Option<std::fs::File> {
    None
}

struct RealFile {
    path: PathBuf,
    file: std::fs::File,
    /// A second descriptor with `O_DIRECT|O_DSYNC`, for aligned writes of log files.
    direct: Option<std::fs::File>,
    /// A third with `O_DIRECT` alone, for aligned writes that may be lost.
    unsynced: Option<std::fs::File>,
    /// Cleared when the file system accepts the flag but not the write.
    direct_works: AtomicBool,
    /// Counts changes that need a sync; `synced` is the count that the last successful sync covered.
    written: AtomicU64,
    synced: AtomicU64,
}

impl RealFile {
    /// `direct`, one of this file's descriptors, if it can take the write.
    fn usable<'a>(
        &self,
        direct: &'a Option<std::fs::File>,
        offset: u64,
        data: &[u8],
    ) -> Option<&'a std::fs::File> {
        let aligned = (data.as_ptr() as usize).is_multiple_of(DIRECT_ALIGN)
            && data.len().is_multiple_of(DIRECT_ALIGN)
            && offset.is_multiple_of(DIRECT_ALIGN as u64);
        let direct = direct.as_ref()?;
        (aligned && self.direct_works.load(Ordering::Relaxed)).then_some(direct)
    }
}

impl File for RealFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|e| io_error("read", &self.path, e))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        if let Some(direct) = self.usable(&self.direct, offset, data) {
            match direct.write_all_at(data, offset) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => {
                    self.direct_works.store(false, Ordering::Relaxed);
                }
                Err(e) => return Err(io_error("write", &self.path, e)),
            }
        }
        let result = self.file.write_all_at(data, offset).map_err(|e| io_error("write", &self.path, e));
        self.written.fetch_add(1, Ordering::AcqRel);
        result
    }

    fn write_unsynced_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        if let Some(unsynced) = self.usable(&self.unsynced, offset, data)
            && unsynced.write_all_at(data, offset).is_ok()
        {
            return Ok(());
        }
        self.write_at(offset, data)
    }

    fn sync(&self) -> Result<()> {
        let written = self.written.load(Ordering::Acquire);
        // Direct writes are durable when they return: nothing to do unless something else was changed.
        if self.direct.is_some() && self.synced.load(Ordering::Acquire) >= written {
            return Ok(());
        }
        self.file.sync_data().map_err(|e| io_error("sync", &self.path, e))?;
        self.synced.fetch_max(written, Ordering::AcqRel);
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn start_writeback(&self, offset: u64, len: u64) {
        // The kernel then starts to write dirty pages, because it cannot drop them before. A refusal does no
        // harm.
        let _ = rustix::fs::fadvise(
            &self.file,
            offset,
            std::num::NonZeroU64::new(len),
            rustix::fs::Advice::DontNeed,
        );
    }

    #[cfg(target_os = "linux")]
    fn forget(&self) {
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    fn len(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|e| io_error("stat", &self.path, e))?.len())
    }

    fn allocate(&self, len: u64) -> Result<()> {
        self.written.fetch_add(1, Ordering::AcqRel);
        #[cfg(target_os = "linux")]
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            done => return done.map_err(|e| io_error("allocate", &self.path, e.into())),
        }
        if self.len()? < len {
            self.file.set_len(len).map_err(|e| io_error("allocate", &self.path, e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_and_locks() {
        let dir = tempfile::tempdir().unwrap();
        let env = RealEnv::new();
        let sub = dir.path().join("a/b");
        env.create_dir_all(&sub).unwrap();
        let path = sub.join("x");
        assert!(!env.exists(&path).unwrap());
        let file = env.open(&path, OpenMode::CreateNew).unwrap();
        assert!(env.open(&path, OpenMode::CreateNew).is_err());
        file.write_at(3, b"abc").unwrap();
        file.sync().unwrap();
        assert_eq!(file.len().unwrap(), 6);
        let mut buf = [9; 6];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(&buf, b"\0\0\0abc");
        assert!(file.read_at(1, &mut buf).is_err(), "past the end");
        env.link(&path, &sub.join("y")).unwrap();
        env.rename(&path, &sub.join("z")).unwrap();
        env.sync_dir(&sub).unwrap();
        assert_eq!(env.list(&sub).unwrap(), [PathBuf::from("y"), PathBuf::from("z")]);
        env.remove(&sub.join("y")).unwrap();
        let guard = env.lock(&sub).unwrap();
        assert!(matches!(env.lock(&sub), Err(Error::Locked(_))));
        drop(guard);
        drop(env.lock(&sub).unwrap());
    }

    #[test]
    fn log_mode_takes_aligned_and_unaligned_writes() {
        let dir = tempfile::tempdir().unwrap();
        let env = RealEnv::new();
        let file = env.open(&dir.path().join("log"), OpenMode::Log).unwrap();
        file.allocate(64 << 10).unwrap();
        let raw = vec![7u8; 3 * DIRECT_ALIGN];
        let start = raw.as_ptr().align_offset(DIRECT_ALIGN);
        file.write_at(8192, &raw[start..start + DIRECT_ALIGN]).unwrap();
        file.sync().unwrap();
        file.write_unsynced_at(16384, &raw[start..start + 2 * DIRECT_ALIGN]).unwrap();
        file.write_at(1, b"unaligned").unwrap();
        file.sync().unwrap();
        let mut buf = vec![0; 2 * DIRECT_ALIGN];
        file.read_at(16384, &mut buf).unwrap();
        assert!(buf.iter().all(|b| *b == 7));
        let mut buf = vec![0; DIRECT_ALIGN];
        file.read_at(8192, &mut buf).unwrap();
        assert!(buf.iter().all(|b| *b == 7));
        let mut buf = [0; 9];
        file.read_at(1, &mut buf).unwrap();
        assert_eq!(&buf, b"unaligned");
    }
}
