//! Iteration over a memtable while it is being written. A run of entries is copied under the shard's read
//! lock and then walked without the lock. Runs start short, so that a short scan copies little, and grow.

use super::{Memtable, arena::Value, shard::Shard};
use crate::lsm::key::seq_of;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

const FIRST_RUN: usize = 8;
const LONGEST_RUN: usize = 256;
/// A run ends early at this many bytes.
const RUN_BYTES: usize = 64 << 10;

/// A cursor over a memtable in one direction, fixed at creation. Not positioned until sought.
pub(crate) struct MemIter {
    mem: Arc<Memtable>,
    /// With a number: only the newest version of each key visible at it, deletes included. Without: every
    /// entry.
    visible_at: Option<u64>,
    reverse: bool,
    run: Run,
    at: usize,
    next_run: usize,
    /// Where the run after this one starts; `None` at the end.
    resume: Option<Resume>,
}

/// Where to go on. Forward: at `(key, tag)`. Reverse: below `key`, or from the very end.
struct Resume {
    key: Option<Bytes>,
    tag: u64,
}

#[derive(Default)]
struct Run {
    data: Bytes,
    entries: Vec<RunEntry>,
}

struct RunEntry {
    key: (u32, u32),
    tag: u64,
    value: RunValue,
}

enum RunValue {
    Small(u32, u32),
    Large(Bytes),
}

impl MemIter {
    pub(crate) fn new(mem: Arc<Memtable>, visible_at: Option<u64>, reverse: bool) -> Self {
        Self { mem, visible_at, reverse, run: Run::default(), at: 0, next_run: FIRST_RUN, resume: None }
    }

    /// Forward: to the first entry with key `>= key`.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        debug_assert!(!self.reverse);
        self.next_run = FIRST_RUN;
        self.resume = Some(Resume { key: Some(Bytes::copy_from_slice(key)), tag: u64::MAX });
        self.fill();
    }

    /// Reverse: to the last entry with key `< key`, or the very last.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) {
        debug_assert!(self.reverse && self.visible_at.is_some());
        self.next_run = FIRST_RUN;
        self.resume = Some(Resume { key: key.map(Bytes::copy_from_slice), tag: 0 });
        self.fill();
    }

    pub(crate) fn valid(&self) -> bool {
        self.at < self.run.entries.len()
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        let (start, end) = self.run.entries[self.at].key;
        &self.run.data[start as usize..end as usize]
    }

    #[inline]
    pub(crate) fn tag(&self) -> u64 {
        self.run.entries[self.at].tag
    }

    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        match &self.run.entries[self.at].value {
            RunValue::Small(start, end) => &self.run.data[*start as usize..*end as usize],
            RunValue::Large(v) => v,
        }
    }

    pub(crate) fn value_bytes(&self) -> Bytes {
        match &self.run.entries[self.at].value {
            RunValue::Small(start, end) => self.run.data.slice(*start as usize..*end as usize),
            RunValue::Large(v) => v.clone(),
        }
    }

    #[inline]
    pub(crate) fn step(&mut self) {
        self.at += 1;
        if self.at >= self.run.entries.len() {
            self.fill();
        }
    }

    /// Copies the next run, going over shards until something is found or the end is reached.
    fn fill(&mut self) {
        self.at = 0;
        self.run.entries.clear();
        let mut entries = std::mem::take(&mut self.run.entries);
        let mut data = BytesMut::new();
        while entries.is_empty()
            && let Some(from) = self.resume.take()
        {
            let mut out = Filler { data: &mut data, entries: &mut entries, limit: self.next_run };
            self.resume = if self.reverse {
                self.fill_back(&from, &mut out)
            } else {
                self.fill_forward(&from, &mut out)
            };
        }
        self.run = Run { data: data.freeze(), entries };
        self.next_run = (self.next_run * 4).min(LONGEST_RUN);
    }

    fn fill_forward(&self, from: &Resume, out: &mut Filler<'_>) -> Option<Resume> {
        let key = from.key.as_deref().unwrap_or(&[]);
        self.mem.with_shard(key, |shard| {
            let mut place = shard.lower_bound(key, from.tag);
            let mut last: Option<&[u8]> = None;
            while let Some((k, tag, value)) = shard.entry(place) {
                let wanted = match self.visible_at {
                    None => true,
                    Some(seq) => seq_of(tag) <= seq && last != Some(k),
                };
                if wanted {
                    if out.is_full() {
                        return Some(self.resume_at(k, tag));
                    }
                    out.push(k, tag, value);
                    last = Some(k);
                }
                place = shard.after(place);
            }
            next_shard(shard)
        })
    }

    /// A full run stopped before this entry. In visible mode the whole key is still to come.
    fn resume_at(&self, key: &[u8], tag: u64) -> Resume {
        let tag = if self.visible_at.is_some() { u64::MAX } else { tag };
        Resume { key: Some(Bytes::copy_from_slice(key)), tag }
    }

    fn fill_back(&self, from: &Resume, out: &mut Filler<'_>) -> Option<Resume> {
        let seq = self.visible_at.unwrap_or(u64::MAX >> 4);
        self.mem.with_shard_below(from.key.as_deref(), |shard, low| {
            let mut place = match from.key.as_deref() {
                Some(key) => shard.lower_bound(key, u64::MAX),
                None => shard.end(),
            };
            // Versions of a key come oldest first; the last visible one met before the key changes is its
            // newest.
            let mut newest: Option<(&[u8], u64, Value<'_>)> = None;
            while let Some(before) = shard.before(place) {
                let Some((key, tag, value)) = shard.entry(before) else { break };
                if let Some((k, t, v)) = newest
                    && k != key
                {
                    if out.is_full() {
                        // Everything at or above the last key copied is done.
                        let (s, e) = out.entries.last()?.key;
                        let done = Bytes::copy_from_slice(&out.data[s as usize..e as usize]);
                        return Some(Resume { key: Some(done), tag: 0 });
                    }
                    out.push(k, t, v);
                    newest = None;
                }
                if seq_of(tag) <= seq {
                    newest = Some((key, tag, value));
                }
                place = before;
            }
            if let Some((k, t, v)) = newest {
                out.push(k, t, v);
            }
            (!low.is_empty()).then(|| Resume { key: Some(Bytes::copy_from_slice(low)), tag: 0 })
        })
    }
}

fn next_shard(shard: &Shard) -> Option<Resume> {
    let high = shard.high.as_deref()?;
    Some(Resume { key: Some(Bytes::copy_from_slice(high)), tag: u64::MAX })
}

struct Filler<'a> {
    data: &'a mut BytesMut,
    entries: &'a mut Vec<RunEntry>,
    limit: usize,
}

impl Filler<'_> {
    fn is_full(&self) -> bool {
        self.entries.len() >= self.limit || self.data.len() >= RUN_BYTES
    }

    fn push(&mut self, key: &[u8], tag: u64, value: Value<'_>) {
        let start = self.data.len() as u32;
        self.data.extend_from_slice(key);
        let key_end = self.data.len() as u32;
        let value = match value {
            Value::Small(v) => {
                self.data.extend_from_slice(v);
                RunValue::Small(key_end, self.data.len() as u32)
            }
            Value::Large(v) => RunValue::Large(v.clone()),
        };
        self.entries.push(RunEntry { key: (start, key_end), tag, value });
    }
}
