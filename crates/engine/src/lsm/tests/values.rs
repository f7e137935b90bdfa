//! Large values in value files: where they are stored, when they are removed, and what a read returns when
//! they are damaged.

use super::{DIR, open, separating};
use crate::env::{Env, OpenMode, SimEnv};
use crate::lsm::{CompactionFilter, Engine, Filter, Options, WriteBatch, inspect_manifest, inspect_values};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn value(n: u32, round: u32) -> Vec<u8> {
    let seed = n.wrapping_mul(2_654_435_761).wrapping_add(round * 97).to_le_bytes();
    (0..100 + n as usize % 50).map(|i| seed[i % 4].wrapping_add((i * i) as u8)).collect()
}

fn key(n: u32) -> Vec<u8> {
    format!("key{n:05}").into_bytes()
}

fn put(engine: &Engine, n: u32, round: u32) {
    let mut b = WriteBatch::new();
    b.put(&key(n), &value(n, round));
    engine.write(&b).unwrap();
}

fn settle(engine: &Engine) {
    engine.flush().unwrap();
    while engine.background_step().unwrap() {}
}

fn value_files(env: &SimEnv) -> Vec<PathBuf> {
    let dir = Path::new(DIR).join("tables");
    let names = env.list(&dir).unwrap();
    names.into_iter().filter(|n| n.extension().is_some_and(|e| e == "val")).map(|n| dir.join(n)).collect()
}

fn everything(engine: &Engine, reverse: bool) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    engine.scan(b"", b"", reverse, None).map(|i| i.map(|i| (i.key.to_vec(), i.value.to_vec()))).collect()
}

#[test]
fn a_large_value_is_in_no_table_and_reads_the_same() {
    let env = SimEnv::new(1);
    let engine = open(&env, separating(100)).unwrap();
    let mut model = BTreeMap::new();
    for n in 0..200 {
        put(&engine, n, 0);
        model.insert(key(n), value(n, 0));
        let mut b = WriteBatch::new();
        b.put(&[b"small", &key(n)[..]].concat(), b"inline");
        engine.write(&b).unwrap();
        model.insert([b"small", &key(n)[..]].concat(), b"inline".to_vec());
    }
    settle(&engine);
    let m = engine.metrics();
    assert!(m.value_files > 5 && m.value_live_bytes > 200 * 100, "{m:?}");
    assert!(m.table_bytes() < m.value_live_bytes);
    for (reverse, again) in [(false, false), (true, false), (false, true)] {
        if again {
            engine.compact_all().unwrap();
        }
        assert_eq!(everything(&engine, reverse).unwrap(), model);
    }
    for n in 0..200 {
        assert_eq!(engine.get(&key(n)).unwrap().unwrap(), value(n, 0));
    }
    assert!(engine.verify().is_empty());
    // Without a change, compaction moves pointers only.
    assert_eq!(engine.metrics().value_copied_bytes, 0);
    let env: Arc<dyn Env> = Arc::new(env);
    let text = inspect_manifest(&env, Path::new(DIR)).unwrap();
    assert!(text.contains("value files: ") && text.contains(" 0 of them garbage"), "{text}");
}

#[test]
fn garbage_stays_under_its_cap_and_files_go() {
    let env = SimEnv::new(2);
    let options = Options { value_garbage_percent: 25, ..separating(100) };
    let engine = open(&env, options).unwrap();
    let mut rounds = [0; 300];
    for round in 0..12 {
        for n in (0..300u32).filter(|n| round == 0 || (n * 7919 + round * 31) % 5 < 2) {
            put(&engine, n, round);
            rounds[n as usize] = round;
        }
        settle(&engine);
        let m = engine.metrics();
        let all = m.value_live_bytes + m.value_garbage_bytes;
        assert!(m.value_garbage_bytes * 100 <= all * 25 + 100, "round {round}: {m:?}");
        let on_disk: u64 =
            value_files(&env).iter().map(|p| env.open(p, OpenMode::Read).unwrap().len().unwrap()).sum();
        assert!(on_disk < all + m.value_files * 64, "{on_disk} bytes in files, {all} known");
    }
    let m = engine.metrics();
    assert!(m.value_copied_bytes > 0, "{m:?}");
    for n in 0..300 {
        assert_eq!(engine.get(&key(n)).unwrap().unwrap(), value(n, rounds[n as usize]));
    }
    // The whole range goes: no value file stays.
    let mut b = WriteBatch::new();
    b.delete_range(b"key", b"kez");
    engine.write(&b).unwrap();
    settle(&engine);
    assert_eq!(value_files(&env), [] as [PathBuf; 0]);
    assert_eq!(engine.metrics().value_files, 0);
}

