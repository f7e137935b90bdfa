//! The state machine of a group, and what it can see while it evaluates a command.
//!
//! The leader evaluates a command once, when it is proposed. The resulting write batch goes through the log,
//! and every replica applies it unchanged. So evaluation may depend on anything that the leader knows, and a
//! follower needs no code for it.

use super::ProposeError;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use torc_engine::{Engine, ScanItem, WriteBatch};

/// The outcome of a command's evaluation.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// The batch to write. None for a command that only answers (a failed condition, a read). Such an answer
    /// is linearizable too.
    pub batch: Option<WriteBatch>,
    /// The answer to the proposer, given once the batch is applied here.
    pub response: Bytes,
}

/// What a group does with its commands.
pub trait Machine: Send {
    /// Evaluates a command on the leader, against the applied state and all writes of this leader that are
    /// still under way.
    ///
    /// The batch must stay inside the group's ranges.
    ///
    /// # Errors
    /// The command is answered with the error and has no effect.
    fn evaluate(&mut self, context: &mut EvalCtx<'_>, command: &[u8]) -> Result<Evaluation, ProposeError>;

    /// A batch was applied to the engine here, as entry `index` (on leader and followers alike).
    fn applied(&mut self, index: u64, batch: &WriteBatch) {
        let _ = (index, batch);
    }

    /// The group's data was replaced by a snapshot: anything remembered of it is void.
    ///
    /// # Errors
    /// The replica stops serving.
    fn restored(&mut self, engine: &Engine) -> Result<(), torc_engine::Error> {
        let _ = engine;
        Ok(())
    }

    /// Whether commands of one turn may share a log entry (and so its index).
    fn joins_entries(&self) -> bool {
        true
    }
}

/// What a command may read while it is evaluated.
pub struct EvalCtx<'a> {
    engine: &'a Engine,
    overlay: &'a Overlay,
    term: u64,
    index: u64,
    touched: u64,
}

impl<'a> EvalCtx<'a> {
    pub(crate) fn new(engine: &'a Engine, overlay: &'a Overlay, term: u64, index: u64) -> Self {
        Self { engine, overlay, term, index, touched: 0 }
    }

    /// The term in which this replica leads. What it has evaluated in a term is committed in order, or lost
    /// with its leadership: what a machine remembers of it holds until the term changes.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The index of the log entry that a batch of this command will be part of.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The value of a key.
    ///
    /// # Errors
    /// Those of [`Engine::get`].
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, torc_engine::Error> {
        match self.overlay.get(key) {
            Some((value, index)) => {
                self.touched = self.touched.max(index);
                Ok(value.clone())
            }
            None => self.engine.get(key),
        }
    }

    /// Live keys in `start..end` in order, at most `limit`. An empty `end` means to the last key.
    ///
    /// # Errors
    /// Those of [`Engine::scan`].
    pub fn scan(
        &mut self,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<ScanItem>, torc_engine::Error> {
        self.touched = self.touched.max(self.overlay.newest_in(start, end));
        let mut pending = self.overlay.range(start, end).peekable();
        let mut stored = self.engine.scan(start, end, false, None);
        let mut next = stored.next().transpose()?;
        let mut out = Vec::new();
        while out.len() < limit {
            let from_overlay = match (pending.peek(), &next) {
                (Some((key, _)), Some(item)) => **key <= item.key,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            if from_overlay {
                let Some((key, value)) = pending.next() else { break };
                if next.as_ref().is_some_and(|item| item.key == *key) {
                    next = stored.next().transpose()?;
                }
                if let Some(value) = value {
                    out.push(ScanItem { key: key.clone(), value: value.clone() });
                }
            } else if let Some(item) = next.take() {
                next = stored.next().transpose()?;
                if !self.overlay.is_range_deleted(&item.key) {
                    out.push(item);
                }
            }
        }
        Ok(out)
    }

    /// The newest pending entry that anything read depends on; 0 if all of it is applied.
    pub(crate) fn touched(&self) -> u64 {
        self.touched
    }
}

/// The writes of a leader that are proposed and not yet applied, by key.
#[derive(Default)]
pub(crate) struct Overlay {
    keys: BTreeMap<Bytes, (Option<Bytes>, u64)>,
    ranges: Vec<(Bytes, Bytes, u64)>,
    order: VecDeque<(u64, Bytes)>,
}

impl Overlay {
    /// Adds a batch that is part of entry `index`.
    pub(crate) fn add(&mut self, index: u64, batch: &WriteBatch) {
        use torc_engine::lsm::Op;
        for op in batch.iter() {
            match op {
                Op::Put { key, value } => {
                    self.set(index, Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)))
                }
                Op::Delete { key } => self.set(index, Bytes::copy_from_slice(key), None),
                Op::DeleteRange { start, end } => self.delete_range(index, start, end),
            }
        }
    }

    fn set(&mut self, index: u64, key: Bytes, value: Option<Bytes>) {
        self.order.push_back((index, key.clone()));
        self.keys.insert(key, (value, index));
    }

