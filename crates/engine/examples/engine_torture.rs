//! Kills a writing process again and again, and checks what it left on disk: every acknowledged batch is
//! there, no batch is there in part, no deleted key is back, and every checksum is right.
//!
//! `cargo run --release -p torc-engine --example engine_torture -- [--seconds N] [--seed N] [--dir DIR]`
//!
//! The parent starts itself as a child. The child opens the folder and writes from several threads, each in a
//! key range of its own. The batches follow from seed, thread and batch number alone. The child reports each
//! batch once it is durable. The parent kills the child with SIGKILL at a random moment, opens the folder
//! itself, and compares the content with what that number of batches must leave.

// A tool outside the simulation: it uses real time and real processes.
#![allow(clippy::disallowed_methods)]

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use torc_engine::env::RealEnv;
use torc_engine::lsm::TieredRanges;
use torc_engine::{Engine, Options, WriteBatch};

const THREADS: u64 = 4;
const KEYS: u64 = 3000;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(round: u64) -> Options {
    // Small, so that flushes, compactions and recycling go on all the time; another size each round. In some
    // rounds most values are in value files, and one thread's keys are compacted by size tiers.
    let tiered = TieredRanges::default();
    if round % 2 == 1 {
        tiered.insert(b"t2", b"t3");
    }
    Options {
        separate_bytes: [4096, 60, 120][round as usize % 3],
        value_file_bytes: 128 << 10,
        tiered,
        memtable_bytes: (64 << 10) << (round % 4),
        segment_bytes: (256 << 10) << (round % 3),
        table_bytes: 128 << 10,
        level_base_bytes: 256 << 10,
        cache_bytes: 1 << 20,
        ..Options::default()
    }
}

fn key(thread: u64, n: u64) -> Vec<u8> {
    format!("t{thread}/{n:06}").into_bytes()
}

