//! The log as its callers share it: appending, syncing, waiting, and the two threads of
//! [`Background::Threads`].
//!
//! The holder of the writer's lock writes and syncs everything that was appended until then. So the sync in
//! flight is the batch window. The holder is a caller in [`Shared::wait`] if there is one, so that a single
//! writer never waits for another thread. Otherwise it is the sync thread, which serves callers that append
//! and do not wait. The space thread keeps a spare segment ready and deletes surplus ones.
//!
//! *No waiter sleeps forever.* A caller adds itself to the waiters, tries the writer's lock once more, and
//! only then sleeps. After releasing the lock, its holder goes through the waiters. It wakes those whose
//! appends are now durable, and the first of the others, which becomes the next writer.

use super::format::{self, Input, RecordView, record_header};
use super::segment::{Context, SegmentFile, Writer};
use super::state::{PlannedSpare, Source, State};
use super::streams::Place;
use super::{LogOptions, Record, Replay, ReplayOf, check, recover};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::thread::{self, JoinHandle, Thread};
use crate::sync::{Condvar, Mutex, MutexGuard, spin, unlock_fair};
use crate::{Background, Env, Error, Lsn, Result};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// Buffered appends wait for a sync until this much is gathered, bytes.
const BUFFERED_BYTES: u64 = 1 << 20;
/// Bytes waiting to be written at which buffered writers wait: a disk of 400 MB/s needs 20 ms for them.
const CROWDED_BYTES: u64 = 8 << 20;
/// Records of one segment closer than this are read at once, bytes.
const READ_GAP: u64 = 16 << 10;
/// Most that one read takes, bytes, unless a single record is longer.
const READ_BYTES: u64 = 1 << 20;
/// Turns of [`TURN`] in which nobody appends after which those just woken are not waited for any longer: some
/// ten microseconds.
const IDLE_TURNS: u32 = 20;
/// Spins of a turn.
const TURN: u32 = 30;

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
    /// How many waiting callers the last sync released.
    woken: AtomicUsize,
    /// Appends in the open batch.
    gathered: AtomicUsize,
    listeners: Mutex<Vec<Listener>>,
}

/// Threads blocked in [`Shared::wait`], each woken for itself: on one condition variable they would queue for
/// its lock.
#[derive(Default)]
struct Waiters {
    failed: bool,
    parked: Vec<(Lsn, Thread)>,
}

/// Who is going to sync what is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncBy {
    /// The log's own thread, at once.
    Thread,
    /// The caller, who calls [`Shared::wait`] next.
    Waiter,
    /// The next sync, or the log's thread once enough waits.
    Later,
}

/// Guard of the writer's lock. A caller may have found the lock taken and gone to sleep, so dropping the
/// guard wakes the waiters.
struct Turn<'a> {
    shared: &'a Shared,
    writer: Option<MutexGuard<'a, Writer>>,
    /// Up to where the log is now durable (or never will be), and for how many callers that are not among the
    /// waiters.
    wrote: Option<(Lsn, usize)>,
}

impl<'a> Turn<'a> {
    fn of(shared: &'a Shared, writer: MutexGuard<'a, Writer>) -> Self {
        Self { shared, writer: Some(writer), wrote: None }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Released fairly. Otherwise the filling of a segment would take the lock again before any waiter.
        if let Some(writer) = self.writer.take() {
            unlock_fair(writer);
        }
        match self.wrote {
            Some((upto, leaders)) => self.shared.wake(upto, leaders),
            None => self.shared.wake_leader(),
        }
    }
}

impl Shared {
    pub(super) fn append(&self, records: &[Record], sync: SyncBy) -> Result<Lsn> {
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
        self.gathered.store(state.gathered(), Ordering::Relaxed);
        let enough = match sync {
            SyncBy::Thread => true,
            SyncBy::Waiter => false,
            SyncBy::Later => state.metrics.pending_bytes >= BUFFERED_BYTES,
        };
        let wake = enough && !state.wants_sync;
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
        self.sync_with(Turn::of(self, self.writer.lock()), 0)
    }

    /// Writes and syncs what was appended until now; `leaders` is 1 if the caller is one of those who wait
    /// for it, but not among the waiters.
    fn sync_with(&self, mut turn: Turn<'_>, leaders: usize) -> Result<Lsn> {
        let result = turn.writer.as_mut().map_or(Err(Error::Poisoned), |writer| self.write_out(writer));
        turn.wrote = Some((*result.as_ref().unwrap_or(&Lsn::MAX), leaders));
        result
    }

