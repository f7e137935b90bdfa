//! Compares tables with a sorted list, and flips every byte of a small table.

use super::*;
use crate::env::{Env, SimEnv};
use crate::lsm::bloom::key_hash;
use crate::lsm::cache::BlockCache;
use crate::lsm::key::{KIND_DELETE, KIND_PUT, kind_of, seq_of, tag};
use crate::lsm::memtable::GetOutcome;
use crate::lsm::range_del::{RangeDelMap, RangeDels};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

type Entry = (Vec<u8>, u64, Vec<u8>);

const PATH: &str = "/t/000001.sst";

fn layout(block_bytes: usize, kind: u8) -> TableLayout {
    let compression = [Compression::None, Compression::Lz4, Compression::Zstd(1)][kind as usize % 3];
    TableLayout { block_bytes, compression, bits_per_key: 10 }
}

fn build(env: &SimEnv, entries: &[Entry], dels: &RangeDels, layout: TableLayout) -> TableSummary {
    env.create_dir_all(Path::new("/t")).unwrap();
    let mut b = TableBuilder::create(env, Path::new(PATH), 1, layout).unwrap();
    for (k, t, v) in entries {
        b.add(k, *t, v).unwrap();
    }
    for f in &dels.frags {
        b.add_fragment(f.clone());
    }
    b.finish().unwrap()
}

fn open(env: &SimEnv, size: u64, global_seq: u64) -> crate::Result<Arc<Table>> {
    let cache = Arc::new(BlockCache::new(1 << 16, 4096));
    Ok(Arc::new(Table::open(env, Path::new(PATH), 1, size, global_seq, cache)?))
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    // Few keys with many versions, so that versions of a key run over block and partition ends.
    vec((vec(0u8..3, 0..5), 1u64..40, any::<bool>(), vec(any::<u8>(), 0..60)), 0..150).prop_map(|raw| {
        let mut out: Vec<Entry> = raw
            .into_iter()
            .map(
                |(k, s, put, v)| {
                    if put { (k, tag(s, KIND_PUT), v) } else { (k, tag(s, KIND_DELETE), vec![]) }
                },
            )
            .collect();
        out.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        out.dedup_by(|a, b| a.0 == b.0 && seq_of(a.1) == seq_of(b.1));
        out
    })
}

fn collect(iter: &mut TableIter) -> Vec<Entry> {
    let mut out = Vec::new();
    while iter.valid() {
        assert_eq!(iter.value_bytes(), iter.value());
        out.push((iter.key().to_vec(), iter.tag(), iter.value().to_vec()));
        iter.step().unwrap();
    }
    out
}

proptest! {
    #[test]
    fn agrees_with_a_list(
        entries in entries(), block_bytes in 128usize..400, kind in 0u8..3,
        raw_dels in vec((vec(0u8..3, 1..4), vec(0u8..3, 1..4), 1u64..40), 0..4),
        probes in vec((vec(0u8..3, 0..5), 0u64..41), 30), global in prop_oneof![Just(0u64), Just(25u64)],
    ) {
        let mut map = RangeDelMap::default();
        for (a, b, seq) in &raw_dels {
            if a < b {
                map.insert(a, b, *seq);
            }
        }
        // An ingested table has one version of each key, all of one number, and no range deletes.
        let (entries, dels) = if global == 0 {
            (entries, map.freeze())
        } else {
            let mut e = entries;
            e.dedup_by(|a, b| a.0 == b.0);
            (e, RangeDels::default())
        };
        let env = SimEnv::new(0);
        let summary = build(&env, &entries, &dels, layout(block_bytes, kind));
        prop_assert_eq!(summary.entries as usize, entries.len());
        let table = open(&env, summary.size, global).unwrap();
        let own = table.properties().unwrap();
        prop_assert_eq!((&own.smallest, &own.largest, own.largest_exclusive), (&summary.smallest, &summary.largest, summary.largest_exclusive));
        prop_assert_eq!(table.range_dels(), &dels);
        let seen: Vec<Entry> = entries
            .iter()
            .map(|(k, t, v)| (k.clone(), if global == 0 { *t } else { tag(global, kind_of(*t)) }, v.clone()))
            .collect();
        for access in [Access::Cached, Access::Sequential] {
            let mut forward = TableIter::new(table.clone(), access, false);
            forward.seek(&[]).unwrap();
            prop_assert_eq!(&collect(&mut forward), &seen);
            let mut back = TableIter::new(table.clone(), access, true);
            back.seek_before(None).unwrap();
            let mut got = collect(&mut back);
            got.reverse();
            prop_assert_eq!(&got, &seen);
        }
        for (k, seq) in probes {
            let cover = dels.cover(&k, seq);
            let newest = seen.iter().find(|e| e.0 == k && seq_of(e.1) <= seq);
            let want = match newest {
                Some((_, t, v)) if seq_of(*t) >= cover => match kind_of(*t) {
                    KIND_PUT => GetOutcome::Value(Bytes::from(v.clone())),
                    _ => GetOutcome::Deleted,
                },
                _ if cover > 0 => GetOutcome::Deleted,
                Some(_) => GetOutcome::Deleted,
                None => GetOutcome::Missing,
            };
            prop_assert_eq!(table.get(&k, key_hash(&k), seq).unwrap(), want);
            let at = seen.partition_point(|e| e.0 < k);
            let mut forward = TableIter::new(table.clone(), Access::Cached, false);
            forward.seek(&k).unwrap();
            prop_assert_eq!(collect(&mut forward), &seen[at..]);
            let mut back = TableIter::new(table.clone(), Access::Cached, true);
            back.seek_before(Some(&k)).unwrap();
            let mut got = collect(&mut back);
            got.reverse();
            prop_assert_eq!(got, &seen[..at]);
        }
    }
}

