//! Single behaviours of the engine, each with the failure that it prevents.

use super::{DIR, open, tiny};
use crate::env::{Env, SimEnv};
use crate::lsm::{Background, Engine, Options, WriteBatch};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn put(engine: &Engine, key: &str, value: &str) -> Result<()> {
    let mut batch = WriteBatch::new();
    batch.put(key.as_bytes(), value.as_bytes());
    engine.write(&batch).map(drop)
}

fn get(engine: &Engine, key: &str) -> Option<String> {
    engine.get(key.as_bytes()).unwrap().map(|v| String::from_utf8(v.to_vec()).unwrap())
}

fn fill(engine: &Engine, keys: std::ops::Range<u32>, value: &str) {
    for n in keys {
        put(engine, &format!("key{n:05}"), value).unwrap();
    }
}

fn drain(engine: &Engine) {
    while engine.background_step().unwrap() {}
}

fn tables(env: &SimEnv) -> Vec<PathBuf> {
    env.list(&Path::new(DIR).join("tables")).unwrap()
}

#[test]
fn a_folder_in_use_is_refused() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    assert!(matches!(open(&env, tiny()), Err(Error::Locked(_))));
    drop(engine);
    open(&env, tiny()).unwrap();
}

#[test]
fn another_format_version_is_refused_with_both_named() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    put(&engine, "a", "1").unwrap();
    engine.flush().unwrap();
    drop(engine);
    let manifest = env
        .list(Path::new(DIR))
        .unwrap()
        .into_iter()
        .find(|n| n.to_string_lossy().starts_with("MANIFEST"))
        .unwrap();
    let manifest = Path::new(DIR).join(manifest);
    env.flip_bit(&manifest, 8, 3);
    match open(&env, tiny()) {
        Err(e @ Error::Version { found: 9, supported: 1, .. }) => {
            assert!(e.to_string().contains("version 9") && e.to_string().contains("reads 1"), "{e}");
        }
        other => panic!("{other:?}"),
    }
    // Nothing was changed: with the right version it opens.
    env.flip_bit(&manifest, 8, 3);
    assert_eq!(get(&open(&env, tiny()).unwrap(), "a").as_deref(), Some("1"));
}

/// Every bit flip in every file of a small closed database is reported, or changes nothing that is read.
#[test]
fn every_flip_of_a_small_database_is_detected_or_harmless() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..40, "flushed");
    engine.flush().unwrap();
    let mut batch = WriteBatch::new();
    batch.delete_range(b"key00010", b"key00012");
    engine.write(&batch).unwrap();
    engine.flush().unwrap();
    fill(&engine, 40..45, "only in the log");
    engine.close().unwrap();
    let want: Vec<_> = engine.scan(b"", b"", false, None).map(Result::unwrap).collect();
    assert_eq!(want.len(), 43);
    drop(engine);
    let mut files = Vec::new();
    for dir in ["", "tables"] {
        let dir = Path::new(DIR).join(dir);
        files.extend(env.list(&dir).unwrap().into_iter().map(|n| dir.join(n)));
    }
    let (mut detected, mut harmless) = (0, 0);
    for path in files {
        let Ok(file) = env.open(&path, crate::env::OpenMode::Read) else { continue };
        for offset in 0..file.len().unwrap() {
            let image = env.clone_image();
            assert!(image.flip_bit(&path, offset, (offset % 8) as u8));
            let read = open(&image, tiny())
                .and_then(|e| e.scan(b"", b"", false, None).collect::<Result<Vec<_>>>().map(|got| (e, got)));
            match read {
                Err(_) => detected += 1,
                Ok((engine, got)) => {
                    assert_eq!(got, want, "byte {offset} of {}", path.display());
                    if engine.verify().is_empty() { harmless += 1 } else { detected += 1 }
                }
            }
        }
    }
    println!("{detected} flips detected, {harmless} harmless");
    // Harmless are the seals of manifest records, nothing else.
    assert!(detected > 900 && harmless < 30, "{detected} detected, {harmless} harmless");
}

