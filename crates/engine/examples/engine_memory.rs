//! Measures the process's memory against the engine's budget, under writes, reads and scans of far more data
//! than the budget.
//!
//! `cargo run --release -p torc-engine --example engine_memory -- [--budget-mib N] [--seconds N] [--keys N]
//! [--value BYTES] [--dir DIR]`
//!
//! For each phase it prints the peak resident memory and what the engine itself accounts for at that moment.
//! Settings of the allocator, such as `MALLOC_ARENA_MAX`, apply as to any program.

// A tool outside the simulation: it uses real time and real memory.
#![allow(clippy::disallowed_methods)]

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use torc_engine::env::RealEnv;
use torc_engine::lsm::Metrics;
use torc_engine::{Engine, Options, WriteBatch};

/// Resident memory of this process that is its own, bytes: without pages of the program's file.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) << 10
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

struct Load {
    keys: u64,
    value: usize,
    /// Of a thousand operations: reads, and scans of 100; the rest are writes.
    reads: u32,
    scans: u32,
}

fn worker(engine: &Engine, load: &Load, seed: u64, stop: &AtomicBool, done: &AtomicU64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut value = vec![0; load.value];
    while !stop.load(Ordering::Relaxed) {
        let key = rng.random_range(0..load.keys).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let dice = rng.random_range(0..1000);
        if dice < load.reads {
            engine.get(&key).expect("get");
        } else if dice < load.reads + load.scans {
            let mut scan = engine.scan(&key, b"", false, None);
            for _ in 0..100 {
                if !scan.advance().expect("scan") {
                    break;
                }
            }
        } else {
            rng.fill(&mut value[..load.value / 2]);
            let mut batch = WriteBatch::new();
            batch.put(&key, &value);
            engine.write_buffered(&batch).expect("write");
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs four workers. Returns the peak resident memory and what the engine accounted for at that moment.
fn phase(engine: &Engine, name: &str, load: &Load, seconds: f64) -> u64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut most = (0, Metrics::default());
    let mut accounted = 0;
    std::thread::scope(|s| {
        for seed in 0..4 {
            let (stop, done) = (&stop, &done);
            s.spawn(move || worker(engine, load, seed, stop, done));
        }
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < seconds {
            std::thread::sleep(Duration::from_millis(20));
            let (now, m) = (resident(), engine.metrics());
            accounted = accounted.max(m.memory_bytes);
            if now > most.0 {
                most = (now, m);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (now, m) = most;
    println!(
        "{name:<10} {:>9.0} ops/s; resident at most {:>6.1} MiB, when memtables had {:>5.1} (and {:.1} pooled), cache {:>5.1}, the parts {:>5.1}; the parts at most {:.1}",
        done.load(Ordering::Relaxed) as f64 / seconds,
        mib(now),
        mib(m.memtable_bytes),
        mib(m.pooled_bytes),
        mib(m.cache_bytes),
        mib(m.memory_bytes),
        mib(accounted)
    );
    now
}

fn main() {
    let (mut budget_mib, mut seconds, mut keys, mut value) = (128u64, 20.0, 4_000_000u64, 400usize);
    let mut dir = std::env::temp_dir().join(format!("torc-memory-{}", std::process::id()));
    let mut words = std::env::args().skip(1);
    while let (Some(name), Some(word)) = (words.next(), words.next()) {
        match name.as_str() {
            "--budget-mib" => budget_mib = word.parse().expect("a number"),
            "--seconds" => seconds = word.parse().expect("a number"),
            "--keys" => keys = word.parse().expect("a number"),
            "--value" => value = word.parse().expect("a number"),
            "--dir" => dir = PathBuf::from(word),
            _ => panic!("unknown option {name}"),
        }
    }
    std::fs::create_dir_all(&dir).expect("folder");
    let options = Options { memory_budget: Some((budget_mib << 20) as usize), ..Options::default() };
    let start = resident();
    let engine = Engine::open(Arc::new(RealEnv::new()), &dir, options).expect("open");
    println!(
        "budget {budget_mib} MiB; empty: {:.1} MiB resident ({:.1} before opening)",
        mib(resident()),
        mib(start)
    );
    let load = |reads, scans| Load { keys, value, reads, scans };
    let mut most = 0;
    for (name, load) in
        [("write", load(0, 0)), ("mixed", load(700, 10)), ("read", load(990, 10)), ("write", load(0, 0))]
    {
        most = most.max(phase(&engine, name, &load, seconds));
    }
    let m = engine.metrics();
    println!(
        "data {:.0} MiB in tables; most resident {:.1} MiB, {:.0} % of the budget; {} stops, slowed down for {:.2} s",
        mib(m.table_bytes()),
        mib(most),
        most as f64 * 100.0 / (budget_mib << 20) as f64,
        m.stops,
        m.slowdown.as_secs_f64()
    );
    engine.close().expect("close");
    drop(engine);
    let _ = std::fs::remove_dir_all(&dir);
}
