//! Writes value files: one after another, each closed at its target size.

use super::format::{Pointer, ValueMeta, header, put_record};
use crate::Result;
use crate::env::{File, OpenMode};
use crate::lsm::files::TableFolder;
use crate::lsm::table::Compression;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use xxhash_rust::xxh3::Xxh3;

/// Bytes collected before a write to the file.
const WRITE_CHUNK: usize = 512 << 10;

/// How value files are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueLayout {
    /// Values from this length on are kept apart.
    pub(crate) separate_bytes: usize,
    /// Size at which a file is closed.
    pub(crate) file_bytes: u64,
    pub(crate) compression: Compression,
    /// A planted bug: files are not synced.
    pub(crate) skip_sync: bool,
}

struct Open {
    file: Arc<dyn File>,
    number: u64,
    buf: Vec<u8>,
    /// File offset where `buf` goes.
    written: u64,
    sum: Xxh3,
    records: u64,
    bytes: u64,
}

/// See the module's comment. Creates nothing before the first value.
pub(crate) struct ValueWriter<'a> {
    folder: &'a TableFolder,
    next_file: &'a AtomicU64,
    layout: ValueLayout,
    open: Option<Open>,
    done: Vec<ValueMeta>,
    /// Numbers of all files created, to be removed if what they are for fails.
    pub(crate) created: Vec<u64>,
    scratch: Vec<u8>,
}

impl<'a> ValueWriter<'a> {
    pub(crate) fn new(folder: &'a TableFolder, next_file: &'a AtomicU64, layout: ValueLayout) -> Self {
        Self {
            folder,
            next_file,
            layout,
            open: None,
            done: Vec::new(),
            created: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Whether a value goes here.
    #[inline]
    pub(crate) fn takes(&self, value: &[u8]) -> bool {
        value.len() >= self.layout.separate_bytes
    }

    /// Appends a value.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<Pointer> {
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let number = self.next_file.fetch_add(1, Ordering::Relaxed);
                let file = self.folder.env.open(&self.folder.values_path(number), OpenMode::CreateNew)?;
                self.created.push(number);
                let (buf, sum) = (header(number), Xxh3::new());
                none.insert(Open { file, number, buf, written: 0, sum, records: 0, bytes: 0 })
            }
        };
        let offset = open.written + open.buf.len() as u64;
        let (compression, scratch) = (self.layout.compression, &mut self.scratch);
        let pointer = put_record(open.number, offset, key, value, compression, scratch, &mut open.buf);
        open.records += 1;
        open.bytes += pointer.record_bytes();
        if open.buf.len() >= WRITE_CHUNK {
            open.flush()?;
        }
        if open.written + open.buf.len() as u64 >= self.layout.file_bytes {
            self.close()?;
        }
        Ok(pointer)
    }

    fn close(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.flush()?;
        if !self.layout.skip_sync {
            open.file.sync()?;
        }
        self.done.push(ValueMeta {
            number: open.number,
            size: open.written,
            checksum: open.sum.digest(),
            records: open.records,
            bytes: open.bytes,
        });
        Ok(())
    }

    /// Completes and syncs the files. The folder is the caller's to sync.
    pub(crate) fn finish(&mut self) -> Result<Vec<ValueMeta>> {
        self.close()?;
        Ok(std::mem::take(&mut self.done))
    }

    /// Removes what was written.
    pub(crate) fn abandon(&mut self) {
        self.open = None;
        for &number in &self.created {
            let _ = self.folder.env.remove(&self.folder.values_path(number));
        }
    }
}

impl Open {
    fn flush(&mut self) -> Result<()> {
        if !self.buf.is_empty() {
            self.file.write_at(self.written, &self.buf)?;
            self.file.start_writeback(self.written, self.buf.len() as u64);
            self.sum.update(&self.buf);
            self.written += self.buf.len() as u64;
            self.buf.clear();
        }
        Ok(())
    }
}
