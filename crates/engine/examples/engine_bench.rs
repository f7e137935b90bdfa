//! Measures the engine alone: fill in random order, overwrite, point reads that hit and that miss, short
//! scans.
//!
//! `cargo run --release -p torc-engine --example engine_bench -- [--keys N] [--value BYTES] [--threads N]
//! [--cache MIB] [--dir DIR] [--seconds S] [--only fill,overwrite,sync,reopen,drop,hit,miss,scan]`
//!
//! Use the numbers to compare two builds, run one after the other on the same quiet machine. `bench/compare`
//! measures other engines.

// A benchmark stands outside the simulation: it reads the real clock.
#![allow(clippy::disallowed_methods)]

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use torc_engine::env::RealEnv;
use torc_engine::{Engine, Options, WriteBatch};

struct Args {
    keys: u64,
    value: usize,
    threads: u64,
    cache_mib: usize,
    seconds: f64,
    dir: Option<PathBuf>,
    only: Option<Vec<String>>,
}

fn args() -> Result<Args, String> {
    let mut out = Args {
        keys: 2_000_000,
        value: 100,
        threads: 1,
        cache_mib: 1024,
        seconds: 4.0,
        dir: None,
        only: None,
    };
    let mut it = std::env::args().skip(1);
    while let Some(name) = it.next() {
        let value = it.next().ok_or(format!("{name} needs a value"))?;
        let bad = |e: &dyn std::fmt::Display| format!("{name} {value}: {e}");
        match name.as_str() {
            "--keys" => out.keys = value.parse().map_err(|e| bad(&e))?,
            "--value" => out.value = value.parse().map_err(|e| bad(&e))?,
            "--threads" => out.threads = value.parse().map_err(|e| bad(&e))?,
            "--cache" => out.cache_mib = value.parse().map_err(|e| bad(&e))?,
            "--seconds" => out.seconds = value.parse().map_err(|e| bad(&e))?,
            "--dir" => out.dir = Some(value.into()),
            "--only" => out.only = Some(value.split(',').map(String::from).collect()),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(out)
}

/// 20-byte keys in an order that looks random: a bijection of the numbers below 2^64.
fn key(n: u64, out: &mut [u8; 20]) {
    let h = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(0xd6e8_feb8_6659_fd93);
    out[..4].copy_from_slice(b"user");
    out[4..12].copy_from_slice(&h.to_be_bytes());
    out[12..].copy_from_slice(&n.to_be_bytes());
}

/// Half random, half zeros: compresses to about half, as real values do.
fn value(rng: &mut SmallRng, out: &mut [u8]) {
    let half = out.len() / 2;
    rng.fill(&mut out[..half]);
}

/// What a thread did during one group of operations. Time in which the thread was ready but another process
/// had the processor says nothing about the engine. On a shared machine it would hide everything else.
#[derive(Clone, Copy, Default)]
struct Pause {
    wall: Duration,
    /// On the processor.
    ran: Duration,
    /// Ready, waiting for a processor.
    queued: Duration,
}

impl Pause {
    /// The time that the engine itself caused.
    fn own(&self) -> Duration {
        self.wall.saturating_sub(self.queued)
    }
}

/// The scheduler's account of this thread: time on the processor, time waiting for one.
struct Schedule(Option<std::fs::File>);

impl Schedule {
    fn of_this_thread() -> Self {
        Self(std::fs::File::open("/proc/thread-self/schedstat").ok())
    }

    fn read(&self) -> (Duration, Duration) {
        use std::os::unix::fs::FileExt;
        let mut text = [0; 128];
        let n = self.0.as_ref().and_then(|f| f.read_at(&mut text, 0).ok()).unwrap_or(0);
        let mut fields = std::str::from_utf8(&text[..n]).unwrap_or("").split_whitespace();
        let mut next = || Duration::from_nanos(fields.next().and_then(|f| f.parse().ok()).unwrap_or(0));
        (next(), next())
    }
}

struct Timing {
    ops: u64,
    time: Duration,
    longest: Duration,
    /// The groups of 16 operations that took longest without the time waiting for a processor.
    pauses: Vec<Pause>,
    /// Groups that took over 5 and over 20 ms by themselves.
    over: (u64, u64),
    /// Processor time of the whole process, background threads included.
    cpu: Duration,
}

/// Processor time used so far, to a hundredth of a second. Zero where there is no /proc.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn report(name: &str, t: &Timing) {
    let rate = t.ops as f64 / t.time.as_secs_f64();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!(
        "{name:<14} {rate:>12.0} ops/s   {:>8.2} us of processor an op   longest {:>9.3} ms",
        t.cpu.as_secs_f64() * 1e6 / t.ops as f64,
        ms(t.longest)
    );
    let worst: Vec<String> = t
        .pauses
        .iter()
        .map(|p| format!("{:.1} ({:.1} running, {:.1} queued besides)", ms(p.own()), ms(p.ran), ms(p.queued)))
        .collect();
    println!(
        "  without waiting for a processor: {} over 5 ms, {} over 20 ms; longest, ms: {}",
        t.over.0,
        t.over.1,
        worst.join(", ")
    );
}

/// Runs `op` on every thread until the time or the number of operations is up. Latency is taken of every 16
/// operations.
fn run(threads: u64, seconds: f64, limit: u64, op: impl Fn(u64, u64, &mut SmallRng) + Sync) -> Timing {
    let mut timing = Timing {
        ops: 0,
        time: Duration::ZERO,
        longest: Duration::ZERO,
        pauses: Vec::new(),
        over: (0, 0),
        cpu: Duration::ZERO,
    };
    let (start, cpu_start) = (Instant::now(), cpu());
    let one = |t: u64| {
        let mut rng = SmallRng::seed_from_u64(t + 1);
        let schedule = Schedule::of_this_thread();
        let mut pauses: Vec<Pause> = Vec::new();
        let (mut n, mut longest, mut over) = (0u64, Duration::ZERO, (0, 0));
        let (mut last, mut before) = (Instant::now(), schedule.read());
        while n < limit / threads {
            op(t, n, &mut rng);
            n += 1;
            if n % 16 == 0 {
                let now = Instant::now();
                let wall = now - last;
                last = now;
                longest = longest.max(wall);
                let after = schedule.read();
                let pause = Pause { wall, ran: after.0 - before.0, queued: after.1 - before.1 };
                before = after;
                over.0 += u64::from(pause.own() > Duration::from_millis(5));
                over.1 += u64::from(pause.own() > Duration::from_millis(20));
                if pauses.len() < 3 || pauses[2].own() < pause.own() {
                    pauses.push(pause);
                    pauses.sort_by_key(|p| std::cmp::Reverse(p.own()));
                    pauses.truncate(3);
                }
                if now.duration_since(start).as_secs_f64() > seconds {
                    break;
                }
            }
        }
        (n, longest, pauses, over)
    };
    std::thread::scope(|s| {
        let one = &one;
        let running: Vec<_> = (0..threads).map(|t| s.spawn(move || one(t))).collect();
        for thread in running {
            let (n, longest, pauses, over) = thread.join().expect("a worker failed");
            timing.ops += n;
            timing.longest = timing.longest.max(longest);
            timing.pauses.extend(pauses);
            timing.over = (timing.over.0 + over.0, timing.over.1 + over.1);
        }
    });
    timing.pauses.sort_by_key(|p| std::cmp::Reverse(p.own()));
    timing.pauses.truncate(3);
    (timing.time, timing.cpu) = (start.elapsed(), cpu() - cpu_start);
    timing
}

/// Resident memory. Zero where there is no /proc.
fn resident_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0) * 4 / 1024
}

