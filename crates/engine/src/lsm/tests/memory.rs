//! The memory budget under load.

use super::{open, tiny};
use crate::env::SimEnv;
use crate::lsm::{Background, Options, WriteBatch};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[test]
fn memtables_and_cache_share_one_budget_under_load() {
    const BUDGET: u64 = 64 << 20;
    let env = SimEnv::new(1);
    let options = Options {
        background: Background::Threads,
        memory_budget: Some(BUDGET as usize),
        memtable_bytes: 64 << 20,
        segment_bytes: 4 << 20,
        table_bytes: 2 << 20,
        level_base_bytes: 8 << 20,
        block_bytes: 4 << 10,
        ..tiny()
    };
    let engine = open(&env, options).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut most, mut most_cache, mut most_memtables) = (0, 0, 0);
    for round in 0..400u32 {
        let mut b = WriteBatch::new();
        for _ in 0..200 {
            let mut value = [0; 700];
            rng.fill(&mut value[..]);
            b.put(&rng.random_range(0..60_000u32).to_be_bytes(), &value);
        }
        engine.write_buffered(&b).unwrap();
        for _ in 0..100 {
            engine.get(&rng.random_range(0..60_000u32).to_be_bytes()).unwrap();
        }
        let m = engine.metrics();
        assert!(m.memory_bytes <= BUDGET, "round {round}: {m:?}");
        most = most.max(m.memory_bytes);
        most_cache = most_cache.max(m.cache_bytes);
        most_memtables = most_memtables.max(m.memtable_bytes);
    }
    let m = engine.metrics();
    println!(
        "at most {most} bytes of {BUDGET}; cache {most_cache}, memtables {most_memtables}; {} flushes",
        m.flushes
    );
    // The budget is used, not only kept.
    assert!(most > BUDGET / 4 && m.flushes > 5, "{m:?}");
}
