//! The log's state under its lock: the entries held, the open batch, the segments, and which of them may be
//! recycled.
//!
//! An append gets its place in a segment here at once, because the start of the next batch is known as soon
//! as the one before it is sealed. Nothing in this file waits for a write. The only file operation is
//! creating a segment when no spare one exists.

use super::format::{BATCH_HEADER, BLOCK, BatchHeader, BatchKind, SegmentHeader, Unit, align};
use super::options::LogMetrics;
use super::recent::RecentAppends;
use super::segment::{Context, SegmentFile, WriteOp};
use super::streams::{Place, Streams};
use super::{ENGINE_STREAM, Record};
use crate::{Error, Lsn, Result};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A segment that holds entries, or did until they died.
pub(super) struct Segment {
    pub(super) file: Arc<SegmentFile>,
    /// Where its last batch ends, bytes; set when the next segment is started.
    pub(super) end: u64,
    /// The append that took its last live entry; meaningful only while it has none.
    pub(super) dead_at: Lsn,
}

/// The batch being gathered.
#[derive(Default)]
pub(super) struct OpenBatch {
    /// Where it will be written, bytes.
    pub(super) start: u64,
    /// Encoded bytes so far.
    len: u64,
    units: Vec<Bytes>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) streams: Streams,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// Free segments, used in turn. They keep their old contents until they are started again.
    pub(super) spares: VecDeque<Arc<SegmentFile>>,
    /// Free segments beyond the number that is kept, to be deleted.
    pub(super) trash: Vec<Arc<SegmentFile>>,
    pub(super) next_slot: u64,
    pub(super) max_generation: u64,
    /// Generation of the segment being written; 0 before the first.
    pub(super) active: u64,
    pub(super) active_salt: u64,
    /// The newest segment whose table is durable: older ones serve only for their live entries.
    pub(super) durable_table: u64,
    pub(super) open: OpenBatch,
    sealed: Vec<WriteOp>,
    pub(super) next_lsn: Lsn,
    pub(super) durable: Lsn,
    recent: RecentAppends,
    /// No segment could be prepared ahead; not tried again until the next one is started.
    pub(super) no_space_ahead: bool,
    /// Some append asked to be synced now.
    pub(super) wants_sync: bool,
    pub(super) failed: bool,
    pub(super) closed: bool,
    pub(super) metrics: LogMetrics,
    /// Size of the last batches, bytes, the latest counting most.
    batch_bytes: u64,
}

/// A segment that is to be made ready ahead.
pub(super) struct PlannedSpare {
    pub(super) slot: u64,
    pub(super) bytes: u64,
    /// Whether with zeros.
    pub(super) fill: bool,
}

/// Mean size of batches from which on no zeros are written ahead of them, bytes.
const LARGE_BATCHES: u64 = 128 << 10;

/// Where an entry can be read.
pub(super) enum Source {
    Memory(Bytes),
    Disk(Arc<SegmentFile>, Place),
}

impl State {
    /// Holds nothing, not even a segment.
    pub(super) fn new() -> Self {
        Self { next_lsn: 1, ..Self::default() }
    }

    pub(super) fn append(&mut self, context: &Context, unit: Unit, records: &[Record]) -> Result<Lsn> {
        if self.failed {
            return Err(Error::Poisoned);
        }
        if self.closed {
            let source = std::io::Error::other("the log is closed");
            return Err(Error::Io { op: "append", path: context.dir.clone(), source });
        }
        let has_entries = records.iter().any(|r| matches!(r, Record::Entry { .. }));
        self.make_room(context, unit.bytes.len() as u64, has_entries)?;

        let lsn = self.next_lsn;
        let base = self.open.start + BATCH_HEADER as u64 + self.open.len;
        for (record, start) in records.iter().zip(&unit.starts) {
            match record {
                Record::Entry { stream, index, payload } => {
                    let place = Place { offset: base as u32 + start, len: payload.len() as u32 };
                    self.streams.entry(*stream, *index, self.active, place);
                }
                // A copy, so that a long-lived blob does not keep the caller's whole buffer alive.
                Record::State { stream, blob } => self.streams.state(*stream, Bytes::copy_from_slice(blob)),
                Record::TruncatePrefix { stream, through } => self.streams.truncate_prefix(*stream, *through),
                Record::Drop { stream } => self.streams.drop_stream(*stream),
            }
        }
        self.note_emptied(lsn);
        self.next_lsn += 1;
        self.metrics.appends += 1;
        self.metrics.records += records.len() as u64;
        self.metrics.bytes_appended += unit.bytes.len() as u64;
        self.metrics.pending_bytes += unit.bytes.len() as u64;
        self.open.len += unit.bytes.len() as u64;
        self.recent.push(self.active, base, lsn, unit.bytes.clone());
        self.open.units.push(unit.bytes);
        Ok(lsn)
    }