#[test]
fn a_corrupt_block_fails_its_reads_only() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..100, "a value of some length to fill blocks");
    engine.flush().unwrap();
    engine.compact_all().unwrap();
    drain(&engine);
    let victim = Path::new(DIR).join("tables").join(&tables(&env)[0]);
    assert!(env.flip_bit(&victim, 20, 1));
    let (mut failed, mut served) = (0, 0);
    for n in 0..100 {
        match engine.get(format!("key{n:05}").as_bytes()) {
            Ok(v) => {
                assert!(v.is_some());
                served += 1;
            }
            Err(Error::Corrupt { path, offset: 0, .. }) => {
                assert_eq!(path, victim);
                failed += 1;
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert!(failed > 0 && served > 80, "{failed} failed, {served} served");
    let problems = engine.verify();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().contains("at byte 0"), "{}", problems[0]);
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..50, "before");
    drain(&engine);
    env.set_capacity(Some(env.used() + 2000));
    let mut accepted = 50;
    let mut refused = false;
    for n in 50..3000 {
        match put(&engine, &format!("key{n:05}"), "while the disk fills up") {
            Ok(()) => accepted = n + 1,
            Err(Error::DiskFull { .. }) => {
                refused = true;
                break;
            }
            Err(e) => panic!("{e}"),
        }
        if let Err(e) = engine.background_step() {
            assert!(matches!(e, Error::DiskFull { .. }), "{e}");
        }
    }
    assert!(refused, "the disk was never full");
    assert_eq!(get(&engine, "key00010").as_deref(), Some("before"));
    assert_eq!(engine.scan(b"", b"", false, None).count() as u32, accepted);
    env.set_capacity(None);
    drain(&engine);
    put(&engine, "after", "space").unwrap();
    assert_eq!(engine.scan(b"key", b"", false, None).count() as u32, accepted);
    engine.flush().unwrap();
    drop(engine);
    let engine = open(&env, tiny()).unwrap();
    assert_eq!(engine.scan(b"key", b"", false, None).count() as u32, accepted);
}

#[test]
fn epochs_tell_when_applied_writes_are_durable() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(b"data", b"1");
    batch.put(b"applied", b"7");
    engine.apply(&batch).unwrap();
    let epoch = engine.apply_epoch();
    assert!(engine.flushed_epoch() <= epoch);
    {
        let image = env.clone_image();
        image.crash(1);
        assert_eq!(get(&open(&image, tiny()).unwrap(), "applied"), None);
    }
    engine.flush().unwrap();
    assert!(engine.flushed_epoch() > epoch);
    env.crash(2);
    let engine = open(&env, tiny()).unwrap();
    assert_eq!((get(&engine, "data").as_deref(), get(&engine, "applied").as_deref()), (Some("1"), Some("7")));
    // A flush with nothing to flush still lets waiters through.
    let epoch = engine.apply_epoch();
    engine.flush().unwrap();
    assert!(engine.flushed_epoch() > epoch);
}

#[test]
fn flushed_batches_leave_the_log() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..10, "v");
    let before = engine.log().stream(crate::log::ENGINE_STREAM).unwrap();
    assert_eq!((before.first, before.last), (1, 10));
    engine.flush().unwrap();
    let after = engine.log().stream(crate::log::ENGINE_STREAM).unwrap();
    assert_eq!((after.first, after.last), (11, 10));
}

#[test]
fn overwrites_and_deletes_give_their_space_back() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    for round in 0..30 {
        fill(&engine, 0..60, &format!("round {round}"));
        drain(&engine);
    }
    engine.compact_all().unwrap();
    drain(&engine);
    let m = engine.metrics();
    assert_eq!(m.levels.iter().map(|l| l.entries).sum::<u64>(), 60, "{m:#?}");
    let mut batch = WriteBatch::new();
    (0..60).for_each(|n| batch.delete(format!("key{n:05}").as_bytes()));
    engine.write(&batch).unwrap();
    engine.compact_all().unwrap();
    drain(&engine);
    assert_eq!(engine.metrics().table_bytes(), 0);
    assert_eq!(tables(&env), Vec::<PathBuf>::new());
}

#[test]
fn a_range_delete_drops_whole_tables_without_reading_them() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..2000, "a partition that is going to be dropped");
    drain(&engine);
    let before = engine.metrics();
    let mut batch = WriteBatch::new();
    batch.delete_range(b"key00000", b"key01900");
    engine.write(&batch).unwrap();
    assert_eq!(engine.scan(b"", b"", false, None).count(), 100);
    engine.flush().unwrap();
    drain(&engine);
    let after = engine.metrics();
    assert!(
        after.table_bytes() * 4 < before.table_bytes(),
        "{} then {}",
        before.table_bytes(),
        after.table_bytes()
    );
    assert!(after.compaction_read_bytes - before.compaction_read_bytes < before.table_bytes() / 4);
    assert_eq!(engine.scan(b"", b"", false, None).count(), 100);
    assert!(
        env.used() > 0 && tables(&env).len() as u64 == after.levels.iter().map(|l| l.tables).sum::<u64>()
    );
}

