//! Writes a file sequentially in large pieces, with a checksum over the whole file. Used for tables and value
//! files.

use crate::Result;
use crate::env::File;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// Bytes collected before a write to the file.
const WRITE_CHUNK: usize = 512 << 10;

/// See the module's comment. What is not yet written is lost if it is dropped.
pub(crate) struct FileWriter {
    file: Arc<dyn File>,
    buf: Vec<u8>,
    /// File offset where `buf` goes.
    written: u64,
    sum: Xxh3,
}

impl FileWriter {
    /// For a file that is empty.
    pub(crate) fn new(file: Arc<dyn File>) -> Self {
        Self { file, buf: Vec::with_capacity(WRITE_CHUNK + (64 << 10)), written: 0, sum: Xxh3::new() }
    }

    /// File offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.written + self.buf.len() as u64
    }

    /// Appends what `fill` pushes onto the buffer, whose earlier contents it must leave alone.
    pub(crate) fn append<T>(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> T) -> Result<T> {
        let done = fill(&mut self.buf);
        if self.buf.len() >= WRITE_CHUNK {
            self.flush()?;
        }
        Ok(done)
    }

    fn flush(&mut self) -> Result<()> {
        if !self.buf.is_empty() {
            self.file.write_at(self.written, &self.buf)?;
            // In slices: at its end a file has little left to sync, and the log's syncs do not queue behind
            // all of it.
            self.file.start_writeback(self.written, self.buf.len() as u64);
            self.sum.update(&self.buf);
            self.written += self.buf.len() as u64;
            self.buf.clear();
        }
        Ok(())
    }

    /// Writes what is left and, if told to, syncs: the file's size and checksum.
    pub(crate) fn finish(mut self, sync: bool) -> Result<(u64, u64)> {
        self.flush()?;
        if sync {
            self.file.sync()?;
        }
        Ok((self.written, self.sum.digest()))
    }
}
