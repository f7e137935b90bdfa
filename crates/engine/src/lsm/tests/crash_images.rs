//! Crash exploration: the disk is copied after every single write, sync, rename and removal of a workload, the power is cut on
//! each copy, and the copy must open with every batch that was durable at that point, whole batches only, no deleted key back.

use super::{open, tiny};
use crate::env::SimEnv;
use crate::lsm::{Engine, WriteBatch};
use std::collections::BTreeMap;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Batch `n` (from 1) and what it does to a map.
fn batch(n: usize, model: &mut Map) -> WriteBatch {
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

fn content(engine: &Engine) -> Map {
    engine
        .scan(b"", b"", false, None)
        .map(|i| i.unwrap())
        .map(|i| (i.key.to_vec(), i.value.to_vec()))
        .collect()
}

#[test]
fn every_crash_point_recovers() {
    let env = SimEnv::new(0);
    let engine = open(&env, tiny()).unwrap();
    let mut models = vec![Map::new()];
    // Operation number up to which at most so many batches were known to be durable.
    let mut durable: Vec<(u64, usize)> = vec![(env.operations(), 0)];
    let mut explored = 0;
    for n in 1..=400 {
        env.capture_images();
        let mut model = models[n - 1].clone();
        let b = batch(n, &mut model);
        models.push(model);
        engine.write(&b).unwrap();
        match n % 10 {
            3 | 7 => {
                engine.log().sync_step().unwrap();
                durable.push((env.operations(), n));
            }
            5 => {
                engine.flush().unwrap();
                durable.push((env.operations(), n));
            }
            _ => drop(engine.background_step().unwrap()),
        }
        if n.is_multiple_of(60) {
            engine.compact_all().unwrap();
            durable.push((env.operations(), n));
            while engine.background_step().unwrap() {}
        }
        for (operation, image) in env.take_images() {
            image.crash(operation);
            let engine = open(&image, tiny()).unwrap_or_else(|e| panic!("after operation {operation}: {e}"));
            let got = content(&engine);
            let count = got.get(&b"count"[..]).map_or(0, |c| String::from_utf8_lossy(c).parse().unwrap());
            let least = durable.iter().rev().find(|(at, _)| *at <= operation).map_or(0, |d| d.1);
            assert!(
                least <= count && count <= n,
                "operation {operation}: {count} batches, {least} were durable"
            );
            assert_eq!(got, models[count], "operation {operation}");
            assert!(engine.verify().is_empty());
            // It goes on from there.
            let mut model = models[count].clone();
            engine.write(&batch(count + 1, &mut model)).unwrap();
            engine.flush().unwrap();
            image.crash(operation + 1);
            drop(engine);
            assert_eq!(content(&open(&image, tiny()).unwrap()), model);
            explored += 1;
        }
    }
    println!("{explored} crash points explored");
    assert!(explored > 1500, "{explored}");
}
