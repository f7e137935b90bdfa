//! Opens a small committed database in the formats of Torc 0.1, including separated large values. Later code
//! must open it and read the same content.
//!
//! `TORC_WRITE_FIXTURE=1 cargo test -p torc-engine --test fixture` writes it anew. Do that only when a format
//! changes, and into a new folder.
#![allow(clippy::disallowed_methods)] // the test copies real files

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use torc_engine::env::RealEnv;
use torc_engine::{Background, Engine, Options, WriteBatch};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/0.1")
}

fn options() -> Options {
    Options {
        background: Background::Manual,
        memtable_bytes: 1 << 20,
        cache_bytes: 1 << 20,
        segment_bytes: 16 << 10,
        table_bytes: 4 << 10,
        block_bytes: 512,
        // The longer half of the values.
        separate_bytes: 64,
        ..Options::default()
    }
}

fn open(dir: &Path) -> Engine {
    Engine::open(Arc::new(RealEnv::new()), dir, options()).expect("open")
}

fn key(n: u32) -> Vec<u8> {
    format!("key{n:04}").into_bytes()
}

fn value(n: u32, round: u32) -> Vec<u8> {
    format!("value {n} of round {round}, ").into_bytes().repeat(1 + (n % 5) as usize)
}

/// What the fixture holds, built by the same steps.
fn steps(engine: Option<&Engine>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut model = BTreeMap::new();
    let write = |batch: &WriteBatch| {
        if let Some(engine) = engine {
            engine.write(batch).expect("write");
        }
    };
    let put = |n: u32, round: u32, model: &mut BTreeMap<Vec<u8>, Vec<u8>>| {
        let mut batch = WriteBatch::new();
        batch.put(&key(n), &value(n, round));
        write(&batch);
        model.insert(key(n), value(n, round));
    };
    // Round 1 goes to the deepest level.
    (0..200).for_each(|n| put(n, 1, &mut model));
    if let Some(engine) = engine {
        engine.compact_all().expect("compact");
    }
    // An ingested table, which has one sequence number for all.
    let ingested: Vec<(Vec<u8>, Vec<u8>)> = (300..340).map(|n| (key(n), value(n, 2))).collect();
    if let Some(engine) = engine {
        engine.ingest(ingested.iter().map(|(k, v)| (k, v))).expect("ingest");
    }
    model.extend(ingested);
    // Overwrites, deletes and a range delete in level 0, held apart by a snapshot's stripe.
    let snapshot = engine.map(Engine::snapshot);
    (0..200).step_by(7).for_each(|n| put(n, 3, &mut model));
    let mut batch = WriteBatch::new();
    batch.delete(&key(5));
    batch.delete_range(&key(50), &key(70));
    batch.put(&key(60), b"written after the range delete");
    write(&batch);
    model.remove(&key(5));
    model.retain(|k, _| !(key(50)..key(70)).contains(k));
    model.insert(key(60), b"written after the range delete".to_vec());
    if let Some(engine) = engine {
        engine.flush().expect("flush");
    }
    drop(snapshot);
    // And a tail that is only in the log.
    (400..410).for_each(|n| {
        let mut batch = WriteBatch::new();
        batch.put(&key(n), &value(n, 4));
        write(&batch);
        model.insert(key(n), value(n, 4));
    });
    model
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy");
        }
    }
}

#[test]
fn what_0_1_wrote_opens_and_reads_the_same() {
    let temporary = tempfile::tempdir().expect("folder");
    let dir = temporary.path().join("db");
    if std::env::var_os("TORC_WRITE_FIXTURE").is_some() {
        let engine = open(&dir);
        steps(Some(&engine));
        engine.close().expect("close");
        drop(engine);
        let _ = fs::remove_dir_all(fixture());
        copy(&dir, &fixture());
        fs::remove_dir_all(&dir).expect("remove");
    }
    copy(&fixture(), &dir);
    let apart = fs::read_dir(dir.join("tables")).expect("list").filter_map(Result::ok);
    assert!(
        apart.map(|e| e.path()).any(|p| p.extension().is_some_and(|e| e == "val")),
        "a value file is there"
    );
    let want = steps(None);
    for round in 0..2 {
        let engine = open(&dir);
        let got: BTreeMap<Vec<u8>, Vec<u8>> = engine
            .scan(b"", b"", false, None)
            .map(|item| item.map(|i| (i.key.to_vec(), i.value.to_vec())).expect("scan"))
            .collect();
        assert_eq!(got, want);
        for (k, v) in &want {
            assert_eq!(engine.get(k).expect("get").as_deref(), Some(&v[..]));
        }
        assert_eq!(engine.get(&key(5)).expect("get"), None);
        assert!(engine.verify().is_empty());
        if round == 0 {
            assert!(engine.metrics().levels.iter().filter(|l| l.tables > 0).count() >= 2);
            engine.compact_all().expect("compact");
        }
        engine.close().expect("close");
    }
}
