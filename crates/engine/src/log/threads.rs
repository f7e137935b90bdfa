//! The log as its callers share it: appending, syncing, waiting, and the two threads of [`Background::Threads`].
//!
//! One thread writes and syncs whatever was appended while it was busy: the sync in flight is the batch window. The other
//! keeps a segment ready and deletes surplus ones.

use super::format::{self, Input, RECORD_HEADER, RecordView};
use super::segment::{Context, SegmentFile, Writer};
use super::state::{Source, State};
use super::streams::Place;
use super::{LogOptions, Record, Replay, ReplayOf, check, recover};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::thread::{self, JoinHandle, Thread};
use crate::sync::{Condvar, Mutex, unlock_fair};
use crate::{Background, Env, Error, Lsn, Result};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// Buffered appends wait for a sync until this much is gathered, bytes.
const BUFFERED_BYTES: u64 = 1 << 20;
/// Bytes on their way to the disk at which buffered writers wait: what a disk of 400 MB/s takes 20 ms for.
const CROWDED_BYTES: u64 = 8 << 20;
/// Records of one segment closer than this are read at once, bytes.
const READ_GAP: u64 = 16 << 10;
/// Most that one read takes, bytes, unless a single record is longer.
const READ_BYTES: u64 = 1 << 20;

type Listener = Arc<dyn Fn(Result<Lsn>) + Send + Sync>;

/// What the callers and the threads share.
pub(super) struct Shared {
    context: Context,
    pub(super) state: Mutex<State>,
    /// The sync thread sleeps on this, with `state`.
    work: Condvar,
    /// The space thread sleeps on this, with `state`.
    space: Condvar,
    /// Held while writing and syncing: one write is in flight at a time.
    writer: Mutex<Writer>,
    durable: AtomicU64,
    /// Whether [`CROWDED_BYTES`] or more wait.
    crowded: AtomicBool,
    waiters: Mutex<Waiters>,
    /// How many the last sync woke.
    woken: AtomicUsize,
    listeners: Mutex<Vec<Listener>>,
}

/// Threads blocked in [`Shared::wait`], each woken for itself: on one condition variable they would queue for its lock.
#[derive(Default)]
struct Waiters {
    failed: bool,
    parked: Vec<(Lsn, Thread)>,
}