/// Batch `number` of a thread, and what it does to a map.
fn batch(seed: u64, thread: u64, number: u64, map: &mut Map) -> WriteBatch {
    let mut rng = SmallRng::seed_from_u64(seed ^ thread << 56 ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut batch = WriteBatch::new();
    for _ in 0..rng.random_range(1..6) {
        let k = key(thread, rng.random_range(0..KEYS));
        match rng.random_range(0..20) {
            0 => {
                let end = key(thread, rng.random_range(0..KEYS));
                let end = if end > k && rng.random_ratio(1, 8) { end } else { [&k[..], b"~"].concat() };
                batch.delete_range(&k, &end);
                let gone: Vec<_> = map.range(k..end).map(|(k, _)| k.clone()).collect();
                gone.iter().for_each(|k| drop(map.remove(k)));
            }
            1..5 => {
                batch.delete(&k);
                map.remove(&k);
            }
            _ => {
                let mut v = vec![0; if rng.random_ratio(1, 40) { 6000 } else { rng.random_range(0..200) }];
                rng.fill(&mut v[..]);
                batch.put(&k, &v);
                map.insert(k, v);
            }
        }
    }
    let count = (format!("t{thread}/count").into_bytes(), number.to_be_bytes().to_vec());
    batch.put(&count.0, &count.1);
    map.insert(count.0, count.1);
    batch
}

fn child(dir: &Path, seed: u64, round: u64, counts: &[u64]) {
    let engine = Engine::open(Arc::new(RealEnv::new()), dir, options(round)).expect("open");
    std::thread::scope(|s| {
        for (thread, count) in (0..).zip(counts) {
            let engine = &engine;
            s.spawn(move || {
                for number in count + 1.. {
                    let lsn = engine.write(&batch(seed, thread, number, &mut Map::new())).expect("write");
                    // Some wait for every batch, some run ahead of the log.
                    if number % (thread * 3 + 1) == 0 {
                        engine.log().wait(lsn).expect("sync");
                        let line = format!("{thread} {number}\n");
                        if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}

struct Args {
    seconds: u64,
    seed: u64,
    dir: Option<PathBuf>,
}

fn args() -> Result<Args, String> {
    let mut out = Args { seconds: 60, seed: 1, dir: None };
    let mut it = std::env::args().skip(1);
    while let Some(name) = it.next() {
        let value = it.next().ok_or(format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|e| format!("{name} {value}: {e}"));
        match name.as_str() {
            "--seconds" => out.seconds = number()?,
            "--seed" => out.seed = number()?,
            "--dir" => out.dir = Some(value.into()),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(out)
}

/// Runs a child for a while, kills it, and returns the last batch of each thread that it reported.
fn run_and_kill(dir: &Path, seed: u64, round: u64, counts: &[u64], after: Duration) -> Vec<u64> {
    let program = std::env::current_exe().expect("own path");
    let mut command = Command::new(program);
    command.arg("child").arg(dir).arg(seed.to_string()).arg(round.to_string());
    command.args(counts.iter().map(u64::to_string)).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start the child");
    let output = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut acked = vec![0; THREADS as usize];
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut fields = line.split(' ').map(|f| f.parse::<u64>());
            // The last line may be cut.
            if let (Some(Ok(thread)), Some(Ok(number)), None) = (fields.next(), fields.next(), fields.next())
                && let Some(slot) = acked.get_mut(thread as usize)
            {
                *slot = number.max(*slot);
            }
        }
        acked
    });
    std::thread::sleep(after);
    child.kill().expect("kill");
    child.wait().expect("wait");
    reader.join().expect("reader")
}

fn main() {
    let raw: Vec<String> = std::env::args().collect();
    if raw.get(1).is_some_and(|a| a == "child") {
        let numbers: Vec<u64> = raw[3..].iter().map(|a| a.parse().expect("number")).collect();
        return child(Path::new(&raw[2]), numbers[0], numbers[1], &numbers[2..]);
    }
    let args = args().unwrap_or_else(|e| {
        eprintln!("{e}");
        std::process::exit(2)
    });
    let temporary = tempfile::tempdir().expect("temporary folder");
    let dir = args.dir.clone().unwrap_or_else(|| temporary.path().join("db"));
    let mut rng = SmallRng::seed_from_u64(args.seed);
    let (mut models, mut counts) = (vec![Map::new(); THREADS as usize], vec![0u64; THREADS as usize]);
    let start = Instant::now();
    let mut round = 0;
    while start.elapsed() < Duration::from_secs(args.seconds) {
        let after = Duration::from_millis(rng.random_range(20..800));
        let acked = run_and_kill(&dir, args.seed, round, &counts, after);
        let engine =
            Engine::open(Arc::new(RealEnv::new()), &dir, options(round)).expect("open after the kill");
        for thread in 0..THREADS {
            let slot = thread as usize;
            let count = engine.get(format!("t{thread}/count").as_bytes()).expect("read");
            let count = count.map_or(0, |c| u64::from_be_bytes(c[..].try_into().expect("eight bytes")));
            let least = acked[slot].max(counts[slot]);
            assert!(
                count >= least,
                "round {round}, thread {thread}: {count} batches, {least} were acknowledged"
            );
            for number in counts[slot] + 1..=count {
                batch(args.seed, thread, number, &mut models[slot]);
            }
            counts[slot] = count;
            let (low, high) = (format!("t{thread}/"), format!("t{thread}0"));
            let mut want = models[slot].iter();
            for item in engine.scan(low.as_bytes(), high.as_bytes(), false, None) {
                let item = item.expect("scan");
                let (k, v) = want.next().expect("a key came back");
                assert!(*k == *item.key && *v == *item.value, "round {round}: {:?} differs", item.key);
            }
            assert!(want.next().is_none(), "round {round}, thread {thread}: keys are missing");
        }
        let problems = engine.verify();
        assert!(problems.is_empty(), "round {round}: {problems:?}");
        engine.close().expect("close");
        round += 1;
    }
    println!(
        "{round} kills in {} s with seed {}: {} batches, all that were acknowledged there, none half, verified each time",
        start.elapsed().as_secs(),
        args.seed,
        counts.iter().sum::<u64>()
    );
}
