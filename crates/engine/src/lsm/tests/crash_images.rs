//! Crash exploration. The disk is copied after every single write, sync, rename and removal of a workload.
//! The power is cut on each copy, and each copy must open: with every batch that was durable at that point,
//! with whole batches only, and without any deleted key.

use super::{open, separating, tiny};
use crate::Result;
use crate::env::SimEnv;
use crate::log::LogFaults;
use crate::lsm::{Engine, EngineFaults, Options, WriteBatch};
use std::collections::BTreeMap;

pub(super) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Batch `n` (from 1) and what it does to a map.
pub(super) fn batch(n: usize, model: &mut Map) -> WriteBatch {
    let mut b = WriteBatch::new();
    let key = |i: usize| format!("key{:02}", i % 40).into_bytes();
    for i in 0..4 {
        let (k, v) = (key(n * 7 + i * 3), format!("batch {n}.{i} {}", "x".repeat(n % 30)).into_bytes());
        b.put(&k, &v);
        model.insert(k, v);
    }
    let gone = key(n * 5);
    b.delete(&gone);
    model.remove(&gone);
    if n.is_multiple_of(9) {
        let (from, to) = (key(n % 30), key(n % 30 + 4));
        b.delete_range(&from, &to);
        model.retain(|k, _| *k < from || *k >= to);
    }
    b.put(b"count", n.to_string().as_bytes());
    model.insert(b"count".to_vec(), n.to_string().into_bytes());
    b
}

pub(super) fn content(engine: &Engine) -> Result<Map> {
    engine.scan(b"", b"", false, None).map(|i| i.map(|i| (i.key.to_vec(), i.value.to_vec()))).collect()
}

/// How many batches a database holds, by its own count.
pub(super) fn count(content: &Map) -> usize {
    content.get(&b"count"[..]).map_or(0, |c| String::from_utf8_lossy(c).parse().unwrap_or(usize::MAX))
}

/// What batch `n` is followed by: a sync, a flush or some background work. True if everything so far is
/// durable then.
pub(super) fn work(engine: &Engine, n: usize) -> Result<bool> {
    match n % 10 {
        3 | 7 => engine.log().sync_step().map(|_| true),
        5 => engine.flush().map(|()| true),
        _ => engine.background_step().map(|_| false),
    }
}

/// Explores `batches` batches; the number of crash points, or the first that broke a promise.
fn explore(options: &Options, batches: usize) -> std::result::Result<usize, String> {
    let env = SimEnv::new(0);
    let engine = open(&env, options.clone()).map_err(|e| e.to_string())?;
    let mut models = vec![Map::new()];
    // Operation number up to which at most so many batches were known to be durable.
    let mut durable: Vec<(u64, usize)> = vec![(env.operations(), 0)];
    let mut explored = 0;
    for n in 1..=batches {
        env.capture_images();
        let mut model = models[n - 1].clone();
        let b = batch(n, &mut model);
        models.push(model);
        let step = || -> Result<bool> {
            engine.write(&b)?;
            let mut all_durable = work(&engine, n)?;
            if n.is_multiple_of(60) {
                engine.compact_all()?;
                while engine.background_step()? {}
                all_durable = true;
            }
            Ok(all_durable)
        };
        if step().map_err(|e| format!("batch {n}: {e}"))? {
            durable.push((env.operations(), n));
        }
        for (operation, image) in env.take_images() {
            let at = |e: crate::Error| format!("after operation {operation}: {e}");
            image.crash(operation);
            let engine = open(&image, options.clone()).map_err(at)?;
            let got = content(&engine).map_err(at)?;
            let count = count(&got);
            let least = durable.iter().rev().find(|(at, _)| *at <= operation).map_or(0, |d| d.1);
            if count < least || count > n {
                return Err(format!("operation {operation}: {count} batches of {n}, {least} were durable"));
            }
            if got != models[count] {
                return Err(format!("operation {operation}: not what batch {count} left"));
            }
            if let Some(e) = engine.verify().into_iter().next() {
                return Err(at(e));
            }
            // It goes on from there.
            let mut model = models[count].clone();
            engine.write(&batch(count + 1, &mut model)).map_err(at)?;
            engine.flush().map_err(at)?;
            image.crash(operation + 1);
            drop(engine);
            let again = open(&image, options.clone()).and_then(|e| content(&e)).map_err(at)?;
            if again != model {
                return Err(format!("operation {operation}: a batch written after the crash was lost"));
            }
            explored += 1;
        }
    }
    Ok(explored)
}

#[test]
fn every_crash_point_recovers() {
    let explored = explore(&tiny(), 400).unwrap();
    println!("{explored} crash points explored");
    assert!(explored > 1500, "{explored}");
}

#[test]
fn every_crash_point_recovers_with_values_apart() {
    let explored = explore(&separating(20), 300).unwrap();
    println!("{explored} crash points explored");
    assert!(explored > 1500, "{explored}");
}

#[test]
fn planted_bugs_are_found() {
    let faults = |faults: EngineFaults| Options { faults, ..tiny() };
    let none = EngineFaults::default();
    let planted = [
        ("early truncation", faults(EngineFaults { early_truncation: true, ..none })),
        ("manifest not synced", faults(EngineFaults { skip_manifest_sync: true, ..none })),
        (
            "value files not synced",
            Options { faults: EngineFaults { skip_value_sync: true, ..none }, ..separating(20) },
        ),
        (
            "log not synced",
            Options { log_faults: LogFaults { skip_sync: true, ..LogFaults::default() }, ..tiny() },
        ),
    ];
    for (name, options) in planted {
        let found = explore(&options, 200);
        println!("{name}: {found:?}");
        assert!(found.is_err(), "{name} must show");
    }
}
