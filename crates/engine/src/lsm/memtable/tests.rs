//! Compares the memtable with an ordered map, across splits of leaves and shards.

use super::*;
use crate::lsm::key::{KIND_DELETE, KIND_PUT, MAX_SEQ};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// (key, newest first) to value; `None` is a delete.
type Model = BTreeMap<(Vec<u8>, std::cmp::Reverse<u64>), Option<Vec<u8>>>;

fn visible(model: &Model, seq: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut out: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    for ((k, s), v) in model {
        if s.0 <= seq && out.last().is_none_or(|(last, _)| last != k) {
            out.push((k.clone(), v.clone()));
        }
    }
    out
}

fn collect(mut it: MemIter) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut out = Vec::new();
    while it.valid() {
        let value = (kind_of(it.tag()) == KIND_PUT).then(|| it.value().to_vec());
        assert_eq!(it.value_bytes(), it.value());
        out.push((it.key().to_vec(), value));
        it.step();
    }
    out
}

fn check(seed: u64, writes: u64, key_space: u64, style: u8) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mem = Arc::new(Memtable::new(0, Arc::default()));
    let mut model = Model::new();
    let key = |rng: &mut ChaCha8Rng, i: u64| -> Vec<u8> {
        let n = rng.random_range(0..key_space);
        match style {
            0 => format!("a long common prefix of keys/{n:08}").into_bytes(),
            1 => n.to_be_bytes()[rng.random_range(0..8)..].to_vec(),
            2 => i.to_be_bytes().to_vec(),
            _ => vec![b'k'; (n % 40) as usize],
        }
    };
    for seq in 1..=writes {
        let k = key(&mut rng, seq);
        if rng.random_ratio(1, 5) {
            mem.insert(&k, seq, KIND_DELETE, b"");
            model.insert((k, std::cmp::Reverse(seq)), None);
        } else {
            let len = if rng.random_ratio(1, 200) { 3000 } else { rng.random_range(0..30) };
            let v = vec![seq as u8; len];
            mem.insert(&k, seq, KIND_PUT, &v);
            model.insert((k, std::cmp::Reverse(seq)), Some(v));
        }
    }
    for at in [0, 1, writes / 3, writes / 2, writes, MAX_SEQ] {
        let want = visible(&model, at);
        for (k, v) in want.iter().take(500) {
            let found = match v {
                Some(v) => GetOutcome::Value(Bytes::from(v.clone())),
                None => GetOutcome::Deleted,
            };
            assert_eq!(mem.get(k, at), found);
        }
        let mut forward = MemIter::new(mem.clone(), Some(at), false);
        forward.seek(b"");
        assert_eq!(collect(forward), want, "forward at {at}");
        let mut back = MemIter::new(mem.clone(), Some(at), true);
        back.seek_before(None);
        let mut got = collect(back);
        got.reverse();
        assert_eq!(got, want, "reverse at {at}");
        for _ in 0..20 {
            let k = key(&mut rng, writes / 2);
            let split = want.partition_point(|(w, _)| *w < k);
            let mut forward = MemIter::new(mem.clone(), Some(at), false);
            forward.seek(&k);
            assert_eq!(collect(forward), want[split..]);
            let mut back = MemIter::new(mem.clone(), Some(at), true);
            back.seek_before(Some(&k));
            let mut got = collect(back);
            got.reverse();
            assert_eq!(got, want[..split]);
        }
    }
    let mut all = MemIter::new(mem.clone(), None, false);
    all.seek(b"");
    let all = collect(all);
    assert_eq!(all.len(), model.len());
    assert!(all.iter().zip(&model).all(|((k, v), (m, w))| *k == m.0 && v == w));
    assert_eq!(mem.last_seq(), writes);
}

#[test]
fn agrees_with_an_ordered_map() {
    for seed in 0..12 {
        for style in 0..4 {
            check(seed, 400, 50, style);
        }
    }
}

#[test]
fn agrees_through_shard_splits() {
    for style in 0..4 {
        check(7, 40_000, 30_000, style);
        check(8, 20_000, 20, style);
    }
}