    fn delete_range(&mut self, index: u64, start: &[u8], end: &[u8]) {
        let inside: Vec<Bytes> = self.range(start, end).map(|(key, _)| key.clone()).collect();
        for key in inside {
            self.set(index, key, None);
        }
        self.ranges.push((Bytes::copy_from_slice(start), Bytes::copy_from_slice(end), index));
    }

    /// Entries through `index` are applied: the engine has them.
    pub(crate) fn applied(&mut self, index: u64) {
        while self.order.front().is_some_and(|(i, _)| *i <= index) {
            let Some((_, key)) = self.order.pop_front() else { break };
            if self.keys.get(&key).is_some_and(|(_, i)| *i <= index) {
                self.keys.remove(&key);
            }
        }
        self.ranges.retain(|(_, _, i)| *i > index);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The pending value of a key and its entry; `None` if nothing pending concerns it.
    fn get(&self, key: &[u8]) -> Option<(&Option<Bytes>, u64)> {
        if let Some((value, index)) = self.keys.get(key) {
            return Some((value, *index));
        }
        // A key written after a pending range deletion is in `keys`: found above.
        let covering = self.ranges.iter().filter(|(start, end, _)| &start[..] <= key && key < &end[..]);
        covering.map(|(_, _, index)| *index).max().map(|index| (&None, index))
    }

    fn is_range_deleted(&self, key: &[u8]) -> bool {
        self.ranges.iter().any(|(start, end, _)| &start[..] <= key && key < &end[..])
    }

    fn range(&self, start: &[u8], end: &[u8]) -> impl Iterator<Item = (&Bytes, &Option<Bytes>)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let upper = if end.is_empty() { Unbounded } else { Excluded(end) };
        let empty = !end.is_empty() && end <= start;
        let bounds = if empty { (Included(start), Included(start)) } else { (Included(start), upper) };
        self.keys.range::<[u8], _>(bounds).filter(move |_| !empty).map(|(key, (value, _))| (key, value))
    }

    fn newest_in(&self, start: &[u8], end: &[u8]) -> u64 {
        let keys = self.range(start, end).filter_map(|(key, _)| self.keys.get(key)).map(|(_, index)| *index);
        let overlaps = |s: &[u8], e: &[u8]| (end.is_empty() || s < end) && start < e;
        let ranges = self.ranges.iter().filter(|(s, e, _)| overlaps(s, e)).map(|(_, _, index)| *index);
        keys.chain(ranges).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(ops: &[(&str, Option<&str>)]) -> WriteBatch {
        let mut b = WriteBatch::new();
        for (key, value) in ops {
            match value {
                Some(v) => b.put(key.as_bytes(), v.as_bytes()),
                None => b.delete(key.as_bytes()),
            }
        }
        b
    }

    fn get(o: &Overlay, key: &str) -> Option<(Option<String>, u64)> {
        o.get(key.as_bytes()).map(|(v, i)| (v.as_ref().map(|v| String::from_utf8_lossy(v).into_owned()), i))
    }

    #[test]
    fn the_newest_pending_write_wins_until_it_is_applied() {
        let mut o = Overlay::default();
        o.add(6, &batch(&[("a", Some("1")), ("b", Some("1"))]));
        o.add(7, &batch(&[("a", Some("2")), ("b", None)]));
        assert_eq!(get(&o, "a"), Some((Some("2".into()), 7)));
        assert_eq!(get(&o, "b"), Some((None, 7)));
        assert_eq!(get(&o, "c"), None);
        o.applied(6);
        assert_eq!(get(&o, "a"), Some((Some("2".into()), 7)));
        o.applied(7);
        assert_eq!(get(&o, "a"), None);
        assert!(o.keys.is_empty() && o.order.is_empty());
    }

    #[test]
    fn range_deletions_hide_what_came_before_and_not_what_came_after() {
        let mut o = Overlay::default();
        o.add(6, &batch(&[("b", Some("1")), ("x", Some("1"))]));
        let mut deletion = WriteBatch::new();
        deletion.delete_range(b"a", b"m");
        o.add(7, &deletion);
        o.add(8, &batch(&[("c", Some("3"))]));
        assert_eq!(get(&o, "b"), Some((None, 7)));
        assert_eq!(get(&o, "d"), Some((None, 7)));
        assert_eq!(get(&o, "c"), Some((Some("3".into()), 8)));
        assert_eq!(get(&o, "m"), None);
        assert_eq!(get(&o, "x"), Some((Some("1".into()), 6)));
        assert_eq!(o.newest_in(b"a", b""), 8);
        assert_eq!(o.newest_in(b"d", b"e"), 7);
        assert_eq!(o.newest_in(b"n", b"o"), 0);
        o.applied(7);
        assert_eq!(get(&o, "d"), None);
        assert_eq!(get(&o, "c"), Some((Some("3".into()), 8)));
    }
}