    fn note_emptied(&mut self, lsn: Lsn) {
        for generation in self.streams.take_emptied() {
            if let Some(segment) = self.segments.get_mut(&generation) {
                segment.dead_at = lsn;
            }
        }
    }

    /// Makes sure that the open batch can take `bytes` more, starting a segment if it must.
    fn make_room(&mut self, context: &Context, bytes: u64, has_entries: bool) -> Result<()> {
        let reserve = if has_entries { context.options.reserve_bytes() } else { 0 };
        let end = |open: &OpenBatch| align(open.start + BATCH_HEADER as u64 + open.len + bytes);
        let capacity = self.segments.get(&self.active).map_or(0, |s| s.file.capacity());
        if end(&self.open) + reserve <= capacity {
            return Ok(());
        }
        self.start_segment(context)?;
        let Some(segment) = self.segments.get(&self.active) else { return Ok(()) };
        // An append larger than a segment makes its segment larger.
        segment.file.grow(end(&self.open) + reserve)
    }

    /// Seals the open batch and continues in a spare or new segment, which begins with a table of everything
    /// held.
    pub(super) fn start_segment(&mut self, context: &Context) -> Result<()> {
        let open_end = self.open_end();
        let active = self.active;
        let ends = |g: u64| if g == active { open_end } else { self.segments.get(&g).map_or(0, |s| s.end) };
        let table = self.streams.table(ends).encode();
        let start = align(BLOCK + BATCH_HEADER as u64 + table.len() as u64);
        if start > 1 << 30 {
            let source = std::io::Error::other("the table of streams exceeds 1 GiB");
            return Err(Error::Io { op: "start segment", path: context.dir.clone(), source });
        }
        // Room for at least as much data as half a segment, however many streams there are.
        let segment_bytes = self.spares.front().map_or_else(|| self.next_bytes(context), |s| s.capacity());
        let bytes = segment_bytes.max(align(start + segment_bytes / 2));
        let file = match self.spares.pop_front() {
            Some(spare) => {
                if let Err(error) = spare.grow(bytes) {
                    self.spares.push_front(spare);
                    return Err(error);
                }
                self.metrics.segments_recycled += 1;
                spare
            }
            None => {
                let file = SegmentFile::create(context, self.next_slot, bytes)?;
                self.next_slot += 1;
                self.metrics.segments_created += 1;
                Arc::new(file)
            }
        };
        self.seal();
        let last_lsn = self.next_lsn - 1;
        let live = self.streams.live(active);
        if let Some(segment) = self.segments.get_mut(&active) {
            segment.end = open_end;
            if live == 0 {
                segment.dead_at = last_lsn;
            }
        }
        self.no_space_ahead = false;
        self.max_generation += 1;
        let header = SegmentHeader {
            generation: self.max_generation,
            previous: active,
            previous_end: open_end,
            salt: context.options.salt,
        };
        self.active = header.generation;
        self.active_salt = header.salt;
        self.segments.insert(header.generation, Segment { file: file.clone(), end: 0, dead_at: last_lsn });
        self.sealed.push(WriteOp::Start { segment: file, header, table, next_lsn: self.next_lsn });
        self.open = OpenBatch { start, ..OpenBatch::default() };
        Ok(())
    }

