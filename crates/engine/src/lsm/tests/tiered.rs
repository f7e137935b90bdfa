//! Size-tiered key ranges beside leveled ones, on the whole engine.

use super::{open, tiny};
use crate::env::SimEnv;
use crate::lsm::{Engine, Metrics, Options, TieredRanges, WriteBatch};
use std::collections::BTreeMap;

fn write(engine: &Engine, model: &mut BTreeMap<Vec<u8>, Vec<u8>>, from: u32, to: u32) {
    for n in from..to {
        let mut b = WriteBatch::new();
        for (prefix, spread) in [("a", 7919u32), ("t", 7907), ("z", 7901)] {
            let key = format!("{prefix}{:05}", n * spread % 1500).into_bytes();
            let value = n.to_be_bytes().repeat(5);
            b.put(&key, &value);
            model.insert(key, value);
        }
        engine.write(&b).unwrap();
        while engine.background_step().unwrap() {}
    }
}

fn check(engine: &Engine, model: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let got: BTreeMap<_, _> = engine
        .scan(b"", b"", false, None)
        .map(|i| i.map(|i| (i.key.to_vec(), i.value.to_vec())).unwrap())
        .collect();
    assert!(got == *model);
    assert!(engine.verify().is_empty());
}

/// Metrics of the same writes with a third of the keys in a tiered range, or none.
fn run(tiered: TieredRanges) -> (Metrics, SimEnv, Options, BTreeMap<Vec<u8>, Vec<u8>>) {
    let env = SimEnv::new(1);
    let options = Options { tiered, ..tiny() };
    let engine = open(&env, options.clone()).unwrap();
    let mut model = BTreeMap::new();
    write(&engine, &mut model, 0, 6000);
    check(&engine, &model);
    let metrics = engine.metrics();
    engine.close().unwrap();
    (metrics, env, options, model)
}

#[test]
fn a_tiered_range_is_written_less_often_and_stays_apart() {
    let (leveled, ..) = run(TieredRanges::default());
    let ranges = TieredRanges::default();
    ranges.insert(b"t", b"u");
    let (mixed, env, options, mut model) = run(ranges.clone());
    println!(
        "write amplification {:.2} leveled, {:.2} with a third tiered; the tiered third: written {:.2} times, space {:.2}",
        leveled.write_amplification(),
        mixed.write_amplification(),
        mixed.tiered_write_amplification(),
        mixed.tiered_space_amplification()
    );
    assert!(mixed.tiered_bytes > 0 && mixed.tiered_runs >= 2, "{mixed:?}");
    assert!(mixed.write_amplification() < leveled.write_amplification() * 0.9);
    assert!(mixed.tiered_runs <= 6 && mixed.tiered_space_amplification() < 4.0, "{mixed:?}");

    // A change of style, both ways, with more writes.
    let engine = open(&env, options).unwrap();
    assert!(ranges.remove(b"t"));
    write(&engine, &mut model, 6000, 7000);
    check(&engine, &model);
    assert_eq!(engine.metrics().tiered_bytes, 0);
    ranges.insert(b"a00300", b"a00700");
    ranges.insert(b"z", b"zz");
    write(&engine, &mut model, 7000, 9000);
    check(&engine, &model);
    let m = engine.metrics();
    assert!(m.tiered_bytes > 0 && m.tiered_again_bytes > 0, "{m:?}");
}

#[test]
fn a_dropped_tiered_range_gives_its_space_back() {
    let ranges = TieredRanges::default();
    ranges.insert(b"t", b"u");
    let (before, env, options, mut model) = run(ranges);
    let engine = open(&env, options).unwrap();
    let mut b = WriteBatch::new();
    b.delete_range(b"t", b"u");
    engine.write(&b).unwrap();
    model.retain(|k, _| k[0] != b't');
    while engine.background_step().unwrap() {}
    check(&engine, &model);
    let m = engine.metrics();
    assert!(m.tiered_bytes * 20 < before.tiered_bytes, "{} of {}", m.tiered_bytes, before.tiered_bytes);
}