#[test]
fn a_snapshot_and_a_scan_keep_the_values_they_see() {
    let env = SimEnv::new(3);
    let engine = open(&env, separating(100)).unwrap();
    (0..50).for_each(|n| put(&engine, n, 0));
    settle(&engine);
    let snapshot = engine.snapshot();
    let mut scan = engine.scan(b"", b"", false, None);
    assert!(scan.advance().unwrap());
    for round in 1..6 {
        (0..50).for_each(|n| put(&engine, n, round));
        settle(&engine);
    }
    engine.compact_all().unwrap();
    settle(&engine);
    assert_eq!(scan.value(), value(0, 0));
    let rest: Vec<_> = scan.map(|i| i.unwrap().value.to_vec()).collect();
    assert_eq!(rest, (1..50).map(|n| value(n, 0)).collect::<Vec<_>>());
    for n in 0..50 {
        assert_eq!(engine.get_at(&key(n), &snapshot).unwrap().unwrap(), value(n, 0));
        assert_eq!(engine.get(&key(n)).unwrap().unwrap(), value(n, 5));
    }
    let kept = engine.metrics().value_live_bytes;
    drop(snapshot);
    engine.compact_all().unwrap();
    settle(&engine);
    assert!(engine.metrics().value_live_bytes * 2 < kept + 200);
}

#[test]
fn a_checkpoint_and_an_ingest_carry_values() {
    let env = SimEnv::new(4);
    let engine = open(&env, separating(100)).unwrap();
    engine.ingest((0..100).map(|n| (key(n), value(n, 0)))).unwrap();
    assert!(engine.metrics().value_files > 1);
    engine.checkpoint(Path::new("/copy")).unwrap();
    // The original goes on and collects what the copy still has.
    (0..100).for_each(|n| put(&engine, n, 1));
    engine.compact_all().unwrap();
    settle(&engine);
    let copy = Engine::open(Arc::new(env.clone()), Path::new("/copy"), separating(100)).unwrap();
    for n in 0..100 {
        assert_eq!(copy.get(&key(n)).unwrap().unwrap(), value(n, 0));
        assert_eq!(engine.get(&key(n)).unwrap().unwrap(), value(n, 1));
    }
    assert!(copy.verify().is_empty() && engine.verify().is_empty());
}

#[test]
fn orphans_go_at_open_and_a_missing_file_is_refused() {
    let env = SimEnv::new(5);
    let engine = open(&env, separating(100)).unwrap();
    (0..30).for_each(|n| put(&engine, n, 0));
    settle(&engine);
    engine.close().unwrap();
    drop(engine);
    let orphan = Path::new(DIR).join("tables/777777.val");
    env.open(&orphan, OpenMode::CreateNew).unwrap().write_at(0, b"left behind").unwrap();
    drop(open(&env, separating(100)).unwrap());
    assert!(!env.exists(&orphan).unwrap());
    let gone = value_files(&env)[0].clone();
    env.remove(&gone).unwrap();
    let err = open(&env, separating(100)).err().unwrap();
    assert!(err.to_string().contains("tables refer to it"), "{err}");
}

#[test]
fn every_flip_in_a_value_file_is_named_by_reads_or_by_verify() {
    let env = SimEnv::new(6);
    let engine =
        open(&env, Options { value_file_bytes: 1 << 20, cache_bytes: 0, ..separating(100) }).unwrap();
    (0..5).for_each(|n| put(&engine, n, 0));
    settle(&engine);
    engine.close().unwrap();
    drop(engine);
    let path = value_files(&env).pop().unwrap();
    let len = env.open(&path, OpenMode::Read).unwrap().len().unwrap();
    for at in 0..len {
        let image = env.clone_image();
        let file = image.open(&path, OpenMode::ReadWrite).unwrap();
        let mut byte = [0];
        file.read_at(at, &mut byte).unwrap();
        file.write_at(at, &[byte[0] ^ 1 << (at % 8)]).unwrap();
        let engine = open(&image, separating(100)).unwrap();
        for n in 0..5 {
            match engine.get(&key(n)) {
                Ok(got) => assert_eq!(got.unwrap(), value(n, 0), "byte {at}"),
                Err(Error::Corrupt { path: named, .. } | Error::Version { path: named, .. }) => {
                    assert_eq!(named, path, "byte {at}")
                }
                Err(e) => panic!("byte {at}: {e}"),
            }
        }
        let problems = engine.verify();
        assert!(problems.iter().any(|e| e.to_string().contains(".val")), "byte {at}: {problems:?}");
    }
    let env: Arc<dyn Env> = Arc::new(env);
    let text = inspect_values(&env, &path).unwrap();
    assert!(text.contains("5 values") && text.contains("\"key00004\""), "{text}");
}

#[test]
fn the_filter_is_asked_about_large_values_unless_it_declines() {
    struct Expired {
        reads: bool,
    }
    impl CompactionFilter for Expired {
        fn keeps(&self, _: &[u8], value: &[u8]) -> bool {
            value.first() != Some(&b'x')
        }
        fn reads_large(&self, _: &[u8]) -> bool {
            self.reads
        }
    }
    for reads in [true, false] {
        let env = SimEnv::new(7);
        let filter = Filter(Some(Arc::new(Expired { reads })));
        let engine = open(&env, Options { filter, ..separating(100) }).unwrap();
        let mut b = WriteBatch::new();
        b.put(b"gone", &[b'x'; 200]);
        b.put(b"kept", &[b'k'; 200]);
        engine.write(&b).unwrap();
        engine.compact_all().unwrap();
        engine.compact_all().unwrap();
        assert_eq!(engine.get(b"gone").unwrap().is_none(), reads);
        assert_eq!(engine.get(b"kept").unwrap().unwrap(), vec![b'k'; 200]);
    }
}