    /// Size of the next new segment: twice what the log has, up to the size that all have in the end.
    pub(super) fn next_bytes(&self, context: &Context) -> u64 {
        let used = self.segments.values().map(|s| s.file.capacity());
        let all: u64 = used.chain(self.spares.iter().map(|s| s.capacity())).sum();
        align(2 * all).clamp(context.options.first_bytes(), context.options.segment_bytes())
    }

    /// Where the segment being written ends, counting the open batch; 0 before the first segment.
    fn open_end(&self) -> u64 {
        if self.open.units.is_empty() {
            return self.open.start;
        }
        align(self.open.start + BATCH_HEADER as u64 + self.open.len)
    }

    /// Closes the open batch; the next one starts behind it.
    fn seal(&mut self) {
        let Some(segment) = self.segments.get(&self.active).filter(|_| !self.open.units.is_empty()) else {
            return;
        };
        let end = self.open_end();
        let open = std::mem::replace(&mut self.open, OpenBatch { start: end, ..OpenBatch::default() });
        let header = BatchHeader {
            generation: self.active,
            offset: open.start,
            // One write is in flight at a time, so all before it is durable when this one is issued.
            durable_through: open.start,
            first_lsn: self.next_lsn - open.units.len() as u64,
            units: open.units.len() as u32,
            payload_len: open.len as u32,
            payload_crc: 0,
            kind: BatchKind::Units,
        };
        let segment = segment.file.clone();
        self.sealed.push(WriteOp::Batch { segment, header, salt: self.active_salt, units: open.units });
    }

    /// Everything to write now, in order, and the number that will be durable then.
    pub(super) fn take_writes(&mut self) -> (Vec<WriteOp>, Lsn) {
        self.seal();
        self.wants_sync = false;
        (std::mem::take(&mut self.sealed), self.next_lsn - 1)
    }

    /// Appends in the open batch.
    pub(super) fn gathered(&self) -> usize {
        self.open.units.len()
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.sealed.is_empty() || !self.open.units.is_empty()
    }

    /// Writes up to `durable` are done: frees segments and memory.
    pub(super) fn written(&mut self, context: &Context, ops: Vec<WriteOp>, durable: Lsn, bytes: u64) {
        for op in ops {
            match op {
                WriteOp::Start { header, .. } => self.durable_table = header.generation,
                WriteOp::Batch { units, header, .. } => {
                    self.metrics.syncs += 1;
                    self.metrics.synced_appends += units.len() as u64;
                    self.metrics.pending_bytes -= u64::from(header.payload_len);
                    self.batch_bytes += header.span() / 8;
                    self.batch_bytes -= self.batch_bytes / 8;
                }
            }
        }
        self.metrics.bytes_written += bytes;
        self.durable = durable;
        self.recent.evict(context.options.cache_bytes, durable);
        self.reclaim(context);
    }

    /// Frees segments that nothing on disk or in memory needs: older than the newest durable table, no live
    /// entry, the append that took the last one durable, and nobody reading.
    fn reclaim(&mut self, context: &Context) {
        let free: Vec<u64> = self
            .segments
            .range(..self.durable_table)
            .filter(|(generation, segment)| {
                self.streams.live(**generation) == 0
                    && segment.dead_at <= self.durable
                    && Arc::strong_count(&segment.file) == 1
            })
            .map(|(generation, _)| *generation)
            .collect();
        for generation in free {
            let Some(segment) = self.segments.remove(&generation) else { continue };
            let (bytes, usual) = (segment.file.capacity(), context.options.segment_bytes());
            // Small segments are from the time when the log was new.
            let odd_size = bytes > 2 * usual || bytes <= self.next_bytes(context) / 4;
            if odd_size || self.spares.len() >= context.options.spare_segments {
                self.trash.push(segment.file);
            } else {
                self.spares.push_back(segment.file);
            }
        }
    }

