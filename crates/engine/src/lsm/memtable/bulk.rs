//! Builds memtables from a log at once. Entries are collected in log order, sorted, and laid out as full
//! leaves. This costs a fraction of inserting them one by one. Each run of entries is collected and sorted by
//! a thread of its own.

use super::arena::{Arena, Pos};
use super::leaf::{LEAF_ENTRIES, Leaf};
use super::shard::{SHARD_LEAVES, Shard};
use super::{ENTRY_OVERHEAD, MemPool, Memtable, RANGE_DEL_OVERHEAD, ShardMap};
use crate::lsm::batch::{Op, Ops};
use crate::lsm::key::{KIND_DELETE, KIND_PUT, common_prefix, prefix8, tag};
use crate::lsm::sorted_keys::SortedKeys;
use crate::sync::{ArcSwap, RwLock};
use bytes::Bytes;
use std::cmp::Ordering;
use std::sync::Arc;

/// An operation, before it has its sequence number.
#[derive(Clone, Copy)]
struct Entry {
    /// Eight bytes of the key behind those that all keys of the run share.
    prefix: u64,
    /// Number of the operation within the run, times two, plus one for a put.
    order: u32,
    pos: Pos,
}

/// Consecutive batches of the log.
#[derive(Default)]
pub(crate) struct BulkRun {
    arena: Arena,
    entries: Vec<Entry>,
    /// Start, end, number of the operation.
    range_dels: Vec<(Bytes, Bytes, u32)>,
    /// Records whose value is kept outside the chunks.
    large: Vec<Pos>,
    operations: u32,
    bytes: usize,
    /// First and last batch; 0 while there is none.
    first_index: u64,
    last_index: u64,
    /// Bytes that all keys share; meaningful once there is an entry.
    skip: usize,
    sorted: bool,
}

impl BulkRun {
    /// Adds a batch. False if it does not fit any more.
    pub(crate) fn add(&mut self, index: u64, ops: Ops<'_>) -> bool {
        if self.first_index == 0 {
            self.first_index = index;
        }
        self.last_index = index;
        self.sorted = false;
        for op in ops {
            if self.operations >= u32::MAX / 2 - 1 {
                return false;
            }
            let number = self.operations;
            self.operations += 1;
            let (key, value, put) = match op {
                Op::Put { key, value } => (key, value, 1),
                Op::Delete { key } => (key, &[][..], 0),
                Op::DeleteRange { start, end } => {
                    self.bytes += 2 * (start.len() + end.len() + RANGE_DEL_OVERHEAD);
                    let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
                    self.range_dels.push((start, end, number));
                    continue;
                }
            };
            let Some(pos) = self.arena.push(key, value) else { return false };
            if Arena::is_large(value) {
                self.large.push(pos);
            }
            match self.entries.first() {
                None => self.skip = key.len(),
                Some(first) => {
                    let shared = &self.arena.key(first.pos)[..self.skip];
                    if !key.starts_with(shared) {
                        self.skip = common_prefix(shared, key);
                    }
                }
            }
            self.entries.push(Entry { prefix: 0, order: number << 1 | put, pos });
            self.bytes += key.len() + value.len() + ENTRY_OVERHEAD;
        }
        true
    }

    /// Memory that it takes as a memtable, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn operations(&self) -> u64 {
        u64::from(self.operations)
    }

    pub(crate) fn first_index(&self) -> u64 {
        self.first_index
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.last_index
    }

    /// Brings the entries into internal order.
    pub(crate) fn sort(&mut self) {
        if !self.sorted {
            let (arena, skip) = (&self.arena, self.skip);
            for entry in &mut self.entries {
                entry.prefix = prefix8(arena.key(entry.pos), skip);
            }
            self.entries.sort_unstable_by(|a, b| compare(a, b, arena));
            self.sorted = true;
        }
    }

    /// Appends the run that follows in the log. Both are sorted, and so is the result.
    fn append(&mut self, other: Self) {
        if other.entries.is_empty() || self.entries.is_empty() {
            if self.entries.is_empty() {
                self.skip = other.skip;
            }
        } else {
            let shared = &self.arena.key(self.entries[0].pos)[..self.skip];
            self.skip = common_prefix(shared, other.arena.key(other.entries[0].pos)).min(other.skip);
        }
        let (skip, chunks) = (self.skip, self.arena.absorb(other.arena, &other.large));
        let moved = |pos: Pos| pos + (chunks << 16);
        let operations = self.operations;
        self.entries.extend(other.entries.iter().map(|e| Entry {
            prefix: e.prefix,
            order: e.order + (operations << 1),
            pos: moved(e.pos),
        }));
        self.large.extend(other.large.iter().map(|pos| moved(*pos)));
        self.range_dels.extend(other.range_dels.into_iter().map(|(a, b, n)| (a, b, n + operations)));
        self.operations += other.operations;
        self.bytes += other.bytes;
        if self.first_index == 0 {
            self.first_index = other.first_index;
        }
        self.last_index = self.last_index.max(other.last_index);
        let arena = &self.arena;
        for entry in &mut self.entries {
            entry.prefix = prefix8(arena.key(entry.pos), skip);
        }
        // Two sorted runs: this sort finds them and merges.
        self.entries.sort_by(|a, b| compare(a, b, arena));
    }
}

