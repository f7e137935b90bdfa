//! Replay: builds memtables from those batches of the engine's own log stream that no table holds yet.
//!
//! The batches are collected and sorted while the log is read, one run for each segment, and laid out as
//! whole memtables. Nothing is inserted one by one, and nothing is flushed.

use super::Background;
use super::batch;
use super::core::{Core, ReadState};
use super::memtable::{BulkRun, Memtable};
use super::open::LOG;
use crate::log::{ENGINE_STREAM, Record, Replay};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The batches of one segment.
pub(crate) struct Gathered {
    runs: Vec<BulkRun>,
    /// Size at which a run is closed, bytes.
    limit: usize,
    last_index: Option<u64>,
    payload_bytes: u64,
    /// The first error. Nothing is read after it.
    failed: Option<Failure>,
}

enum Failure {
    /// Batches with these indexes follow each other.
    Gap(u64, u64),
    Undecodable(Error),
    TooLarge(u64),
}

impl Gathered {
    /// Runs are closed at `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { runs: Vec::new(), limit, last_index: None, payload_bytes: 0, failed: None }
    }

    fn take(&mut self, index: u64, payload: &[u8]) -> std::result::Result<(), Failure> {
        if let Some(last) = self.last_index
            && last + 1 != index
        {
            return Err(Failure::Gap(last, index));
        }
        self.last_index = Some(index);
        let ops = batch::check(payload).map_err(Failure::Undecodable)?;
        if let Some(full) = self.runs.last_mut().filter(|run| run.bytes() >= self.limit) {
            full.sort();
            self.runs.push(BulkRun::default());
        } else if self.runs.is_empty() {
            self.runs.push(BulkRun::default());
        }
        self.payload_bytes += payload.len() as u64;
        let added = self.runs.last_mut().is_some_and(|run| run.add(index, ops));
        if added { Ok(()) } else { Err(Failure::TooLarge(index)) }
    }
}

impl Replay for Gathered {
    fn entry(&mut self, index: u64, payload: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.take(index, payload).err();
        }
    }

    fn finish(&mut self) {
        if let Some(run) = self.runs.last_mut() {
            run.sort();
        }
    }
}

/// Puts what was gathered after batch `flushed` into the memtables of an engine that has none yet.
pub(crate) fn replay(core: &Core, flushed: u64, gathered: Vec<Gathered>) -> Result<()> {
    let mut writer = core.writer.lock();
    let last = core.log.stream(ENGINE_STREAM).map_or(0, |info| info.last);
    if last < flushed {
        // A new or older log than the tables (a checkpoint was opened): go on where the tables end.
        core.log.append(&[Record::TruncatePrefix { stream: ENGINE_STREAM, through: flushed }])?;
        return Ok(());
    }
    let corrupt =
        |detail: String| Error::Corrupt { what: "log", path: core.dir.join(LOG), offset: 0, detail };
    let mut runs = Vec::new();
    let mut next = flushed + 1;
    for segment in gathered {
        match segment.failed {
            Some(Failure::Undecodable(error)) => return Err(error),
            Some(Failure::Gap(a, b)) => return Err(corrupt(format!("batch {b} follows batch {a}"))),
            Some(Failure::TooLarge(index)) => {
                return Err(corrupt(format!("batch {index} does not fit a memtable")));
            }
            None => {}
        }
        core.counters.user_bytes.fetch_add(segment.payload_bytes, Ordering::Relaxed);
        for run in segment.runs {
            if run.first_index() != next {
                return Err(corrupt(format!("batch {next} of {last} is missing")));
            }
            next = run.last_index() + 1;
            runs.push(run);
        }
    }
    if next != last + 1 {
        return Err(corrupt(format!("batch {next} of {last} is missing")));
    }
    let memtables = build(core, runs, writer.last_seq);
    let Some(newest) = memtables.last().cloned() else { return Ok(()) };
    writer.last_index = last;
    writer.last_seq = newest.last_seq().max(writer.last_seq);
    core.visible.store(writer.last_seq, Ordering::Release);
    {
        let _guard = core.state_lock.lock();
        let immutables: Vec<_> = memtables.iter().rev().skip(1).cloned().collect();
        let version = core.state.load().version.clone();
        core.state.store(Arc::new(ReadState { active: newest.clone(), immutables, version }));
    }
    if newest.bytes() >= core.shares.memtable_bytes {
        core.rotate();
    } else if newest.has_range_dels() {
        // A drop that a crash overtook: its space is not to wait for the memtable to fill.
        core.flush_soon.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Memtables of about the usual size, in the order of their epochs.
fn build(core: &Core, runs: Vec<BulkRun>, mut last_seq: u64) -> Vec<Arc<Memtable>> {
    let limit = core.shares.memtable_bytes;
    let mut groups: Vec<(Vec<BulkRun>, u64, usize)> = Vec::new();
    for run in runs {
        let (operations, bytes) = (run.operations(), run.bytes());
        match groups.last_mut() {
            Some((group, _, size)) if *size + bytes <= limit + limit / 4 => {
                group.push(run);
                *size += bytes;
            }
            _ => groups.push((vec![run], last_seq, bytes)),
        }
        last_seq += operations;
    }
    let epochs = 0u64..;
    let build = |(epoch, (runs, last_seq, _)): (u64, (Vec<BulkRun>, u64, usize))| {
        Arc::new(Memtable::from_runs(epoch, runs, last_seq, core.pool.clone()))
    };
    if core.options.background == Background::Manual || groups.len() < 2 {
        return epochs.zip(groups).map(build).collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = epochs.zip(groups).map(|group| scope.spawn(move || build(group))).collect();
        let done =
            threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.collect()
    })
}