impl Shared {
    pub(super) fn append(&self, records: &[Record], wants_sync: bool) -> Result<Lsn> {
        if let Err(why) = check(records) {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, why);
            return Err(Error::Io { op: "append", path: self.context.dir.clone(), source });
        }
        let unit = format::encode_unit(records);
        let mut state = self.state.lock();
        let lsn = state.append(&self.context, unit, records)?;
        if state.metrics.pending_bytes >= CROWDED_BYTES {
            self.crowded.store(true, Ordering::Relaxed);
        }
        let wake = !state.wants_sync && (wants_sync || state.metrics.pending_bytes >= BUFFERED_BYTES);
        if wake {
            state.wants_sync = true;
        }
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(lsn)
    }

    pub(super) fn sync_step(&self) -> Result<Lsn> {
        let mut writer = self.writer.lock();
        let (ops, upto) = {
            let mut state = self.state.lock();
            if state.failed {
                return Err(Error::Poisoned);
            }
            state.take_writes()
        };
        if ops.is_empty() {
            return Ok(self.durable_lsn());
        }
        let mut bytes = 0;
        for op in &ops {
            match writer.perform(&self.context, op) {
                Ok(written) => bytes += written,
                Err(error) => {
                    self.fail();
                    return Err(error);
                }
            }
        }
        let trash = {
            let mut state = self.state.lock();
            state.written(&self.context, ops, upto, bytes);
            self.crowded.store(state.metrics.pending_bytes >= CROWDED_BYTES, Ordering::Relaxed);
            match self.context.options.background {
                Background::Manual => std::mem::take(&mut state.trash),
                Background::Threads => Vec::new(),
            }
        };
        self.delete(&trash);
        self.durable.store(upto, Ordering::Release);
        self.wake(upto);
        // Still holding the writer's lock, so that numbers reach the listeners in order.
        for listener in self.listeners.lock().iter() {
            listener(Ok(upto));
        }
        Ok(upto)
    }

    /// What the disk holds is unknown from here on: nothing more is accepted.
    fn fail(&self) {
        self.state.lock().failed = true;
        self.waiters.lock().failed = true;
        self.wake(Lsn::MAX);
        for listener in self.listeners.lock().iter() {
            listener(Err(Error::Poisoned));
        }
    }

    /// Wakes those who wait for `upto` or less.
    fn wake(&self, upto: Lsn) {
        let ready: Vec<_> = self.waiters.lock().parked.extract_if(.., |(lsn, _)| *lsn <= upto).collect();
        self.woken.store(ready.len(), Ordering::Relaxed);
        for (_, thread) in ready {
            thread.unpark();
        }
    }

    /// Those just woken tend to append again at once. Steps aside for as long as more of them do, so that one sync serves
    /// all of them, instead of each half in turn waiting through the other's.
    fn let_appenders_in(&self) {
        let woken = self.woken.swap(0, Ordering::Relaxed);
        let mut gathered = 0;
        while gathered < woken {
            let now = self.state.lock().gathered();
            if now <= gathered {
                return;
            }
            gathered = now;
            thread::yield_now();
        }
    }

    fn delete(&self, trash: &[Arc<SegmentFile>]) {
        for segment in trash {
            // If it comes back, it is a spare again at the next open.
            if let Err(error) = self.context.env.remove(&segment.path) {
                tracing::warn!(%error, "a surplus log segment was not deleted");
            }
        }
    }

    pub(super) fn has_pending(&self) -> bool {
        let state = self.state.lock();
        state.next_lsn - 1 > state.durable || state.has_pending()
    }

    pub(super) fn durable_lsn(&self) -> Lsn {
        self.durable.load(Ordering::Acquire)
    }

    pub(super) fn on_durable(&self, listener: Listener) {
        self.listeners.lock().push(listener);
    }

    /// After the append of `lsn`.
    pub(super) fn wait_for_room(&self, lsn: Lsn) -> Result<()> {
        // What becomes durable next is what crowds now, or a part of it. The caller's own append bounds the wait: a sync that covers
        // it was asked for, by itself or by the later append that crowded.
        if self.crowded.load(Ordering::Relaxed) { self.wait(lsn.min(self.durable_lsn() + 1)) } else { Ok(()) }
    }

    pub(super) fn wait(&self, lsn: Lsn) -> Result<()> {
        if self.context.options.background == Background::Manual {
            while self.durable_lsn() < lsn {
                self.sync_step()?;
            }
            return Ok(());
        }
        if self.durable_lsn() >= lsn {
            return Ok(());
        }
        {
            let mut waiters = self.waiters.lock();
            // The number rises before the waiters are looked through: either it is seen here or this thread is woken.
            if !waiters.failed && self.durable_lsn() < lsn {
                waiters.parked.push((lsn, thread::current()));
            }
        }
        while self.durable_lsn() < lsn {
            if self.waiters.lock().failed {
                return Err(Error::Poisoned);
            }
            thread::park();
        }
        Ok(())
    }

    pub(super) fn entries(
        &self,
        stream: u64,
        low: u64,
        high: u64,
        max_bytes: u64,
    ) -> Result<Vec<(u64, Bytes)>> {
        // The located segments are not recycled while `sources` holds them.
        let sources = self.state.lock().locate(&self.context, stream, low, high, max_bytes)?;
        let mut entries = Vec::with_capacity(sources.len());
        let mut sources = sources.into_iter().peekable();
        while let Some((index, source)) = sources.next() {
            match source {
                Source::Memory(payload) => entries.push((index, payload)),
                Source::Disk(segment, place) => {
                    let mut run = vec![(index, place)];
                    let (start, mut end) = (u64::from(place.offset), end_of(place));
                    while let Some((index, Source::Disk(next, place))) = sources.peek()
                        && Arc::ptr_eq(next, &segment)
                        && u64::from(place.offset).checked_sub(end).is_some_and(|gap| gap <= READ_GAP)
                        && end_of(*place) - start <= READ_BYTES
                    {
                        end = end_of(*place);
                        run.push((*index, *place));
                        sources.next();
                    }
                    read_run(&segment, stream, &run, end, &mut entries)?;
                }
            }
        }
        Ok(entries)
    }

    fn sync_thread(&self) {
        loop {
            {
                let mut state = self.state.lock();
                while !state.wants_sync && !state.closed {
                    self.work.wait(&mut state);
                }
                if state.closed && !state.has_pending() {
                    return;
                }
            }
            self.let_appenders_in();
            if let Err(error) = self.sync_step() {
                tracing::error!(%error, "the log failed; writes are refused until restart");
                return;
            }
            if self.state.lock().wants_space(&self.context) {
                self.space.notify_one();
            }
        }
    }

    fn space_thread(&self) {
        loop {
            let (trash, slot) = {
                let mut state = self.state.lock();
                while !state.closed && !state.failed && !state.wants_space(&self.context) {
                    self.space.wait(&mut state);
                }
                if state.closed || state.failed {
                    return;
                }
                (std::mem::take(&mut state.trash), state.reserve_slot(&self.context))
            };
            self.delete(&trash);
            drop(trash);
            self.fill_ahead();
            if let Some(slot) = slot {
                let prepared = self.prepare(slot);
                let mut state = self.state.lock();
                match prepared {
                    Ok(segment) => {
                        state.spares.push_back(Arc::new(segment));
                        state.metrics.segments_created += 1;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no log segment could be prepared ahead");
                        state.no_space_ahead = true;
                    }
                }
            }
        }
    }

    /// Gives the segment in use real blocks, in steps between which the sync thread goes first.
    fn fill_ahead(&self) {
        loop {
            let mut writer = self.writer.lock();
            let (stop, wanted) = {
                let state = self.state.lock();
                (state.closed || state.failed, state.wants_filling())
            };
            if stop || !wanted {
                return;
            }
            if !writer.fill_ahead() {
                return;
            }
            unlock_fair(writer);
        }
    }

    fn prepare(&self, slot: u64) -> Result<SegmentFile> {
        let segment = SegmentFile::create(&self.context, slot, self.context.options.segment_bytes())?;
        let filled = segment.fill().and_then(|()| segment.sync_name(&self.context));
        if let Err(error) = filled {
            let _ = self.context.env.remove(&segment.path);
            return Err(error);
        }
        Ok(segment)
    }
}