fn compare(a: &Entry, b: &Entry, arena: &Arena) -> Ordering {
    let by_key = a.prefix.cmp(&b.prefix).then_with(|| arena.key(a.pos).cmp(arena.key(b.pos)));
    by_key.then(b.order.cmp(&a.order))
}

impl Memtable {
    /// A memtable of consecutive sorted runs (at least one), whose first operation has the sequence number
    /// after `last_seq`.
    pub(crate) fn from_runs(epoch: u64, runs: Vec<BulkRun>, last_seq: u64, pool: Arc<MemPool>) -> Self {
        let mut runs = runs.into_iter();
        let mut run = runs.next().unwrap_or_default();
        runs.for_each(|next| run.append(next));
        run.arena.seal();
        // The chunks so far came from the allocator; those of later writes do not.
        run.arena.set_pool(pool.clone());
        let mem =
            Self { map: ArcSwap::from_pointee(shards(&run, last_seq, &pool)), ..Self::new(epoch, pool) };
        for (start, end, number) in &run.range_dels {
            mem.range_dels.write().insert(start, end, last_seq + 1 + u64::from(*number));
        }
        use crate::sync::atomic::Ordering::Relaxed;
        mem.has_range_dels.store(!run.range_dels.is_empty(), Relaxed);
        mem.bytes.store(run.bytes, Relaxed);
        mem.entries.store(run.entries.len() + run.range_dels.len(), Relaxed);
        if run.operations > 0 {
            mem.first_seq.store(last_seq + 1, Relaxed);
            mem.last_seq.store(last_seq + run.operations(), Relaxed);
        }
        mem.set_log_index(run.last_index);
        mem
    }
}