/// 256 MiB of logged writes that no flush has taken, then the time to open again, three times. With `--dir`
/// the folder stays and is filled only once, so that the opening alone can be profiled.
fn reopen(value_bytes: usize, dir: Option<&Path>) {
    let temporary = tempfile::tempdir().expect("temporary folder");
    let path = &dir.unwrap_or(temporary.path()).join("reopen");
    let writes = (256 << 20) / (20 + value_bytes) as u64;
    if !path.join("CURRENT").exists() {
        let options = Options { memtable_bytes: 1 << 30, ..Options::default() };
        let engine = Engine::open(Arc::new(RealEnv::new()), path, options).expect("open");
        let mut rng = SmallRng::seed_from_u64(1);
        let mut lsn = 0;
        for n in 0..writes {
            let (mut k, mut v) = ([0; 20], vec![0; value_bytes]);
            key(n, &mut k);
            value(&mut rng, &mut v);
            let mut batch = WriteBatch::new();
            batch.put(&k, &v);
            lsn = engine.write(&batch).expect("write");
        }
        engine.log().wait(lsn).expect("sync");
        engine.close().expect("close");
    }
    // With memtables this large nothing is flushed, so that the log is as long the next time; the last has
    // the usual size.
    for memtable_bytes in [1 << 30, 1 << 30, 64 << 20] {
        let options = Options { memtable_bytes, ..Options::default() };
        let (start, cpu_start) = (Instant::now(), cpu());
        let engine = Engine::open(Arc::new(RealEnv::new()), path, options).expect("open");
        println!(
            "open with {writes} writes (256 MiB) to replay: {:.3} s, {:.2} s of processor",
            start.elapsed().as_secs_f64(),
            (cpu() - cpu_start).as_secs_f64()
        );
        let mut k = [0; 20];
        key(writes - 1, &mut k);
        assert!(engine.get(&k).expect("read").is_some());
    }
}

