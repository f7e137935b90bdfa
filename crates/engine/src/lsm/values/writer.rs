//! Writes value files, one after another. Each is closed at its target size.

use super::format::{Pointer, ValueMeta, header, put_record};
use crate::Result;
use crate::env::OpenMode;
use crate::lsm::file_writer::FileWriter;
use crate::lsm::files::TableFolder;
use crate::lsm::table::Compression;
use std::sync::atomic::{AtomicU64, Ordering};

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
    out: FileWriter,
    number: u64,
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
                let mut out = FileWriter::new(file);
                out.append(|buf| buf.extend_from_slice(&header(number)))?;
                none.insert(Open { out, number, records: 0, bytes: 0 })
            }
        };
        let (number, offset) = (open.number, open.out.offset());
        let (compression, scratch) = (self.layout.compression, &mut self.scratch);
        let pointer =
            open.out.append(|buf| put_record(number, offset, key, value, compression, scratch, buf))?;
        open.records += 1;
        open.bytes += pointer.record_bytes();
        if open.out.offset() >= self.layout.file_bytes {
            self.close()?;
        }
        Ok(pointer)
    }

    fn close(&mut self) -> Result<()> {
        let Some(Open { out, number, records, bytes }) = self.open.take() else { return Ok(()) };
        let (size, checksum) = out.finish(!self.layout.skip_sync)?;
        self.done.push(ValueMeta { number, size, checksum, records, bytes });
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