/// Every single-bit flip of a small table is reported by whoever reads the damaged part; nothing wrong is
/// ever served.
#[test]
fn every_flip_is_detected_or_harmless() {
    let env = SimEnv::new(0);
    let entries: Vec<Entry> = (0..60u32)
        .map(|i| (format!("key{i:04}").into_bytes(), tag(u64::from(i) + 1, KIND_PUT), vec![i as u8; 20]))
        .collect();
    let mut map = RangeDelMap::default();
    map.insert(b"m", b"n", 99);
    let dels = map.freeze();
    let summary = build(&env, &entries, &dels, layout(256, 1));
    let (mut at_open, mut at_read) = (0, 0);
    for offset in 0..summary.size {
        let bit = (offset % 8) as u8;
        assert!(env.flip_bit(Path::new(PATH), offset, bit));
        match open(&env, summary.size, 0) {
            Err(_) => at_open += 1,
            Ok(table) => {
                let mut failed = table.properties().is_err() || table.check_filters().is_err();
                for (k, t, v) in &entries {
                    match table.get(k, key_hash(k), 1000) {
                        Ok(found) => {
                            assert_eq!(found, GetOutcome::Value(Bytes::from(v.clone())), "byte {offset}, {t}")
                        }
                        Err(e) => {
                            failed = true;
                            let text = e.to_string();
                            assert!(text.contains(PATH) && text.contains("at byte"), "{text}");
                        }
                    }
                }
                assert_eq!(table.range_dels(), &dels);
                assert!(failed, "flip of byte {offset} went unseen");
                at_read += 1;
            }
        }
        assert!(env.flip_bit(Path::new(PATH), offset, bit));
    }
    assert!(at_open > 50 && at_read > 500, "{at_open} at open, {at_read} at read");
}

#[test]
fn filters_answer_absent_keys() {
    let env = SimEnv::new(0);
    let entries: Vec<Entry> = (0..20_000u32)
        .map(|i| (format!("key{i:08}").into_bytes(), tag(1, KIND_PUT), b"v".to_vec()))
        .collect();
    let summary = build(&env, &entries, &RangeDels::default(), layout(4096, 1));
    let table = open(&env, summary.size, 0).unwrap();
    assert!(entries.iter().all(|(k, ..)| table.filter_passes(k).unwrap()));
    let tries = 100_000;
    let passed =
        (0..tries).filter(|i| table.filter_passes(format!("key{i:08}x").as_bytes()).unwrap()).count();
    assert!(passed * 100 < tries, "{passed} of {tries} absent keys passed");
}

/// `cargo test --release -p torc-engine ten_million -- --ignored --nocapture`
#[test]
#[ignore = "ten million lookups"]
fn filters_pass_under_one_in_a_hundred_of_ten_million_absent_keys() {
    let env = SimEnv::new(0);
    let path = Path::new("/filter.sst");
    let layout = TableLayout { block_bytes: 4096, compression: Compression::Lz4, bits_per_key: 10 };
    let mut builder = TableBuilder::create(&env, path, 1, layout).unwrap();
    let keys = 1_000_000u64;
    for n in 0..keys {
        builder.add(&(n * 2).to_be_bytes(), crate::lsm::key::tag(n + 1, KIND_PUT), b"value").unwrap();
    }
    let size = builder.finish().unwrap().size;
    let table = Table::open(&env, path, 1, size, 0, Arc::new(BlockCache::new(64 << 20, 4096))).unwrap();
    let (mut passed, absent) = (0u64, 10_000_000u64);
    for n in 0..absent {
        // Between two keys, and with bytes behind that make each of the ten different.
        let key = [&((n % keys) * 2 + 1).to_be_bytes()[..], &[(n / keys) as u8]].concat();
        passed += u64::from(table.filter_passes(&key).unwrap());
    }
    let present = (0..keys).filter(|n| table.filter_passes(&(n * 2).to_be_bytes()).unwrap()).count() as u64;
    println!("{passed} of {absent} absent keys passed: {:.3} %", passed as f64 * 100.0 / absent as f64);
    assert_eq!(present, keys);
    assert!(passed * 100 < absent);
}