/// Lays sorted entries out as shards of full leaves, half as many leaves as a shard may have.
fn shards(run: &BulkRun, last_seq: u64, pool: &Arc<MemPool>) -> ShardMap {
    let arena = &run.arena;
    let mut lows: Vec<&[u8]> = vec![&[]];
    let mut shards: Vec<Shard> = Vec::new();
    let mut rest = &run.entries[..];
    let per_shard = SHARD_LEAVES / 2 * LEAF_ENTRIES;
    while !rest.is_empty() || shards.is_empty() {
        let mut len = rest.len().min(per_shard);
        // Versions of one key stay together.
        while len > 0 && len < rest.len() && arena.key(rest[len - 1].pos) == arena.key(rest[len].pos) {
            len += 1;
        }
        let (mine, others) = rest.split_at(len);
        rest = others;
        let leaves = mine.chunks(LEAF_ENTRIES).map(|entries| {
            let tagged = entries.iter().map(|e| {
                let kind = if e.order & 1 == 1 { KIND_PUT } else { KIND_DELETE };
                (e.prefix, tag(last_seq + 1 + u64::from(e.order >> 1), kind), e.pos)
            });
            Leaf::from_sorted(tagged, run.skip, arena)
        });
        let high = others.first().map(|e| Box::from(arena.key(e.pos)));
        lows.extend(others.first().map(|e| arena.key(e.pos)));
        shards.push(Shard::from_leaves(high, arena.clone(), leaves.collect(), pool.clone()));
    }
    ShardMap {
        lows: SortedKeys::new(lows.into_iter()),
        shards: shards.into_iter().map(|s| Arc::new(RwLock::new(s))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GetOutcome, MemIter};
    use super::*;
    use crate::lsm::batch::WriteBatch;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn all(mem: &Arc<Memtable>) -> Vec<(Vec<u8>, u64, Vec<u8>)> {
        let mut it = MemIter::new(mem.clone(), None, false);
        it.seek(&[]);
        let mut out = Vec::new();
        while it.valid() {
            out.push((it.key().to_vec(), it.tag(), it.value().to_vec()));
            it.step();
        }
        out
    }

    /// Kind, key (after a prefix that many share), value length.
    fn ops() -> impl Strategy<Value = Vec<(u8, Vec<u8>, usize)>> {
        let len = prop_oneof![9 => 0usize..40, 1 => 2000usize..5000];
        vec((0u8..12, vec(0u8..4, 0..10), len), 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_bulk_memtable_equals_one_filled_by_inserting(
            runs in vec(ops(), 1..4), lead in vec(any::<u8>(), 0..12), batch_len in 1usize..8, later in ops(),
        ) {
            let plain = Arc::new(Memtable::new(3, Arc::default()));
            let (mut seq, mut index) = (77, 9);
            let insert = |mem: &Memtable, seq: u64, op: Op<'_>| match op {
                Op::Put { key, value } => mem.insert(key, seq, KIND_PUT, value),
                Op::Delete { key } => mem.insert(key, seq, KIND_DELETE, &[]),
                Op::DeleteRange { start, end } => mem.delete_range(start, end, seq),
            };
            let build = |batch: &mut WriteBatch, (kind, key, len): &(u8, Vec<u8>, usize)| {
                let key = [&lead[..], key].concat();
                match kind {
                    0..2 => batch.delete(&key),
                    2 => batch.delete_range(&key, &[&key[..], &[1]].concat()),
                    _ => batch.put(&key, &vec![*kind; *len]),
                }
            };
            let mut bulk = Vec::new();
            for run in &runs {
                let mut gathered = BulkRun::default();
                for ops in run.chunks(batch_len) {
                    index += 1;
                    let mut batch = WriteBatch::new();
                    ops.iter().for_each(|op| build(&mut batch, op));
                    prop_assert!(gathered.add(index, batch.iter()));
                    for op in &batch {
                        seq += 1;
                        insert(&plain, seq, op);
                    }
                    plain.set_log_index(index);
                }
                gathered.sort();
                bulk.push(gathered);
            }
            let bulk = Arc::new(Memtable::from_runs(3, bulk, 77, MemPool::new(1 << 20)));
            prop_assert_eq!(bulk.bytes(), plain.bytes());
            prop_assert_eq!(bulk.entries(), plain.entries());
            prop_assert_eq!(bulk.last_seq(), plain.last_seq());
            prop_assert_eq!(bulk.log_index(), plain.log_index());
            prop_assert_eq!(bulk.range_dels(), plain.range_dels());
            prop_assert_eq!(all(&bulk), all(&plain));
            // It is a memtable like any other: writing goes on in it.
            for op in &later {
                let mut batch = WriteBatch::new();
                build(&mut batch, op);
                for op in &batch {
                    seq += 1;
                    insert(&plain, seq, op);
                    insert(&bulk, seq, op);
                    if let Op::Put { key, .. } | Op::Delete { key } = op {
                        prop_assert_ne!(bulk.get(key, seq), GetOutcome::Missing);
                        prop_assert_eq!(bulk.get(key, seq - 1), plain.get(key, seq - 1));
                    }
                }
            }
            prop_assert_eq!(all(&bulk), all(&plain));
        }
    }

    #[test]
    fn many_shards_keep_the_versions_of_a_key_together() {
        let mut run = BulkRun::default();
        let mut batch = WriteBatch::new();
        for n in 0..60_000u64 {
            // A third of the entries are versions of one key, so that a shard's end falls among them.
            let key = if n % 3 == 0 { 0x8000 } else { n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48 };
            batch.put(&key.to_be_bytes(), &n.to_be_bytes());
        }
        assert!(run.add(1, batch.iter()));
        run.sort();
        let mem = Arc::new(Memtable::from_runs(0, vec![run], 0, Arc::default()));
        assert!(mem.map.load().shards.len() > 3);
        assert!(
            all(&mem)
                .windows(2)
                .all(|w| (&w[0].0, std::cmp::Reverse(w[0].1)) < (&w[1].0, std::cmp::Reverse(w[1].1)))
        );
        for n in (0..60_000u64).step_by(3) {
            assert_eq!(
                mem.get(&0x8000u64.to_be_bytes(), n + 1),
                GetOutcome::Value(n.to_be_bytes().to_vec().into())
            );
        }
    }
}
