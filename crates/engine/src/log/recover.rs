//! Opening: from segment files to what the log held when it stopped.
//!
//! 1. The newest segment with a whole table says what older segments hold.
//! 2. Replaying that segment gives the streams.
//! 3. The older segments that still hold live entries are read to find those entries.
//!
//! The log ends at a batch that is cut short at the end of the newest segment. Anything else that does not
//! match is an error.

use super::format::{
    BATCH_HEADER, BLOCK, BatchHeader, BatchKind, Header, RecordView, SEGMENT_HEADER, SegmentHeader, Table,
    decode_units,
};
use super::segment::{Context, SegmentFile, slot_of};
use super::state::{Segment, State};
use super::streams::{Place, SegmentEntries, Streams};
use super::{Replay, ReplayOf};
use crate::env::{File, OpenMode};
use crate::{Background, Error, Lsn, Result};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Read ahead when scanning, bytes. Less than a large batch, whose length is known only once its header is
/// read, and little enough that what the readers leave with the allocator does not matter.
const WINDOW: u64 = 256 << 10;
/// Segments read at once, beside the newest.
const READERS: usize = 3;

/// Reads the folder. If there was no segment, the first one is not started yet. The values of the replay are
/// returned in the order of the segments.
pub(super) fn recover<T: Replay>(context: &Context, of: &ReplayOf<'_, T>) -> Result<(State, Vec<T>)> {
    context.env.create_dir_all(&context.dir)?;
    // A killed process may have left changes of names that are not durable. A deleted segment must not
    // reappear after its generation number was used again.
    context.env.sync_dir(&context.dir)?;
    let mut state = State::new();
    let mut used: BTreeMap<u64, (SegmentHeader, Arc<SegmentFile>)> = BTreeMap::new();
    for name in context.env.list(&context.dir)? {
        let Some(slot) = slot_of(&name) else { continue };
        state.next_slot = state.next_slot.max(slot + 1);
        let path = context.dir.join(&name);
        let file = context.env.open(&path, OpenMode::Log)?;
        let len = file.len()?;
        let mut bytes = [0; SEGMENT_HEADER];
        file.read_at(0, &mut bytes[..SEGMENT_HEADER.min(len as usize)])?;
        let header = SegmentHeader::decode(&bytes);
        let known =
            if let Header::Valid(h) = &header { (h.generation, h.salt) } else { (0, context.options.salt) };
        if let Some(found) = newer_table(&*file, len, known)? {
            let detail = format!(
                "a table of generation {found} in a segment of generation {}: a write of its header was lost",
                known.0
            );
            return Err(Error::Corrupt { what: "segment header", path, offset: 0, detail });
        }
        // A used segment's name was made durable before its header was written.
        let segment = Arc::new(SegmentFile::new(path, file, len, header != Header::Blank));
        match header {
            Header::Blank => state.spares.push_back(segment),
            Header::Valid(header) => {
                state.max_generation = state.max_generation.max(header.generation);
                let path = segment.path.clone();
                if let Some((header, _)) = used.insert(header.generation, (header, segment)) {
                    let detail = format!("two segments of generation {}", header.generation);
                    return Err(Error::Corrupt { what: "log segment", path, offset: 0, detail });
                }
            }
            Header::Version(found) => {
                return Err(Error::Version {
                    path: segment.path.clone(),
                    found,
                    supported: super::format::VERSION,
                });
            }
            Header::Damaged => return Err(damaged(&segment, 0, "segment header")),
        }
    }

    let newest = newest_table(context, &mut used, &mut state.spares)?;
    let mut replayed = Vec::new();
    if let Some(newest) = newest {
        replayed = replay(context, &mut state, newest, &mut used, of)?;
    }
    state.spares.extend(used.into_values().map(|(_, segment)| segment));
    while state.spares.len() > context.options.spare_segments {
        state.trash.extend(state.spares.pop_back());
    }
    Ok((state, replayed))
}

/// The generation of the table in a segment, if it is newer than the header's. Headers are durable before
/// their tables are written, so this is no crash but a device that lost the header.
fn newer_table(file: &dyn File, len: u64, (generation, salt): (u64, u64)) -> Result<Option<u64>> {
    let mut bytes = [0; BATCH_HEADER];
    if len < BLOCK + BATCH_HEADER as u64 {
        return Ok(None);
    }
    file.read_at(BLOCK, &mut bytes)?;
    let batch = BatchHeader::decode(&bytes, salt).filter(|b| b.kind == BatchKind::Table && b.offset == BLOCK);
    Ok(batch.map(|b| b.generation).filter(|found| *found > generation))
}

