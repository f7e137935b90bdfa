//! Interleavings without threads: a hook runs at a chosen moment of a file operation.

use super::*;
use crate::env::{File, OpenMode};
use parking_lot::Mutex;

pub(super) type Hook = Box<dyn FnOnce() + Send>;

/// A simulated disk that runs a hook as a write or read begins: what other threads do meanwhile.
#[derive(Clone)]
pub(super) struct Meanwhile {
    env: SimEnv,
    hooks: Arc<Mutex<Hooks>>,
}

#[derive(Default)]
struct Hooks {
    /// With the number of writes before which it runs.
    write: Option<(u64, Hook)>,
    read: Option<Hook>,
}

impl Meanwhile {
    pub(super) fn new(env: &SimEnv) -> Self {
        Self { env: env.clone(), hooks: Arc::default() }
    }

    /// Runs `hook` as the `nth` write from now begins (1 = the next).
    pub(super) fn at_write(&self, nth: u64, hook: Hook) {
        self.hooks.lock().write = Some((nth, hook));
    }

    /// Runs `hook` as the next read begins.
    pub(super) fn at_read(&self, hook: Hook) {
        self.hooks.lock().read = Some(hook);
    }

    /// The hook of a write that did not come.
    pub(super) fn left_over(&self) -> Option<Hook> {
        self.hooks.lock().write.take().map(|(_, hook)| hook)
    }
}

impl Env for Meanwhile {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        Ok(Arc::new(MeanwhileFile { file: self.env.open(path, mode)?, hooks: self.hooks.clone() }))
    }
    fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.env.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> Result<Vec<PathBuf>> {
        self.env.list(path)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.env.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.env.rename(from, to)
    }
    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.env.sync_dir(path)
    }
    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.env.link(from, to)
    }
    fn exists(&self, path: &Path) -> Result<bool> {
        self.env.exists(path)
    }
    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        self.env.lock(path)
    }
}

struct MeanwhileFile {
    file: Arc<dyn File>,
    hooks: Arc<Mutex<Hooks>>,
}

impl File for MeanwhileFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let due = self.hooks.lock().read.take();
        if let Some(run) = due {
            run();
        }
        self.file.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let due = {
            let mut hooks = self.hooks.lock();
            if let Some((writes, _)) = &mut hooks.write {
                *writes -= 1;
            }
            hooks.write.take_if(|(writes, _)| *writes == 0)
        };
        if let Some((_, run)) = due {
            run();
        }
        self.file.write_at(offset, data)
    }
    fn sync(&self) -> Result<()> {
        self.file.sync()
    }
    fn len(&self) -> Result<u64> {
        self.file.len()
    }
    fn allocate(&self, len: u64) -> Result<()> {
        self.file.allocate(len)
    }
}
