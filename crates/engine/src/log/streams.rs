//! What the log holds, in memory: for each stream its bounds, its state blob and the place of each entry.
//!
//! Appending and recovery both use this module, so a replay ends in the same state as the original. No files,
//! no locks.

use super::StreamInfo;
use super::format::{MIN_RECORD, Table, TableRun, TableStream};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Where an entry's record lies in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Start of the record, bytes. No record starts at 0: there lies the segment header.
    pub(super) offset: u32,
    /// Length of the payload, bytes.
    pub(super) len: u32,
}

impl Place {
    /// Known to exist (from a table), not yet found in its segment.
    pub(super) const UNKNOWN: Self = Self { offset: 0, len: 0 };
}

/// Entries with consecutive indexes in one segment; never empty.
struct Run {
    generation: u64,
    first: u64,
    places: VecDeque<Place>,
}

impl Run {
    fn last(&self) -> u64 {
        self.first + (self.places.len() as u64 - 1)
    }
}

struct Stream {
    /// As in [`StreamInfo`].
    first: u64,
    last: u64,
    state: Bytes,
    /// In order of index, and so of generation.
    runs: VecDeque<Run>,
}

/// All streams, and the number of live entries of each segment.
#[derive(Default)]
pub(super) struct Streams {
    streams: BTreeMap<u64, Stream>,
    live: BTreeMap<u64, u64>,
    /// Segments whose last live entry died since the last [`Streams::take_emptied`].
    emptied: Vec<u64>,
}

fn free(live: &mut BTreeMap<u64, u64>, emptied: &mut Vec<u64>, generation: u64, entries: u64) {
    if let Some(count) = live.get_mut(&generation) {
        *count = count.saturating_sub(entries);
        if *count == 0 {
            live.remove(&generation);
            emptied.push(generation);
        }
    }
}

impl Streams {
    /// An entry: replaces `index` and everything after it.
    pub(super) fn entry(&mut self, stream: u64, index: u64, generation: u64, place: Place) {
        let held = self.streams.entry(stream).or_default();
        while let Some(run) = held.runs.back_mut().filter(|run| run.last() >= index) {
            let keep = index.saturating_sub(run.first) as usize;
            free(&mut self.live, &mut self.emptied, run.generation, (run.places.len() - keep) as u64);
            run.places.truncate(keep);
            if keep > 0 {
                break;
            }
            held.runs.pop_back();
        }
        *self.live.entry(generation).or_default() += 1;
        match held.runs.back_mut() {
            Some(run) if run.generation == generation && run.last() + 1 == index => {
                run.places.push_back(place)
            }
            back => {
                if back.is_none() {
                    held.first = index;
                }
                held.runs.push_back(Run { generation, first: index, places: VecDeque::from([place]) });
            }
        }
        held.last = index;
    }

    pub(super) fn state(&mut self, stream: u64, blob: Bytes) {
        self.streams.entry(stream).or_default().state = blob;
    }

    /// Forgets entries up to and including `through`.
    pub(super) fn truncate_prefix(&mut self, stream: u64, through: u64) {
        let held = self.streams.entry(stream).or_default();
        while let Some(run) = held.runs.front_mut().filter(|run| run.first <= through) {
            let gone = ((through - run.first).saturating_add(1)).min(run.places.len() as u64);
            free(&mut self.live, &mut self.emptied, run.generation, gone);
            if gone < run.places.len() as u64 {
                run.places.drain(..gone as usize);
                run.first += gone;
                break;
            }
            held.runs.pop_front();
        }
        held.last = held.last.max(through);
        held.first = match held.runs.front() {
            Some(run) => run.first,
            None => held.last.saturating_add(1),
        };
    }

    pub(super) fn drop_stream(&mut self, stream: u64) {
        for run in self.streams.remove(&stream).into_iter().flat_map(|s| s.runs) {
            free(&mut self.live, &mut self.emptied, run.generation, run.places.len() as u64);
        }
    }

    /// Live entries in a segment.
    pub(super) fn live(&self, generation: u64) -> u64 {
        self.live.get(&generation).copied().unwrap_or(0)
    }