/// Size of the files in a folder, bytes.
fn size_of_files(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("list");
    files.filter_map(|f| f.ok()?.metadata().ok()).map(|m| m.len()).sum()
}

/// One partition of 1 GB is dropped beside another of 100 MB that is read and written all the while.
fn drop_partition() {
    let temporary = tempfile::tempdir().expect("temporary folder");
    let engine = Engine::open(Arc::new(RealEnv::new()), temporary.path(), Options::default()).expect("open");
    let put = |partition: u8, n: u64, rng: &mut SmallRng| {
        let (mut k, mut v) = ([0; 20], vec![0; 1000]);
        key(n, &mut k);
        k[0] = partition;
        rng.fill(&mut v[..]);
        let mut batch = WriteBatch::with_capacity(1100);
        batch.put(&k, &v);
        engine.write(&batch).expect("write")
    };
    let mut rng = SmallRng::seed_from_u64(1);
    for n in 0..1_000_000 {
        put(b'a', n, &mut rng);
        if n % 10 == 0 {
            put(b'b', n, &mut rng);
        }
    }
    settle(&engine);
    let tables = temporary.path().join("tables");
    let before = size_of_files(&tables);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        let other = s.spawn(|| {
            let mut rng = SmallRng::seed_from_u64(2);
            let mut done = 0u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                put(b'b', rng.random_range(0..100_000) * 10, &mut rng);
                let mut k = [0; 20];
                key(rng.random_range(0..100_000) * 10, &mut k);
                k[0] = b'b';
                assert!(engine.get(&k).expect("read").is_some());
                done += 1;
                std::thread::sleep(Duration::from_micros(50));
            }
            done
        });
        let start = Instant::now();
        let mut batch = WriteBatch::new();
        batch.delete_range(b"a", b"b");
        let lsn = engine.write(&batch).expect("drop");
        let applied = start.elapsed();
        engine.log().wait(lsn).expect("sync");
        println!(
            "drop of 1 GB: applied after {:.3} ms, durable after {:.3} ms",
            applied.as_secs_f64() * 1e3,
            start.elapsed().as_secs_f64() * 1e3
        );
        assert!(engine.scan(b"a", b"b", false, None).next().is_none());
        let mut now = before;
        while now > before / 4 && start.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(50));
            now = size_of_files(&tables);
        }
        println!(
            "  tables: {} MiB before, {} MiB {:.2} s later",
            before >> 20,
            now >> 20,
            start.elapsed().as_secs_f64()
        );
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        println!("  meanwhile {} writes and reads of another partition", other.join().expect("other work"));
    });
    engine.close().expect("close");
}