#[test]
fn a_dropped_partition_gives_its_space_back_by_itself() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..3000, "a partition that is going to be dropped, and others beside it");
    drain(&engine);
    let (tables_before, used) = (engine.metrics().table_bytes(), env.used());
    let mut batch = WriteBatch::new();
    batch.delete_range(b"key00100", b"key02900");
    engine.write(&batch).unwrap();
    // Nobody flushes, and the memtable is nearly empty; the background work alone does it.
    drain(&engine);
    assert!(engine.metrics().table_bytes() * 5 < tables_before, "{:#?}", engine.metrics());
    assert!(env.used() < used - tables_before / 2);
    assert_eq!(engine.scan(b"", b"", false, None).count(), 200);
    // One that frees no table waits for the memtable to fill.
    let flushes = engine.metrics().flushes;
    let mut batch = WriteBatch::new();
    batch.delete_range(b"key02950", b"key02952");
    engine.write(&batch).unwrap();
    drain(&engine);
    assert_eq!(engine.metrics().flushes, flushes);
}

#[test]
fn deletes_reach_what_they_delete_without_being_pushed() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..2000, "data that is going to be deleted in part");
    drain(&engine);
    let before = engine.metrics().table_bytes();
    let mut batch = WriteBatch::new();
    // Cuts through tables at both ends, so that they cannot go whole.
    batch.delete_range(b"key00033", b"key01977");
    engine.write(&batch).unwrap();
    engine.flush().unwrap();
    drain(&engine);
    let m = engine.metrics();
    assert_eq!(m.levels.iter().map(|l| l.entries).sum::<u64>(), 56, "{m:#?}");
    assert!(m.table_bytes() * 10 < before, "{m:#?}");
}

#[test]
fn a_range_delete_spares_what_is_newer_than_it() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..20, "old");
    let mut batch = WriteBatch::new();
    batch.delete_range(b"key", b"kez");
    engine.write(&batch).unwrap();
    engine.flush().unwrap();
    // Tables that lie wholly within the range, one newer and still in level 0, one flushed together with the
    // delete.
    put(&engine, "key00003", "new").unwrap();
    engine.flush().unwrap();
    let mut batch = WriteBatch::new();
    batch.put(b"key00004", b"hidden");
    batch.delete_range(b"key00004", b"key00006");
    batch.put(b"key00005", b"new");
    engine.write(&batch).unwrap();
    engine.flush().unwrap();
    for round in ["before", "while", "after"] {
        let got: Vec<_> = engine.scan(b"", b"", false, None).map(|i| i.unwrap().key).collect();
        assert_eq!(got, [&b"key00003"[..], b"key00005"], "{round} compaction");
        assert_eq!(get(&engine, "key00003").as_deref(), Some("new"));
        if round == "before" { drain(&engine) } else { engine.compact_all().unwrap() }
    }
}

#[test]
fn a_snapshot_outlives_compaction_and_then_lets_go() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..200, "old");
    let snapshot = engine.snapshot();
    fill(&engine, 0..200, "new");
    let mut batch = WriteBatch::new();
    batch.delete_range(b"key00100", b"key00150");
    engine.write(&batch).unwrap();
    engine.compact_all().unwrap();
    drain(&engine);
    let old: Vec<_> = engine.scan(b"", b"", false, Some(&snapshot)).map(Result::unwrap).collect();
    assert!(old.len() == 200 && old.iter().all(|i| &i.value[..] == b"old"));
    assert_eq!(engine.scan(b"", b"", true, None).count(), 150);
    let held = engine.metrics().levels.iter().map(|l| l.entries).sum::<u64>();
    drop(snapshot);
    engine.compact_all().unwrap();
    drain(&engine);
    let free = engine.metrics().levels.iter().map(|l| l.entries).sum::<u64>();
    assert_eq!((held, free), (350, 150));
}