/// The newest segment whose table is whole.
struct Newest {
    header: SegmentHeader,
    file: Arc<SegmentFile>,
    table: Table,
    table_end: u64,
    next_lsn: Lsn,
    /// Where a later segment, cut short while being started, says that this one ended.
    least_end: u64,
}

fn newest_table(
    context: &Context,
    used: &mut BTreeMap<u64, (SegmentHeader, Arc<SegmentFile>)>,
    spares: &mut VecDeque<Arc<SegmentFile>>,
) -> Result<Option<Newest>> {
    // A segment with a header but no whole table was being started when the power failed. It held nothing.
    let mut follows: Option<(u64, u64, Arc<SegmentFile>)> = None;
    while let Some((generation, (header, file))) = used.pop_last() {
        let mut scanner = Scanner::new(context.options.faults.wrong_recycle_generation, &file, &header)?;
        match scanner.batch(BLOCK)? {
            Some((batch, payload)) => {
                if batch.kind != BatchKind::Table {
                    return Err(damaged(&file, BLOCK, "table"));
                }
                let table = Table::decode(payload).ok_or_else(|| damaged(&file, BLOCK, "table"))?;
                let (table_end, next_lsn) = (BLOCK + batch.span(), batch.first_lsn);
                let least_end = match follows {
                    Some((previous, end, _)) if previous == generation => end,
                    Some((previous, _, later)) => return Err(lost(&later, previous)),
                    None => 0,
                };
                return Ok(Some(Newest { header, file, table, table_end, next_lsn, least_end }));
            }
            None => {
                scanner.refuse_if_more_follows(BLOCK)?;
                let (previous, mut end) = (header.previous, header.previous_end);
                if let Some((earlier, earlier_end, later)) = follows {
                    if earlier != previous {
                        return Err(lost(&later, earlier));
                    }
                    end = end.max(earlier_end);
                }
                follows = Some((previous, end, file.clone()));
                spares.push_back(file);
            }
        }
    }
    match follows {
        Some((previous, _, later)) if previous != 0 => Err(lost(&later, previous)),
        _ => Ok(None),
    }
}

/// A segment before the newest that its table lists.
struct Older {
    generation: u64,
    /// Where its last batch ends, bytes.
    end: u64,
    header: SegmentHeader,
    file: Arc<SegmentFile>,
}

fn replay<T: Replay>(
    context: &Context,
    state: &mut State,
    newest: Newest,
    used: &mut BTreeMap<u64, (SegmentHeader, Arc<SegmentFile>)>,
    of: &ReplayOf<'_, T>,
) -> Result<Vec<T>> {
    let streams = Streams::from_table(&newest.table).ok_or_else(|| damaged(&newest.file, BLOCK, "table"))?;
    let listed = newest.table.segments.iter().filter(|(g, _)| streams.live(*g) > 0);
    let older: Vec<Older> = listed
        .filter_map(|(generation, end)| {
            let (header, file) = used.get(generation)?;
            Some(Older { generation: *generation, end: *end, header: header.clone(), file: file.clone() })
        })
        .collect();
    let (tail, mut read) = read_all(context, &newest, streams, &older, of)?;
    let Tail { mut streams, scanner, replay, end, next_lsn } = tail;

    let mut replays = Vec::new();
    for (generation, end) in &newest.table.segments {
        // A segment whose last live entry was replaced or truncated in the newest segment is not needed, and
        // may be damaged.
        if streams.live(*generation) == 0 {
            continue;
        }
        let Some((header, segment)) = used.remove(generation) else {
            return Err(lost(&newest.file, *generation));
        };
        let at = older.iter().position(|o| o.generation == *generation);
        let (found, replay) = match at.and_then(|at| read[at].take()) {
            Some(done) => done?,
            None => read_older(context, &header, &segment, *end, of)?,
        };
        state.segments.insert(*generation, Segment { file: segment.clone(), end: *end, dead_at: 0 });
        replays.push(replay);
        for run in &found.runs {
            streams.found(*generation, run);
        }
        if let Some((stream, index)) = streams.missing(*generation) {
            let detail = format!("entry {index} of stream {stream} is not there");
            return Err(Error::Corrupt {
                what: "log segment",
                path: segment.path.clone(),
                offset: *end,
                detail,
            });
        }
    }
    replays.push(replay);

    // The bytes that were read may exist only in the operating system's memory. If a sync of an earlier
    // process failed, the system may consider such pages clean and never write them. Only writing them again
    // makes the next sync meaningful.
    let Newest { header, file, .. } = &newest;
    scanner.rewrite(scanner.known_durable.min(end), end)?;
    file.file.sync()?;
    // A crash can undo an allocation that nothing was written into; without it the disk may fill up under a
    // batch.
    let _ = file.grow(context.options.first_bytes());
    streams.take_emptied();
    state.streams = streams;
    state.segments.insert(header.generation, Segment { file: file.clone(), end: 0, dead_at: next_lsn - 1 });
    state.active = header.generation;
    state.active_salt = header.salt;
    state.durable_table = header.generation;
    state.open.start = end;
    state.next_lsn = next_lsn;
    state.durable = next_lsn - 1;
    Ok(replays)
}