#[test]
fn range_deletes_hide_older_entries_only() {
    let mem = Memtable::new(0, Arc::default());
    mem.insert(b"b", 1, KIND_PUT, b"old");
    mem.insert(b"d", 2, KIND_PUT, b"kept");
    mem.delete_range(b"a", b"d", 3);
    mem.insert(b"b", 4, KIND_PUT, b"new");
    let cases: &[(&[u8], u64, GetOutcome)] = &[
        (b"b", 2, GetOutcome::Value(Bytes::from_static(b"old"))),
        (b"b", 3, GetOutcome::Deleted),
        (b"b", 4, GetOutcome::Value(Bytes::from_static(b"new"))),
        (b"c", 2, GetOutcome::Missing),
        (b"c", 3, GetOutcome::Deleted),
        (b"d", 9, GetOutcome::Value(Bytes::from_static(b"kept"))),
        (b"e", 9, GetOutcome::Missing),
    ];
    for (key, seq, want) in cases {
        assert_eq!(mem.get(key, *seq), *want, "{key:?} at {seq}");
    }
}

#[test]
fn readers_run_beside_a_writer() {
    let mem = Arc::new(Memtable::new(0, Arc::default()));
    let published = Arc::new(AtomicU64::new(0));
    let total = 60_000u64;
    std::thread::scope(|s| {
        for t in 0..2u64 {
            let (mem, published) = (mem.clone(), published.clone());
            s.spawn(move || {
                let mut rng = ChaCha8Rng::seed_from_u64(t);
                loop {
                    let seq = published.load(Ordering::Acquire);
                    if seq > 0 {
                        let n = rng.random_range(1..=seq);
                        let key = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes();
                        assert_eq!(
                            mem.get(&key, seq),
                            GetOutcome::Value(Bytes::copy_from_slice(&n.to_le_bytes()))
                        );
                        let reverse = rng.random();
                        let mut it = MemIter::new(mem.clone(), Some(seq), reverse);
                        if reverse {
                            it.seek_before(Some(&key))
                        } else {
                            it.seek(&key)
                        }
                        for _ in 0..20 {
                            if !it.valid() {
                                break;
                            }
                            assert!(seq_of(it.tag()) <= seq);
                            it.step();
                        }
                    }
                    if seq == total {
                        break;
                    }
                }
            });
        }
        for seq in 1..=total {
            let key = (seq.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes();
            mem.insert(&key, seq, KIND_PUT, &seq.to_le_bytes());
            published.store(seq, Ordering::Release);
        }
    });
    let mut it = MemIter::new(mem, Some(total), false);
    it.seek(b"");
    assert_eq!(collect(it).len() as u64, total);
}

#[test]
fn memory_goes_round_and_old_contents_do_not_show() {
    let pool = MemPool::new(1 << 20);
    for round in 0..4u64 {
        let mem = Memtable::new(round, pool.clone());
        for n in 0..9000u64 {
            // Other key lengths and prefixes each time.
            let key =
                vec![round as u8; round as usize + 1].into_iter().chain((n * 7919 % 9000).to_be_bytes());
            mem.insert(&key.collect::<Vec<u8>>(), n + 1, KIND_PUT, &[round as u8; 60]);
        }
        assert!(pool.held() < 1 << 16 || round == 0, "round {round}: what was kept is used first");
        let all = collect_all(&Arc::new(mem));
        assert_eq!(all, 9000, "round {round}");
        assert!(pool.held() > 700 << 10 && pool.held() <= 1 << 20, "{}", pool.held());
    }
}

fn collect_all(mem: &Arc<Memtable>) -> usize {
    let mut it = MemIter::new(mem.clone(), None, false);
    it.seek(&[]);
    let mut last: Option<Vec<u8>> = None;
    let mut count = 0;
    while it.valid() {
        assert!(last.as_deref().is_none_or(|l| l < it.key()));
        last = Some(it.key().to_vec());
        count += 1;
        it.step();
    }
    count
}