#[test]
fn orphans_are_removed_at_open() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..10, "v");
    engine.flush().unwrap();
    drop(engine);
    let orphan = Path::new(DIR).join("tables/000777.sst");
    let file = env.open(&orphan, crate::env::OpenMode::CreateNew).unwrap();
    file.write_at(0, b"half a table").unwrap();
    drop(file);
    let engine = open(&env, tiny()).unwrap();
    assert!(!env.exists(&orphan).unwrap());
    // Its number is not used again: whoever may still know it would read another table.
    fill(&engine, 10..20, "v");
    engine.flush().unwrap();
    assert!(tables(&env).iter().all(|t| t.to_string_lossy() != "000777.sst"));
    assert_eq!(engine.scan(b"", b"", false, None).count(), 20);
}

#[test]
fn a_missing_table_or_manifest_is_reported() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..10, "v");
    engine.flush().unwrap();
    drop(engine);
    for victim in ["tables", ""] {
        let image = env.clone_image();
        let dir = Path::new(DIR).join(victim);
        let name = image
            .list(&dir)
            .unwrap()
            .into_iter()
            .find(|n| n.extension().is_some_and(|e| e == "sst") || n.as_os_str() == "CURRENT")
            .unwrap();
        image.remove(&dir.join(&name)).unwrap();
        let err = open(&image, tiny()).map(drop).unwrap_err();
        assert!(err.to_string().contains(&*name.to_string_lossy()), "{err}");
    }
}

#[test]
fn a_manual_engine_is_the_same_twice() {
    let run = || {
        let env = SimEnv::new(3);
        let engine = open(&env, tiny()).unwrap();
        for n in 0..3000u32 {
            put(&engine, &format!("key{:05}", n.wrapping_mul(7919) % 1000), &n.to_string()).unwrap();
            if n % 7 == 0 {
                engine.background_step().unwrap();
            }
        }
        drain(&engine);
        (env.operations(), env.used(), tables(&env), format!("{:?}", engine.metrics().levels))
    };
    assert_eq!(run(), run());
}

