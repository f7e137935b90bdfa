//! A live value file: opened on first use, kept open while a version refers to it, removed with the last
//! reference.

use super::format::{HEADER, Pointer, ValueMeta, check_header, corrupt, open_record, walk};
use crate::env::{File, OpenMode};
use crate::lsm::files::{Garbage, TableFolder};
use crate::{Error, Result};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use xxhash_rust::xxh3::xxh3_64;

/// A value file of a version and how much of it the version's tables refer to.
#[derive(Clone, Debug)]
pub(crate) struct LiveValues {
    pub(crate) file: Arc<ValueFile>,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl LiveValues {
    /// Bytes of records that no table refers to.
    pub(crate) fn garbage(&self) -> u64 {
        self.file.meta.bytes.saturating_sub(self.bytes)
    }
}

/// See the module's comment.
pub(crate) struct ValueFile {
    pub(crate) meta: ValueMeta,
    folder: Arc<TableFolder>,
    open: OnceLock<Arc<dyn File>>,
    obsolete: AtomicBool,
}

impl ValueFile {
    pub(crate) fn new(meta: ValueMeta, folder: Arc<TableFolder>) -> Arc<Self> {
        Arc::new(Self { meta, folder, open: OnceLock::new(), obsolete: AtomicBool::new(false) })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.values_path(self.meta.number)
    }

    fn file(&self) -> Result<&Arc<dyn File>> {
        match self.open.get() {
            Some(file) => Ok(file),
            None => self.open_file(),
        }
    }

    #[cold]
    fn open_file(&self) -> Result<&Arc<dyn File>> {
        let path = self.path();
        let file = self.folder.env.open(&path, OpenMode::Read)?;
        let actual = file.len()?;
        if actual != self.meta.size || actual < HEADER as u64 {
            let detail = format!("file has {actual} bytes, the manifest says {}", self.meta.size);
            return Err(corrupt(&path, actual.min(self.meta.size), detail));
        }
        let mut data = vec![0; HEADER];
        file.read_at(0, &mut data)?;
        let number = check_header(&data, &path)?;
        if number != self.meta.number {
            return Err(corrupt(&path, 0, format!("the header is that of file {number}")));
        }
        Ok(self.open.get_or_init(|| file))
    }

    /// The value that `pointer`, found under `key`, stands for. It does not share memory with anything.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with file and offset if it is not there whole, or belongs to another key.
    pub(crate) fn read(&self, pointer: Pointer, key: &[u8]) -> Result<Bytes> {
        let file = self.file()?;
        let wrong = |detail: String| corrupt(&self.path(), pointer.offset, detail);
        if !pointer.fits(self.meta.size) {
            return Err(wrong(format!("a pointer to {} bytes reaches beyond the file", pointer.len)));
        }
        let mut sealed = vec![0; pointer.len as usize];
        file.read_at(pointer.offset, &mut sealed)?;
        let stored = u64::from_le_bytes(sealed[sealed.len() - 8..].try_into().expect("eight bytes"));
        if stored != pointer.checksum {
            return Err(wrong(format!(
                "checksum is {stored:016x}, the pointer says {:016x}",
                pointer.checksum
            )));
        }
        let (own, value) = open_record(sealed, self.meta.number, pointer.offset, &self.path())?;
        if own[..] != *key {
            return Err(wrong("the record is another key's".into()));
        }
        Ok(value)
    }

    /// Reads all of the file: every record, and what the manifest says of it.
    pub(crate) fn verify(&self) -> Result<()> {
        let path = self.path();
        let mut data = vec![0; usize::try_from(self.meta.size).unwrap_or(usize::MAX)];
        self.file()?.read_at(0, &mut data)?;
        let (mut records, mut bytes) = (0, 0);
        walk(&data, &path, |pointer, _, _| {
            records += 1;
            bytes += pointer.record_bytes();
            Ok(())
        })?;
        let m = &self.meta;
        let sum = xxh3_64(&data);
        if (records, bytes, sum) != (m.records, m.bytes, m.checksum) {
            return Err(corrupt(
                &path,
                0,
                format!(
                    "{records} records of {bytes} bytes with file checksum {sum:016x}, the manifest says {}, {} and {:016x}",
                    m.records, m.bytes, m.checksum
                ),
            ));
        }
        Ok(())
    }

    /// The file goes when the last reference goes.
    pub(crate) fn mark_obsolete(&self) {
        self.obsolete.store(true, Ordering::Relaxed);
    }

    /// The error of a pointer into a file that no version has.
    pub(crate) fn missing(folder: &TableFolder, pointer: Pointer) -> Error {
        let detail = "a table points to it, but the tree has no such file".to_string();
        corrupt(&folder.values_path(pointer.file), pointer.offset, detail)
    }
}

impl Drop for ValueFile {
    fn drop(&mut self) {
        if *self.obsolete.get_mut() {
            self.folder.discard(Garbage::Values(self.meta.number));
        }
    }
}

impl std::fmt::Debug for ValueFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}B", self.meta.number, self.meta.size)
    }
}