/// What the newest segment says.
struct Tail<T> {
    streams: Streams,
    scanner: Scanner,
    replay: T,
    end: u64,
    next_lsn: Lsn,
}

type ReadOlder<T> = Option<Result<(SegmentEntries, T)>>;

/// Reads the newest segment and, with threads, the older ones at the same time.
fn read_all<T: Replay>(
    context: &Context,
    newest: &Newest,
    streams: Streams,
    older: &[Older],
    of: &ReplayOf<'_, T>,
) -> Result<(Tail<T>, Vec<ReadOlder<T>>)> {
    if context.options.background == Background::Manual {
        let tail = read_newest(context, newest, streams, of)?;
        return Ok((tail, older.iter().map(|_| None).collect()));
    }
    let slots: Vec<Mutex<ReadOlder<T>>> = older.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((o, slot)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            older.get(at).zip(slots.get(at))
        } {
            *slot.lock() = Some(read_older(context, &o.header, &o.file, o.end, of));
        }
    };
    let tail = std::thread::scope(|scope| {
        for _ in 0..older.len().min(READERS) {
            scope.spawn(work);
        }
        let tail = read_newest(context, newest, streams, of);
        work();
        tail
    })?;
    Ok((tail, slots.into_iter().map(Mutex::into_inner).collect()))
}

fn read_newest<T: Replay>(
    context: &Context,
    newest: &Newest,
    mut streams: Streams,
    of: &ReplayOf<'_, T>,
) -> Result<Tail<T>> {
    let (file, generation) = (&newest.file, newest.header.generation);
    let mut scanner = Scanner::new(context.options.faults.wrong_recycle_generation, file, &newest.header)?;
    let mut replay = (of.make)();
    let (mut end, mut next_lsn) = (newest.table_end, newest.next_lsn);
    while scanner.units(&mut end, &mut next_lsn, &mut |record, place| match record {
        RecordView::Entry { stream, index, payload } => {
            if stream == of.stream && index > of.after {
                replay.entry(index, payload);
            }
            streams.entry(stream, index, generation, place);
        }
        RecordView::State { stream, blob } => streams.state(stream, Bytes::copy_from_slice(blob)),
        RecordView::TruncatePrefix { stream, through } => streams.truncate_prefix(stream, through),
        RecordView::Drop { stream } => streams.drop_stream(stream),
    })? {}
    scanner.refuse_if_more_follows(end)?;
    if end < newest.least_end {
        return Err(damaged(file, end, "batch"));
    }
    replay.finish();
    Ok(Tail { streams, scanner, replay, end, next_lsn })
}

/// The entries of an older segment, in order.
fn read_older<T: Replay>(
    context: &Context,
    header: &SegmentHeader,
    file: &Arc<SegmentFile>,
    end: u64,
    of: &ReplayOf<'_, T>,
) -> Result<(SegmentEntries, T)> {
    let mut scanner = Scanner::new(context.options.faults.wrong_recycle_generation, file, header)?;
    let Some((table, _)) = scanner.batch(BLOCK)? else { return Err(damaged(file, BLOCK, "table")) };
    let (mut at, mut next_lsn) = (BLOCK + table.span(), table.first_lsn);
    let (mut found, mut replay) = (SegmentEntries::default(), (of.make)());
    while at < end {
        let more = scanner.units(&mut at, &mut next_lsn, &mut |record, place| {
            if let RecordView::Entry { stream, index, payload } = record {
                if stream == of.stream && index > of.after {
                    replay.entry(index, payload);
                }
                found.push(stream, index, place);
            }
        })?;
        if !more {
            return Err(damaged(file, at, "batch"));
        }
    }
    replay.finish();
    Ok((found, replay))
}

fn damaged(segment: &SegmentFile, offset: u64, what: &'static str) -> Error {
    let detail = "checksum or layout does not match, and the log does not end here".to_owned();
    Error::Corrupt { what, path: segment.path.clone(), offset, detail }
}

fn lost(because: &SegmentFile, generation: u64) -> Error {
    let detail = format!("refers to segment generation {generation}, which is not there");
    Error::Corrupt { what: "log segment", path: because.path.clone(), offset: 0, detail }
}