#[test]
fn threads_flush_compact_and_serve_under_load() {
    let env = SimEnv::new(0);
    let options = Options {
        background: Background::Threads,
        memtable_bytes: 64 << 10,
        table_bytes: 32 << 10,
        level_base_bytes: 128 << 10,
        segment_bytes: 1 << 20,
        cache_bytes: 256 << 10,
        ..Options::default()
    };
    let engine = open(&env, options.clone()).unwrap();
    let (done, checked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|s| {
        let writers: Vec<_> = (0..2u32)
            .map(|t| {
                let engine = engine.clone();
                s.spawn(move || {
                    for n in 0..6000u32 {
                        // Both keys of a pair always hold the same: half a batch would show.
                        let mut batch = WriteBatch::new();
                        let pair = n.wrapping_mul(7919) % 1500;
                        let value = format!("{t} {n} {}", "x".repeat(60));
                        batch.put(format!("a{t}{pair:05}").as_bytes(), value.as_bytes());
                        batch.put(format!("b{t}{pair:05}").as_bytes(), value.as_bytes());
                        engine.write(&batch).unwrap();
                    }
                })
            })
            .collect();
        let (reader, done, checked) = (engine.clone(), &done, &checked);
        s.spawn(move || {
            let mut n = 0u32;
            while !done.load(Ordering::Relaxed) {
                n = n.wrapping_add(104_729);
                let (t, pair) = (n % 2, n % 1500);
                let snapshot = reader.snapshot();
                let a = reader.get_at(format!("a{t}{pair:05}").as_bytes(), &snapshot).unwrap();
                let b = reader.get_at(format!("b{t}{pair:05}").as_bytes(), &snapshot).unwrap();
                assert_eq!(a, b);
                let from = format!("a{t}{pair:05}");
                for item in reader.scan(from.as_bytes(), b"b", n.is_multiple_of(3), None).take(20) {
                    item.unwrap();
                }
                checked.fetch_add(1, Ordering::Relaxed);
            }
        });
        writers.into_iter().for_each(|w| w.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    assert!(checked.load(Ordering::Relaxed) > 100);
    engine.flush().unwrap();
    let m = engine.metrics();
    assert!(m.flushes > 3 && m.compactions + m.moves > 0, "{m:#?}");
    assert_eq!(engine.scan(b"", b"", false, None).count(), 6000);
    assert!(engine.verify().is_empty());
    engine.close().unwrap();
    assert!(put(&engine, "late", "write").is_err());
    drop(engine);
    let engine = open(&env, options).unwrap();
    assert_eq!(engine.scan(b"", b"", true, None).count(), 6000);
    let env: Arc<dyn Env> = Arc::new(env);
    drop((engine, env));
}

#[test]
fn buffered_writes_become_durable_in_order_with_the_next_sync() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(b"a", b"1");
    engine.write_buffered(&batch).unwrap();
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
    engine.log().sync_step().unwrap();
    batch = WriteBatch::new();
    batch.put(b"b", b"2");
    let lsn = engine.write_buffered(&batch).unwrap();
    assert!(engine.log().durable_lsn() < lsn);
    drop(engine);
    env.crash(1);
    let engine = open(&env, tiny()).unwrap();
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
    assert_eq!(get(&engine, "b"), None);
}

#[test]
fn buffered_writers_do_not_outrun_the_disk_by_much() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { background: Background::Threads, ..tiny() };
    let options = Options { memtable_bytes: 64 << 20, segment_bytes: 16 << 20, ..options };
    let engine = Engine::open(Arc::new(crate::env::RealEnv::new()), dir.path(), options).unwrap();
    let value = vec![7; 64 << 10];
    std::thread::scope(|s| {
        for t in 0..4u8 {
            let (engine, value) = (&engine, &value);
            s.spawn(move || {
                for n in 0..256u16 {
                    let mut batch = WriteBatch::new();
                    batch.put(&[t, (n >> 8) as u8, n as u8], value);
                    engine.write_buffered(&batch).unwrap();
                    // Each writer may add one batch before it sees that it is crowded.
                    assert!(engine.log().metrics().pending_bytes < (8 << 20) + 5 * (65 << 10));
                }
            });
        }
    });
    engine.close().unwrap();
}

#[test]
fn a_compaction_filter_takes_out_what_no_snapshot_sees() {
    struct Expired;
    impl crate::lsm::CompactionFilter for Expired {
        fn keeps(&self, _: &[u8], value: &[u8]) -> bool {
            value != b"expired"
        }
    }
    let env = SimEnv::new(0);
    let options = Options { filter: crate::lsm::Filter(Some(Arc::new(Expired))), ..tiny() };
    let engine = open(&env, options).unwrap();
    fill(&engine, 0..100, "an older version that must not come back");
    engine.compact_all().unwrap();
    fill(&engine, 0..50, "expired");
    let snapshot = engine.snapshot();
    fill(&engine, 25..75, "expired");
    engine.compact_all().unwrap();
    for n in 0..100 {
        let key = format!("key{n:05}");
        // Below 25 the expired version is the one that the snapshot sees.
        let want = if (25..75).contains(&n) {
            None
        } else {
            get(&engine, &key).filter(|v| v == "expired" || n >= 75)
        };
        assert_eq!(get(&engine, &key), want, "{key}");
        let seen = engine.get_at(key.as_bytes(), &snapshot).unwrap();
        assert_eq!(seen.as_deref() == Some(b"expired"), n < 50, "{key} in the snapshot");
    }
    drop(snapshot);
    fill(&engine, 200..201, "so that there is something to compact");
    engine.compact_all().unwrap();
    // Not by reads of now: the item cache may still have what was taken out.
    let now = engine.snapshot();
    for n in 0..75 {
        assert_eq!(engine.get_at(format!("key{n:05}").as_bytes(), &now).unwrap(), None);
    }
    let m = engine.metrics();
    assert_eq!(m.levels.iter().map(|l| l.entries).sum::<u64>(), 26, "no delete is left behind: {m:#?}");
}

#[test]
fn inspecting_tells_what_is_there_and_changes_nothing() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    fill(&engine, 0..200, "something");
    drain(&engine);
    let mut batch = WriteBatch::new();
    batch.delete_range(b"key00003", b"key00005");
    engine.write(&batch).unwrap();
    engine.flush().unwrap();
    let tables = tables(&env);
    drop(engine);
    let (before, shared): (u64, Arc<dyn Env>) = (env.operations(), Arc::new(env.clone()));
    let manifest = crate::lsm::inspect_manifest(&shared, Path::new(DIR)).unwrap();
    for table in &tables {
        assert!(manifest.contains(&*table.to_string_lossy()), "{manifest}");
        let text = crate::lsm::inspect_table(&shared, &Path::new(DIR).join("tables").join(table)).unwrap();
        assert!(text.contains("entries"), "{text}");
    }
    assert!(manifest.contains("\"key00000\""), "{manifest}");
    let log = crate::log::inspect_log(&shared, &Path::new(DIR).join("log")).unwrap();
    assert!(log.contains("stream 0: entries") && log.contains("generation"), "{log}");
    assert_eq!(env.operations(), before);
}