    /// Whether the space thread has something to do: zeros to write ahead, files to delete, or a spare to
    /// prepare once half of the segment is used (of a small one an eighth).
    pub(super) fn wants_space(&self, context: &Context) -> bool {
        !self.trash.is_empty() || self.wants_spare(context) || self.wants_filling()
    }

    fn wants_spare(&self, context: &Context) -> bool {
        let bytes = self.segments.get(&self.active).map_or(0, |s| s.file.capacity());
        // The small segments that a new log begins with are soon full.
        let share = if bytes < context.options.segment_bytes() { 8 } else { 2 };
        self.open.start >= bytes / share && self.spares.is_empty() && !self.no_space_ahead
    }

    /// Whether zeros are to be written ahead of the log. That pays if many writes follow that would each have
    /// to change the file's metadata, but not if they are about as large as what the zeros would be written
    /// in.
    pub(super) fn fills(&self) -> bool {
        self.batch_bytes < LARGE_BATCHES
    }

    /// Whether the segment being written has no real blocks yet for a part that is still to come.
    pub(super) fn wants_filling(&self) -> bool {
        // Only once the writer has reached that segment.
        self.fills()
            && self.durable_table == self.active
            && self.segments.get(&self.active).is_some_and(|s| !s.file.is_filled())
    }

    /// The spare to prepare, if one is wanted.
    pub(super) fn plan_spare(&mut self, context: &Context) -> Option<PlannedSpare> {
        if !self.wants_spare(context) {
            return None;
        }
        self.next_slot += 1;
        Some(PlannedSpare { slot: self.next_slot - 1, bytes: self.next_bytes(context), fill: self.fills() })
    }

    /// Where to read the entries of `low..high`, up to `max_bytes` of payload but at least one.
    pub(super) fn locate(
        &self,
        context: &Context,
        stream: u64,
        low: u64,
        high: u64,
        max_bytes: u64,
    ) -> Result<Vec<(u64, Source)>> {
        let absent = |index: u64| Error::Corrupt {
            what: "log entry",
            path: context.dir.clone(),
            offset: 0,
            detail: format!("stream {stream} does not hold index {index}"),
        };
        let info = self.streams.info(stream).unwrap_or_default();
        let mut found = Vec::new();
        if low >= high {
            return Ok(found);
        }
        if low < info.first || low > info.last {
            return Err(absent(low));
        }
        if high - 1 > info.last {
            return Err(absent(info.last + 1));
        }
        let (mut bytes, mut next, mut gap, mut lost) = (0, low, None, None);
        self.streams.visit(stream, low, high, |index, generation, place| {
            bytes += u64::from(place.len);
            if bytes > max_bytes && !found.is_empty() {
                next = high;
                return false;
            }
            if index != next && stream != ENGINE_STREAM {
                gap = Some(next);
                return false;
            }
            next = index + 1;
            let record = super::format::record_header(stream, index, place.len as usize);
            let source =
                match self.recent.get(generation, u64::from(place.offset), record + place.len as usize) {
                    Some(held) => Source::Memory(held.slice(record..)),
                    None => match self.segments.get(&generation) {
                        Some(segment) => Source::Disk(segment.file.clone(), place),
                        None => {
                            lost = Some(index);
                            return false;
                        }
                    },
                };
            found.push((index, source));
            true
        });
        match gap.or(lost) {
            Some(index) => Err(absent(index)),
            None if next < high && stream != ENGINE_STREAM => Err(absent(next)),
            None => Ok(found),
        }
    }

    /// Streams with live entries older than the newest `segments`, counting those recycled since.
    pub(super) fn pinned_by(&self, segments: usize) -> Vec<u64> {
        self.streams.with_entries_before((self.active + 1).saturating_sub(segments as u64))
    }

    pub(super) fn metrics(&self) -> LogMetrics {
        LogMetrics {
            segments: self.segments.len() as u64,
            spare_segments: self.spares.len() as u64,
            cached_bytes: self.recent.bytes() as u64,
            ..self.metrics
        }
    }
}