/// Reads batches of one segment through a window.
pub(super) struct Scanner {
    segment: Arc<SegmentFile>,
    generation: u64,
    salt: u64,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
    trust_any_generation: bool,
    /// The largest position up to which some batch says that the segment was durable.
    known_durable: u64,
}

impl Drop for Scanner {
    fn drop(&mut self) {
        // These bytes are read once and may be as many as a small process has memory. Without the hint they
        // would displace cached pages of the tables.
        self.segment.file.forget();
    }
}

impl Scanner {
    pub(super) fn new(
        trust_any_generation: bool,
        segment: &Arc<SegmentFile>,
        header: &SegmentHeader,
    ) -> Result<Self> {
        Ok(Self {
            segment: segment.clone(),
            generation: header.generation,
            salt: header.salt,
            len: segment.file.len()?,
            window: Vec::new(),
            window_at: 0,
            trust_any_generation,
            known_durable: 0,
        })
    }

    /// Makes the window cover `len` bytes at `offset`; false if the file is shorter.
    fn load(&mut self, offset: u64, len: u64) -> Result<bool> {
        let Some(end) = offset.checked_add(len).filter(|end| *end <= self.len) else { return Ok(false) };
        if offset < self.window_at || end > self.window_at + self.window.len() as u64 {
            let size = len.max(WINDOW).min(self.len - offset);
            self.window.resize(size as usize, 0);
            self.window_at = offset;
            self.segment.file.read_at(offset, &mut self.window)?;
        }
        Ok(true)
    }

    fn loaded(&self, offset: u64, len: u64) -> &[u8] {
        let start = (offset - self.window_at) as usize;
        &self.window[start..start + len as usize]
    }

    /// The header of a batch of this generation written at `offset`, whatever its payload.
    fn header(&mut self, offset: u64) -> Result<Option<BatchHeader>> {
        if !self.load(offset, BATCH_HEADER as u64)? {
            return Ok(None);
        }
        let header = BatchHeader::decode(self.loaded(offset, BATCH_HEADER as u64), self.salt);
        Ok(header
            .filter(|h| h.offset == offset && (h.generation == self.generation || self.trust_any_generation)))
    }

    /// The whole batch at `offset`.
    pub(super) fn batch(&mut self, offset: u64) -> Result<Option<(BatchHeader, &[u8])>> {
        let Some(header) = self.header(offset)? else { return Ok(None) };
        if !self.load(offset, header.span())? {
            return Ok(None);
        }
        let payload = self.loaded(offset + BATCH_HEADER as u64, u64::from(header.payload_len));
        Ok((crc32c::crc32c(payload) == header.payload_crc).then_some((header, payload)))
    }

    /// Hands every record of the batch at `at` to `each` and moves on; false if no whole batch is there.
    fn units(
        &mut self,
        at: &mut u64,
        next_lsn: &mut Lsn,
        each: &mut dyn FnMut(RecordView<'_>, Place),
    ) -> Result<bool> {
        let trust = self.trust_any_generation;
        let Some((header, payload)) = self.batch(*at)? else { return Ok(false) };
        let in_order = header.kind == BatchKind::Units && (trust || header.first_lsn == *next_lsn);
        let payload_at = *at + BATCH_HEADER as u64;
        let parsed = decode_units(payload, header.units, |start, record| {
            let len = if let RecordView::Entry { payload, .. } = &record { payload.len() } else { 0 };
            let offset = u32::try_from(payload_at + start as u64).ok()?;
            each(record, Place { offset, len: len as u32 });
            Some(())
        });
        if !in_order || parsed.is_none() {
            return Err(damaged(&self.segment, *at, "batch"));
        }
        *at += header.span();
        *next_lsn += u64::from(header.units);
        self.known_durable = self.known_durable.max(header.durable_through);
        Ok(true)
    }

    /// Writes the bytes of `from..to` again as they were read.
    fn rewrite(&self, from: u64, to: u64) -> Result<()> {
        let mut at = from - from % BLOCK;
        let mut bytes = Vec::new();
        while at < to {
            bytes.resize((to - at).min(WINDOW) as usize, 0);
            self.segment.file.read_at(at, &mut bytes)?;
            self.segment.file.write_at(at, &bytes)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// The log ends at `end` unless a later batch says that `end` was already durable when it was written.
    fn refuse_if_more_follows(&mut self, end: u64) -> Result<()> {
        // The inside of a batch cut short is payload, not batches.
        let mut at = end + self.header(end)?.map_or(BLOCK, |h| h.span());
        while self.load(at, BATCH_HEADER as u64)? {
            if self.header(at)?.is_some_and(|h| h.durable_through > end) {
                return Err(damaged(&self.segment, end, "batch"));
            }
            at += BLOCK;
        }
        Ok(())
    }
}