fn end_of(place: Place) -> u64 {
    u64::from(place.offset) + RECORD_HEADER as u64 + u64::from(place.len)
}

/// Reads entries that lie close together and checks each.
fn read_run(
    segment: &SegmentFile,
    stream: u64,
    run: &[(u64, Place)],
    end: u64,
    entries: &mut Vec<(u64, Bytes)>,
) -> Result<()> {
    let Some((_, first)) = run.first() else { return Ok(()) };
    let start = u64::from(first.offset);
    let mut bytes = vec![0; (end - start) as usize];
    segment.file.read_at(start, &mut bytes)?;
    for (index, place) in run {
        let at = (u64::from(place.offset) - start) as usize;
        match format::decode_record(&mut Input(&bytes[at..])) {
            Some(RecordView::Entry { stream: s, index: i, payload }) if s == stream && i == *index => {
                entries.push((i, Bytes::copy_from_slice(payload)));
            }
            _ => {
                let detail = format!("entry {index} of stream {stream} does not match its checksum");
                let path = segment.path.clone();
                return Err(Error::Corrupt {
                    what: "log record",
                    path,
                    offset: u64::from(place.offset),
                    detail,
                });
            }
        }
    }
    Ok(())
}

/// Owns the threads; the last handle to go closes the log.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Handle {
    pub(super) fn open<T: Replay>(
        env: Arc<dyn Env>,
        dir: &Path,
        options: LogOptions,
        of: &ReplayOf<'_, T>,
    ) -> Result<(Self, Vec<T>)> {
        let background = options.background;
        let context = Context { env, dir: dir.to_owned(), options };
        let (mut state, replayed) = recover::recover(&context, of)?;
        if state.active == 0 {
            state.start_segment(&context)?;
        }
        let resumed =
            state.segments.get(&state.active).map(|s| Writer::resume(s.file.clone(), state.open.start));
        let shared = Arc::new(Shared {
            context,
            durable: AtomicU64::new(state.durable),
            crowded: AtomicBool::new(false),
            state: Mutex::new(state),
            work: Condvar::new(),
            space: Condvar::new(),
            writer: Mutex::new(resumed.unwrap_or_default()),
            waiters: Mutex::default(),
            woken: AtomicUsize::new(0),
            listeners: Mutex::default(),
        });
        shared.sync_step()?;
        let handle = Self { shared, threads: Mutex::default() };
        if background == Background::Threads {
            handle.spawn("log-sync", Shared::sync_thread)?;
            handle.spawn("log-space", Shared::space_thread)?;
        }
        Ok((handle, replayed))
    }

    fn spawn(&self, name: &'static str, run: fn(&Shared)) -> Result<()> {
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared));
        let dir = || self.shared.context.dir.clone();
        self.threads.lock().push(thread.map_err(|source| Error::Io {
            op: "start thread",
            path: dir(),
            source,
        })?);
        Ok(())
    }

    pub(super) fn close(&self) -> Result<()> {
        self.shared.state.lock().closed = true;
        self.shared.work.notify_all();
        self.shared.space.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        // A listener may have held the last handle: the sync thread cannot wait for itself, but it finishes its work.
        if threads.iter().any(|t| t.thread().id() == thread::current().id()) {
            return Ok(());
        }
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.shared.sync_step().map(|_| ())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // As after a crash: what nobody waited for may be lost, so a failure here is not news.
        if self.shared.context.options.background == Background::Threads {
            let _ = self.close();
        }
    }
}