fn settle(engine: &Engine) {
    let start = Instant::now();
    engine.flush().expect("flush");
    loop {
        let m = engine.metrics();
        let idle = m.running_compactions == 0 && m.obsolete_files == 0;
        if m.waiting_memtables == 0 && m.debt_bytes == 0 && m.levels[0].score < 1000 && idle {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let m = engine.metrics();
    let written = m.flush_bytes + m.compaction_write_bytes;
    println!(
        "  settled in {:.2} s; tables {} MiB; write amplification {:.2} of flushed; slowdowns {} ({:?}), stops {}; levels {:?}",
        start.elapsed().as_secs_f64(),
        m.table_bytes() >> 20,
        written as f64 / m.flush_bytes.max(1) as f64,
        m.slowdowns,
        m.slowdown,
        m.stops,
        m.levels.iter().map(|l| (l.tables, l.bytes >> 20)).collect::<Vec<_>>(),
    );
}

fn main() {
    let args = args().unwrap_or_else(|e| {
        eprintln!("{e}");
        std::process::exit(2)
    });
    let temporary = tempfile::tempdir().expect("temporary folder");
    let dir = args.dir.clone().unwrap_or_else(|| temporary.path().join("db"));
    let options = Options { cache_bytes: args.cache_mib << 20, ..Options::default() };
    let engine = Engine::open(Arc::new(RealEnv::new()), &dir, options.clone()).expect("open");
    println!("resident memory after opening: {} MiB", resident_mib());
    let wants = |name: &str| args.only.as_ref().is_none_or(|o| o.iter().any(|x| x == name));
    let keys = args.keys;
    let put = |n: u64, rng: &mut SmallRng| {
        let (mut k, mut v) = ([0; 20], vec![0; args.value]);
        key(n, &mut k);
        value(rng, &mut v);
        let mut batch = WriteBatch::with_capacity(k.len() + v.len() + 8);
        batch.put(&k, &v);
        engine.apply(&batch).expect("write");
    };
    println!("{keys} keys of 20 bytes, values of {} bytes, {} threads", args.value, args.threads);
    if wants("fill") {
        let per = keys / args.threads;
        let t = run(args.threads, f64::MAX, keys, |t, n, rng| put(t * per + n, rng));
        report("fill random", &t);
        settle(&engine);
    }
    if wants("overwrite") {
        let t = run(args.threads, f64::MAX, keys, |_, _, rng| put(rng.random_range(0..keys), rng));
        report("overwrite", &t);
        settle(&engine);
    }
    if wants("sync") {
        for writers in [1, 16, 64] {
            let t = run(writers, args.seconds, u64::MAX, |_, _, rng| {
                let (mut k, mut v) = ([0; 20], vec![0; args.value]);
                key(rng.random_range(0..keys), &mut k);
                value(rng, &mut v);
                let mut batch = WriteBatch::new();
                batch.put(&k, &v);
                let lsn = engine.write(&batch).expect("write");
                engine.log().wait(lsn).expect("sync");
            });
            report(&format!("synced x{writers}"), &t);
        }
    }
    let hit = |_: u64, _: u64, rng: &mut SmallRng| {
        let mut k = [0; 20];
        key(rng.random_range(0..keys), &mut k);
        assert!(engine.get(&k).expect("read").is_some());
    };
    if wants("reopen") {
        reopen(args.value, args.dir.as_deref());
    }
    if args.only.as_ref().is_some_and(|o| o.iter().any(|x| x == "drop")) {
        drop_partition();
    }
    if wants("hit") {
        // One pass first, so that the cache is warm.
        run(args.threads, args.seconds, keys, hit);
        for threads in [1, 2] {
            report(&format!("read hit x{threads}"), &run(threads, args.seconds, u64::MAX, hit));
        }
    }
    if wants("miss") {
        for threads in [1, 2] {
            let t = run(threads, args.seconds, u64::MAX, |_, _, rng| {
                let mut k = [0; 20];
                key(keys + rng.random_range(0..keys), &mut k);
                assert!(engine.get(&k).expect("read").is_none());
            });
            report(&format!("read miss x{threads}"), &t);
        }
    }
    if wants("scan") {
        let t = run(args.threads, args.seconds, u64::MAX, |_, _, rng| {
            let mut k = [0; 20];
            key(rng.random_range(0..keys), &mut k);
            let got = engine
                .scan(&k, b"", false, None)
                .take(100)
                .map(|i| i.expect("scan").value.len())
                .sum::<usize>();
            assert!(got > 0);
        });
        report("scan 100", &t);
        let t = run(args.threads, args.seconds, u64::MAX, |_, _, rng| {
            let mut k = [0; 20];
            key(rng.random_range(0..keys), &mut k);
            assert!(engine.scan(b"", &k, true, None).take(100).all(|i| i.is_ok()));
        });
        report("scan 100 back", &t);
    }
    let m = engine.metrics();
    println!("cache: {} hits, {} misses, {} MiB", m.cache_hits, m.cache_misses, m.cache_bytes >> 20);
    println!("items: {} hits, {} misses, {} MiB", m.item_hits, m.item_misses, m.item_bytes >> 20);
    engine.close().expect("close");
}