    pub(super) fn take_emptied(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.emptied)
    }

    pub(super) fn info(&self, stream: u64) -> Option<StreamInfo> {
        self.streams.get(&stream).map(Stream::info)
    }

    pub(super) fn all(&self) -> Vec<(u64, StreamInfo)> {
        self.streams.iter().map(|(stream, held)| (*stream, held.info())).collect()
    }

    /// Streams with a live entry in a segment older than `generation`.
    pub(super) fn with_entries_before(&self, generation: u64) -> Vec<u64> {
        let oldest = |s: &Stream| s.runs.front().is_some_and(|run| run.generation < generation);
        self.streams.iter().filter(|(_, s)| oldest(s)).map(|(stream, _)| *stream).collect()
    }

    /// Bytes of payload that a stream's entries have.
    pub(super) fn bytes(&self, stream: u64) -> u64 {
        let runs = self.streams.get(&stream).into_iter().flat_map(|held| &held.runs);
        runs.flat_map(|run| &run.places).map(|place| u64::from(place.len)).sum()
    }

    /// Calls `each` with index, generation and place of the entries in `low..high`, in order, until it
    /// returns false.
    pub(super) fn visit(
        &self,
        stream: u64,
        low: u64,
        high: u64,
        mut each: impl FnMut(u64, u64, Place) -> bool,
    ) {
        let Some(held) = self.streams.get(&stream) else { return };
        let start = held.runs.partition_point(|run| run.last() < low);
        for run in held.runs.range(start..) {
            let skip = low.saturating_sub(run.first);
            for (index, place) in (run.first + skip..).zip(run.places.range(skip as usize..)) {
                if index >= high || !each(index, run.generation, *place) {
                    return;
                }
            }
        }
    }

    /// The table for a new segment; `end_of` gives the end of an older segment.
    pub(super) fn table(&self, end_of: impl Fn(u64) -> u64) -> Table {
        let run = |run: &Run| TableRun { generation: run.generation, first: run.first, last: run.last() };
        let streams = self.streams.iter().map(|(stream, held)| TableStream {
            stream: *stream,
            first: held.first,
            last: held.last,
            state: held.state.clone(),
            runs: held.runs.iter().map(run).collect(),
        });
        Table { segments: self.live.keys().map(|g| (*g, end_of(*g))).collect(), streams: streams.collect() }
    }

    /// What a table describes, places unknown. `None` if its runs are out of order.
    pub(super) fn from_table(table: &Table) -> Option<Self> {
        let mut streams = Self::default();
        for listed in &table.streams {
            let mut held = Stream {
                first: listed.first,
                last: listed.last,
                state: listed.state.clone(),
                runs: VecDeque::new(),
            };
            for run in &listed.runs {
                let entries = run.last.checked_sub(run.first)?.checked_add(1)?;
                let in_order =
                    held.runs.back().is_none_or(|b| b.generation <= run.generation && b.last() < run.first);
                let segment = table.segments.iter().find(|(generation, _)| *generation == run.generation);
                let fits = segment.is_some_and(|(_, end)| entries <= end / MIN_RECORD as u64);
                if !in_order || !fits {
                    return None;
                }
                *streams.live.entry(run.generation).or_default() += entries;
                let places = std::iter::repeat_n(Place::UNKNOWN, entries as usize).collect();
                held.runs.push_back(Run { generation: run.generation, first: run.first, places });
            }
            streams.streams.insert(listed.stream, held);
        }
        Some(streams)
    }

    /// Sets the places of entries of an older segment, of which some may still be live. If an index occurs
    /// several times in a segment, the last one is valid.
    pub(super) fn found(&mut self, generation: u64, found: &EntryRun) {
        let Some(held) = self.streams.get_mut(&found.stream) else { return };
        let Some(last) = (found.places.len() as u64).checked_sub(1).map(|n| found.first.saturating_add(n))
        else {
            return;
        };
        let at = held.runs.partition_point(|run| run.last() < found.first);
        for run in held.runs.range_mut(at..).take_while(|run| run.first <= last) {
            if run.generation == generation {
                let low = run.first.max(found.first);
                let slots = run.places.range_mut((low - run.first) as usize..);
                for (slot, place) in slots.zip(&found.places[(low - found.first) as usize..]) {
                    *slot = *place;
                }
            }
        }
    }

    /// A live entry of `generation` whose place is still unknown.
    pub(super) fn missing(&self, generation: u64) -> Option<(u64, u64)> {
        self.streams.iter().find_map(|(stream, held)| {
            let run = held.runs.iter().filter(|run| run.generation == generation);
            run.flat_map(|run| (run.first..).zip(&run.places))
                .find(|(_, place)| **place == Place::UNKNOWN)
                .map(|(index, _)| (*stream, index))
        })
    }
}

/// Entries with consecutive indexes, in the order in which they were found in one segment.
pub(super) struct EntryRun {
    stream: u64,
    first: u64,
    places: Vec<Place>,
}

/// The entries of one segment while it is being read.
#[derive(Default)]
pub(super) struct SegmentEntries {
    pub(super) runs: Vec<EntryRun>,
    /// The newest run of each stream.
    newest: BTreeMap<u64, usize>,
    /// Stream and run of the last entry: mostly the next one's too.
    last: Option<(u64, usize)>,
}

impl SegmentEntries {
    pub(super) fn push(&mut self, stream: u64, index: u64, place: Place) {
        let at = match self.last {
            Some((last, at)) if last == stream => Some(at),
            _ => self.newest.get(&stream).copied(),
        };
        let at = match at {
            Some(at) if self.runs[at].first.checked_add(self.runs[at].places.len() as u64) == Some(index) => {
                at
            }
            _ => {
                self.runs.push(EntryRun { stream, first: index, places: Vec::new() });
                self.newest.insert(stream, self.runs.len() - 1);
                self.runs.len() - 1
            }
        };
        self.runs[at].places.push(place);
        self.last = Some((stream, at));
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self { first: 1, last: 0, state: Bytes::new(), runs: VecDeque::new() }
    }
}

impl Stream {
    fn info(&self) -> StreamInfo {
        StreamInfo { first: self.first, last: self.last, state: self.state.clone() }
    }
}