    fn write_out(&self, writer: &mut Writer) -> Result<Lsn> {
        let (ops, upto) = {
            let mut state = self.state.lock();
            if state.failed {
                return Err(Error::Poisoned);
            }
            self.gathered.store(0, Ordering::Relaxed);
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
        let (trash, wants_space) = {
            let mut state = self.state.lock();
            state.written(&self.context, ops, upto, bytes);
            self.crowded.store(state.metrics.pending_bytes >= CROWDED_BYTES, Ordering::Relaxed);
            match self.context.options.background {
                Background::Manual => (std::mem::take(&mut state.trash), false),
                Background::Threads => (Vec::new(), state.wants_space(&self.context)),
            }
        };
        if wants_space {
            self.space.notify_one();
        }
        self.delete(&trash);
        self.durable.store(upto, Ordering::Release);
        // Still holding the writer's lock, so that numbers reach the listeners in order.
        for listener in self.listeners.lock().iter() {
            listener(Ok(upto));
        }
        Ok(upto)
    }

    /// From here on the content of the disk is unknown, so nothing more is accepted.
    fn fail(&self) {
        self.state.lock().failed = true;
        self.waiters.lock().failed = true;
        for listener in self.listeners.lock().iter() {
            listener(Err(Error::Poisoned));
        }
    }

    /// Wakes those who wait for `upto` or less, and the next leader. `leaders` as in [`Shared::sync_with`].
    fn wake(&self, upto: Lsn, leaders: usize) {
        let (ready, next) = {
            let mut waiters = self.waiters.lock();
            let ready: Vec<_> = waiters.parked.extract_if(.., |(lsn, _)| *lsn <= upto).collect();
            // It stays among the waiters until its number is durable.
            (ready, waiters.parked.first().map(|(_, thread)| thread.clone()))
        };
        self.woken.store(ready.len() + leaders, Ordering::Relaxed);
        if let Some(next) = next {
            next.unpark();
        }
        let me = thread::current().id();
        for (_, thread) in ready.iter().filter(|(_, thread)| thread.id() != me) {
            thread.unpark();
        }
    }

    fn wake_leader(&self) {
        let next = self.waiters.lock().parked.first().map(|(_, thread)| thread.clone());
        if let Some(next) = next {
            next.unpark();
        }
    }

    /// Callers that were just woken tend to append again at once. This waits as long as more of them do, so
    /// that one sync serves all of them. Otherwise each half of them would wait through the sync of the other
    /// half. It spins: a thread that yields on a crowded machine gets the processor back only after another
    /// thread's whole time slice.
    fn let_appenders_in(&self) {
        let woken = self.woken.swap(0, Ordering::Relaxed);
        let (mut gathered, mut idle) = (0, 0);
        while idle < IDLE_TURNS {
            let now = self.gathered.load(Ordering::Relaxed);
            if now >= woken {
                return;
            }
            idle = if now > gathered { 0 } else { idle + 1 };
            gathered = now;
            spin(TURN);
        }
    }

    fn delete(&self, trash: &[Arc<SegmentFile>]) {
        for segment in trash {
            // If the deletion is undone by a crash, the next open treats the segment as a spare.
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
        // The bytes that wait now become durable next, or a part of them. The caller's own append bounds the
        // wait: a sync that covers it was requested by this append or by a later one.
        if self.crowded.load(Ordering::Relaxed) { self.wait(lsn.min(self.durable_lsn() + 1)) } else { Ok(()) }
    }

    pub(super) fn wait(&self, lsn: Lsn) -> Result<()> {
        if self.context.options.background == Background::Manual {
            while self.durable_lsn() < lsn {
                self.sync_step()?;
            }
            return Ok(());
        }
        let mut listed = false;
        while self.durable_lsn() < lsn {
            // No write is in flight: the caller does it itself rather than wake the sync thread and be woken
            // by it, each of which takes a time slice on a busy machine.
            if let Some(writer) = self.writer.try_lock() {
                let turn = Turn::of(self, writer);
                self.let_appenders_in();
                self.sync_with(turn, usize::from(!listed)).map_err(|error| {
                    tracing::error!(%error, "the log failed; writes are refused until restart");
                    Error::Poisoned
                })?;
                continue;
            }
            let mut waiters = self.waiters.lock();
            if waiters.failed {
                return Err(Error::Poisoned);
            }
            if listed {
                drop(waiters);
                thread::park();
                continue;
            }
            // The holder raises the durable number before it goes through the waiters. So either this caller
            // sees the number here, or the holder sees this entry.
            if self.durable_lsn() >= lsn {
                return Ok(());
            }
            waiters.parked.push((lsn, thread::current()));
            listed = true;
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
                    let (start, mut end) = (u64::from(place.offset), end_of(stream, index, place));
                    while let Some((index, Source::Disk(next, place))) = sources.peek()
                        && Arc::ptr_eq(next, &segment)
                        && u64::from(place.offset).checked_sub(end).is_some_and(|gap| gap <= READ_GAP)
                        && end_of(stream, *index, *place) - start <= READ_BYTES
                    {
                        end = end_of(stream, *index, *place);
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
        }
    }

    fn space_thread(&self) {
        loop {
            let (trash, planned) = {
                let mut state = self.state.lock();
                while !state.closed && !state.failed && !state.wants_space(&self.context) {
                    self.space.wait(&mut state);
                }
                if state.closed || state.failed {
                    return;
                }
                (std::mem::take(&mut state.trash), state.plan_spare(&self.context))
            };
            self.delete(&trash);
            drop(trash);
            self.fill_ahead();
            if let Some(planned) = planned {
                let prepared = self.prepare(&planned);
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
            let mut turn = Turn::of(self, self.writer.lock());
            let wanted = {
                let state = self.state.lock();
                !state.closed && !state.failed && state.wants_filling()
            };
            if !wanted || !turn.writer.as_mut().is_some_and(|writer| writer.fill_ahead()) {
                return;
            }
        }
    }

    fn prepare(&self, planned: &PlannedSpare) -> Result<SegmentFile> {
        let segment = SegmentFile::create(&self.context, planned.slot, planned.bytes)?;
        let filled = if planned.fill { segment.fill() } else { segment.file.sync() };
        if let Err(error) = filled.and_then(|()| segment.sync_name(&self.context)) {
            let _ = self.context.env.remove(&segment.path);
            return Err(error);
        }
        Ok(segment)
    }
}

/// Where an entry's record ends in its segment.
fn end_of(stream: u64, index: u64, place: Place) -> u64 {
    let header = record_header(stream, index, place.len as usize) as u64;
    u64::from(place.offset) + header + u64::from(place.len)
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
            gathered: AtomicUsize::new(0),
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
        // A listener may have held the last handle: the sync thread cannot wait for itself, but it finishes
        // its work.
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
        // As after a crash, appends that no caller waited for may be lost. So a failure here is not reported.
        if self.shared.context.options.background == Background::Threads {
            let _ = self.close();
        }
    }
}
