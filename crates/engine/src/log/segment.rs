//! Segment files: creating and naming them, and the writes to them.

use super::format::{BATCH_HEADER, BLOCK, BatchHeader, BatchKind, SegmentHeader};
use super::options::LogOptions;
use crate::env::{File, OpenMode};
use crate::{Env, Lsn, Result};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Settings and handles that never change while the log is open.
pub(super) struct Context {
    pub(super) env: Arc<dyn Env>,
    pub(super) dir: PathBuf,
    pub(super) options: LogOptions,
}

/// An open segment file, whatever it holds.
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    /// Space reserved, bytes.
    capacity: AtomicU64,
    /// Whether its name is durable.
    named: AtomicBool,
    /// Below this byte the device has real blocks for the file, so that writes change no metadata.
    filled: AtomicU64,
}

/// Zeros written at once while filling a segment that is in use, bytes: the log waits for as long.
const FILL_BYTES: u64 = 256 << 10;

impl SegmentFile {
    pub(super) fn new(path: PathBuf, file: Arc<dyn File>, capacity: u64, named: bool) -> Self {
        let filled = AtomicU64::new(if named { capacity } else { 0 });
        Self { path, file, capacity: AtomicU64::new(capacity), named: AtomicBool::new(named), filled }
    }

    /// Creates the file of a slot and reserves its space. On failure nothing stays.
    pub(super) fn create(context: &Context, slot: u64, bytes: u64) -> Result<Self> {
        let path = context.dir.join(file_name(slot));
        let file = context.env.open(&path, OpenMode::Log)?;
        if let Err(error) = file.allocate(bytes) {
            let _ = context.env.remove(&path);
            return Err(error);
        }
        Ok(Self::new(path, file, bytes, false))
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Reserves more space.
    pub(super) fn grow(&self, bytes: u64) -> Result<()> {
        if bytes > self.capacity() {
            self.file.allocate(bytes)?;
            self.capacity.store(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes the file's name durable.
    pub(super) fn sync_name(&self, context: &Context) -> Result<()> {
        if !self.named.load(Ordering::Acquire) {
            context.env.sync_dir(&context.dir)?;
            self.named.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Writes zeros over the whole of a file not in use.
    pub(super) fn fill(&self) -> Result<()> {
        let mut buffer = AlignedBuffer::default();
        while !self.is_filled() {
            self.fill_some(0, &mut buffer)?;
        }
        self.file.sync()
    }

    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed) >= self.capacity()
    }

    /// The log's own writes allocate blocks just as zeros do.
    fn note_written(&self, start: u64, end: u64) {
        if start <= self.filled.load(Ordering::Relaxed).max(2 * BLOCK) {
            self.filled.fetch_max(end, Ordering::Relaxed);
        }
    }

    /// Writes the next zeros, at or above `from`.
    fn fill_some(&self, from: u64, buffer: &mut AlignedBuffer) -> Result<()> {
        let start = self.filled.load(Ordering::Relaxed).max(from);
        let len = self.capacity().saturating_sub(start).min(FILL_BYTES);
        if len > 0 {
            // Not synced: each sync would wait for the file system's journal, a hundred times as long as the
            // write. The log's own writes there are synced, and with them what they need of the file's
            // metadata.
            self.file.write_unsynced_at(start, buffer.zeroed(len as usize))?;
        }
        self.filled.store(start + len, Ordering::Relaxed);
        Ok(())
    }
}

/// Name of a slot's file.
pub(super) fn file_name(slot: u64) -> String {
    format!("{slot:08}.seg")
}

/// The slot of a file name, if it is one.
pub(super) fn slot_of(name: &std::path::Path) -> Option<u64> {
    name.to_str()?.strip_suffix(".seg")?.parse().ok()
}

/// A write decided under the lock, carried out after it.
pub(super) enum WriteOp {
    /// Starts a segment: its header, then its table.
    Start { segment: Arc<SegmentFile>, header: SegmentHeader, table: Vec<u8>, next_lsn: Lsn },
    /// The appends gathered since the last one.
    Batch { segment: Arc<SegmentFile>, header: BatchHeader, salt: u64, units: Vec<Bytes> },
}

/// Carries out writes, one at a time, in order.
#[derive(Default)]
pub(super) struct Writer {
    buffer: AlignedBuffer,
    /// The segment written last, and how far.
    written: Option<(Arc<SegmentFile>, u64)>,
}

impl Writer {
    /// The log continues in `segment` at `end`.
    pub(super) fn resume(segment: Arc<SegmentFile>, end: u64) -> Self {
        Self { written: Some((segment, end)), ..Self::default() }
    }

    /// Writes some zeros behind the end of what was written, where the segment has no real blocks yet; false
    /// if it has all. Appends that already have a place there are written later, over the zeros.
    pub(super) fn fill_ahead(&mut self) -> bool {
        let Some((segment, end)) = self.written.as_ref().filter(|(segment, _)| !segment.is_filled()) else {
            return false;
        };
        if let Err(error) = segment.fill_some(*end, &mut self.buffer) {
            // Nothing was lost. If the device is failing, the write of the next batch reports it.
            tracing::warn!(%error, "a log segment could not be filled ahead");
            segment.filled.store(segment.capacity(), Ordering::Relaxed);
        }
        true
    }

    /// Writes and syncs; returns the bytes written.
    pub(super) fn perform(&mut self, context: &Context, op: &WriteOp) -> Result<u64> {
        match op {
            WriteOp::Start { segment, header, table, next_lsn } => {
                segment.sync_name(context)?;
                let block = self.buffer.zeroed(BLOCK as usize);
                let encoded = header.encode();
                block[..encoded.len()].copy_from_slice(&encoded);
                // Durable before anything else of this generation is written: a generation seen on disk is
                // never given to a second segment, so no batch of it can be left over from an attempt cut
                // short.
                segment.file.write_at(0, block)?;
                sync(context, segment)?;
                let batch = BatchHeader {
                    generation: header.generation,
                    offset: BLOCK,
                    durable_through: BLOCK,
                    first_lsn: *next_lsn,
                    units: 0,
                    payload_len: table.len() as u32,
                    payload_crc: crc32c::crc32c(table),
                    kind: BatchKind::Table,
                };
                self.write_batch(segment, &batch, header.salt, &[table])?;
                sync(context, segment)?;
                Ok(BLOCK + batch.span())
            }
            WriteOp::Batch { segment, header, salt, units } => {
                let mut header = header.clone();
                header.payload_crc = units.iter().fold(0, |crc, unit| crc32c::crc32c_append(crc, unit));
                if context.options.faults.wrong_recycle_generation {
                    header.generation = 0;
                }
                self.write_batch(segment, &header, *salt, units)?;
                sync(context, segment)?;
                Ok(header.span())
            }
        }
    }

    fn write_batch<T: AsRef<[u8]>>(
        &mut self,
        segment: &Arc<SegmentFile>,
        header: &BatchHeader,
        salt: u64,
        parts: &[T],
    ) -> Result<()> {
        let block = self.buffer.prepare(header.span() as usize);
        block[..BATCH_HEADER].copy_from_slice(&header.encode(salt));
        let mut at = BATCH_HEADER;
        for part in parts.iter().map(AsRef::as_ref) {
            block[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        block[at..].fill(0);
        segment.file.write_at(header.offset, block)?;
        self.buffer.shrink();
        let end = header.offset + header.span();
        segment.note_written(header.offset, end);
        self.written = Some((segment.clone(), end));
        Ok(())
    }
}

fn sync(context: &Context, segment: &SegmentFile) -> Result<()> {
    if context.options.faults.skip_sync {
        return Ok(());
    }
    segment.file.sync()
}

/// Memory that starts on a block boundary, as direct writes demand.
#[derive(Default)]
struct AlignedBuffer {
    raw: Vec<u8>,
}

impl AlignedBuffer {
    /// Kept between writes up to this size, bytes.
    const KEEP: usize = 8 << 20;

    /// `len` bytes with arbitrary contents.
    fn prepare(&mut self, len: usize) -> &mut [u8] {
        if self.raw.len() < len + BLOCK as usize {
            self.raw = vec![0; (len + BLOCK as usize).next_power_of_two()];
        }
        let start = self.raw.as_ptr().align_offset(BLOCK as usize);
        &mut self.raw[start..start + len]
    }

    fn zeroed(&mut self, len: usize) -> &mut [u8] {
        let buffer = self.prepare(len);
        buffer.fill(0);
        buffer
    }

    fn shrink(&mut self) {
        if self.raw.len() > Self::KEEP {
            self.raw = Vec::new();
        }
    }
}
