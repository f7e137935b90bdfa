//! Synced writes per second of the log, beside what the disk itself can do in the same run.
//!
//! `cargo run --release -p torc-engine --example log_bench -- [folder] [seconds for each case]`

// Measuring is this program's purpose.
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use torc_engine::Log;
use torc_engine::env::{Env, OpenMode, RealEnv};
use torc_engine::log::{LogOptions, Record};

fn main() -> torc_engine::Result<()> {
    let mut args = std::env::args().skip(1);
    let base = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds: f64 = args.next().and_then(|s| s.parse().ok()).unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    let dir = base.join(format!("torc-log-bench-{}", std::process::id()));
    let env: Arc<dyn Env> = Arc::new(RealEnv::new());
    env.create_dir_all(&dir)?;

    raw(&*env, &dir, time / 2)?;
    for payload in [100, 1024] {
        for writers in [1, 16, 64] {
            waiting(&env, &dir, writers, payload, time)?;
        }
        node(&env, &dir, payload, time)?;
    }
    reopen(&env, &dir)?;
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}

/// The disk's own latency for a durable 4 KiB write.
fn raw(env: &dyn Env, dir: &Path, time: Duration) -> torc_engine::Result<()> {
    let memory = vec![1u8; 2 * 4096];
    let start = memory.as_ptr().align_offset(4096);
    let block = &memory[start..start + 4096];
    for (name, mode) in [("fdatasync", OpenMode::ReadWrite), ("O_DIRECT|O_DSYNC", OpenMode::Log)] {
        let file = env.open(&dir.join("raw"), mode)?;
        let size = 16 << 20;
        for offset in (0..size).step_by(4096) {
            if mode == OpenMode::ReadWrite {
                file.write_at(offset, block)?;
            }
        }
        file.sync()?;
        let mut latencies = Vec::new();
        let began = Instant::now();
        while began.elapsed() < time {
            let one = Instant::now();
            file.write_at((latencies.len() as u64 * 4096) % size, block)?;
            file.sync()?;
            latencies.push(one.elapsed());
        }
        println!("raw 4 KiB {name:<17} {}", summary(&mut latencies, began.elapsed(), 1));
    }
    env.remove(&dir.join("raw"))
}

/// Threads that each append and wait.
fn waiting(
    env: &Arc<dyn Env>,
    dir: &Path,
    writers: u64,
    payload: usize,
    time: Duration,
) -> torc_engine::Result<()> {
    let (log, dir) = open(env, dir)?;
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let mut latencies = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=writers)
            .map(|stream| {
                let (log, stop) = (log.clone(), &stop);
                scope.spawn(move || write_loop(&log, stream, payload, stop))
            })
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    let metrics = log.metrics();
    println!(
        "{writers:>3} writers, {payload:>4} B        {}  {:.1} a sync, {:.0} syncs/s",
        summary(&mut latencies, began.elapsed(), 1),
        metrics.synced_appends as f64 / metrics.syncs.max(1) as f64,
        metrics.syncs as f64 / began.elapsed().as_secs_f64(),
    );
    close(log, &dir)
}

fn write_loop(log: &Log, stream: u64, payload: usize, stop: &AtomicBool) -> Vec<Duration> {
    let bytes = bytes::Bytes::from(vec![7u8; payload]);
    let mut latencies = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let index = latencies.len() as u64 + 1;
        let mut records = vec![Record::Entry { stream, index, payload: bytes.clone() }];
        if index.is_multiple_of(1000) {
            records.push(Record::TruncatePrefix { stream, through: index - 500 });
        }
        let began = Instant::now();
        let done = log.append(&records).and_then(|lsn| log.wait(lsn));
        if let Err(error) = done {
            println!("writer {stream}: {error}");
            break;
        }
        latencies.push(began.elapsed());
    }
    latencies
}

/// One loop that appends for 64 groups a turn and goes on when told that it is durable, as a node does, two
/// turns in flight.
fn node(env: &Arc<dyn Env>, dir: &Path, payload: usize, time: Duration) -> torc_engine::Result<()> {
    let (log, dir) = open(env, dir)?;
    let (send, receive) = std::sync::mpsc::channel();
    let durable = Arc::new(AtomicU64::new(0));
    log.on_durable(Arc::new(move |result| {
        if let Ok(lsn) = result {
            durable.store(lsn, Ordering::Relaxed);
            let _ = send.send(lsn);
        }
    }));
    let bytes = bytes::Bytes::from(vec![7u8; payload]);
    let (groups, mut index) = (64, 0);
    let mut turn = || {
        index += 1;
        let mut records: Vec<_> =
            (1..=groups).map(|stream| Record::Entry { stream, index, payload: bytes.clone() }).collect();
        if index.is_multiple_of(1000) {
            records
                .extend((1..=groups).map(|stream| Record::TruncatePrefix { stream, through: index - 500 }));
        }
        log.append(&records).map(|lsn| (lsn, Instant::now()))
    };
    let mut latencies = Vec::new();
    let began = Instant::now();
    let mut flying = std::collections::VecDeque::from([turn()?, turn()?]);
    while began.elapsed() < time {
        let Ok(lsn) = receive.recv() else { break };
        while let Some((_, at)) = flying.pop_front_if(|(flying, _)| *flying <= lsn) {
            latencies.push(at.elapsed());
            flying.push_back(turn()?);
        }
    }
    println!("node, 64 groups, {payload:>4} B    {}", summary(&mut latencies, began.elapsed(), groups));
    close(log, &dir)
}

/// Time to open a log that holds 256 MiB.
fn reopen(env: &Arc<dyn Env>, dir: &Path) -> torc_engine::Result<()> {
    let (log, dir) = open(env, dir)?;
    let bytes = bytes::Bytes::from(vec![7u8; 200]);
    let (mut index, mut lsn) = (0, 0);
    while log.metrics().bytes_appended < 256 << 20 {
        index += 1;
        let records: Vec<_> =
            (1..=1000).map(|stream| Record::Entry { stream, index, payload: bytes.clone() }).collect();
        lsn = log.append(&records)?;
        if index % 16 == 0 {
            log.wait(lsn)?;
        }
    }
    log.wait(lsn)?;
    log.close()?;
    drop(log);
    let began = Instant::now();
    let log = Log::open(env.clone(), &dir, LogOptions::default())?;
    println!("open 256 MiB, {} entries: {:.0} ms", index * 1000, began.elapsed().as_secs_f64() * 1e3);
    close(log, &dir)
}

fn open(env: &Arc<dyn Env>, dir: &Path) -> torc_engine::Result<(Log, PathBuf)> {
    let dir = dir.join("log");
    let log = Log::open(env.clone(), &dir, LogOptions::default())?;
    Ok((log, dir))
}

fn close(log: Log, dir: &Path) -> torc_engine::Result<()> {
    log.close()?;
    let _ = std::fs::remove_dir_all(dir);
    Ok(())
}

fn summary(latencies: &mut [Duration], elapsed: Duration, each: u64) -> String {
    latencies.sort();
    let at = |part: f64| {
        let index = (latencies.len() as f64 * part) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).map_or(0.0, |d| d.as_secs_f64() * 1e6)
    };
    let rate = latencies.len() as f64 * each as f64 / elapsed.as_secs_f64();
    format!("{rate:>8.0}/s  p50 {:>5.0} us  p99 {:>5.0} us  max {:>6.0} us", at(0.5), at(0.99), at(1.0))
}
