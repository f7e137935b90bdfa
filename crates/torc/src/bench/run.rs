//! The load loops: closed (each connection sends when its last request is answered) and open (requests are
//! due on a schedule).

use super::connection::Connection;
use super::driver::{Driver, Op};
use super::workload::Workload;
use super::{BenchArgs, DriverKind, tables};
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Latencies above this are recorded as this.
const MAX_LATENCY_US: u64 = 600_000_000;
/// Different reasons of failure kept for the report.
const MAX_REASONS: usize = 16;
/// A key that the load phase cannot write in so many tries ends the run.
const LOAD_TRIES: u32 = 20;

/// What the connections saw, added up.
pub struct Outcome {
    /// From the end of the warm-up to the last answer.
    pub elapsed: Duration,
    /// Latencies of successful reads and writes, in microseconds.
    pub reads: Histogram<u64>,
    /// See `reads`.
    pub writes: Histogram<u64>,
    /// How often each reason of failure occurred.
    pub errors: BTreeMap<String, u64>,
}

impl Outcome {
    fn empty() -> Result<Outcome> {
        let histogram = || Histogram::new_with_bounds(1, MAX_LATENCY_US, 3);
        let (reads, writes) = (histogram()?, histogram()?);
        Ok(Outcome { elapsed: Duration::ZERO, reads, writes, errors: BTreeMap::new() })
    }

    fn add(&mut self, other: Outcome) -> Result<()> {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.reads.add(other.reads)?;
        self.writes.add(other.writes)?;
        for (reason, count) in other.errors {
            self.failed(reason, count);
        }
        Ok(())
    }

    fn failed(&mut self, reason: String, count: u64) {
        let known = self.errors.len() < MAX_REASONS || self.errors.contains_key(&reason);
        *self.errors.entry(if known { reason } else { "other reasons".to_owned() }).or_default() += count;
    }
}

/// What all connections share.
struct Shared {
    args: BenchArgs,
    started: Instant,
    measure_from: Instant,
    end: Instant,
    /// Number of the next request of the open loop.
    ticket: AtomicU64,
    /// For the progress bar.
    done: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

/// Prepares the table, loads keys if there will be reads, runs the mix, cleans up.
pub async fn bench(args: &BenchArgs) -> Result<Outcome> {
    let created = prepare(args).await?;
    if args.reads > 0 && !args.no_load {
        load(args).await?;
    }
    let outcome = measure(args).await;
    if created && !args.keep {
        let mut connection = connection(args, 0);
        if let Err(error) = tables::drop_table(&mut connection, &args.table).await {
            eprintln!("{error:#}");
        }
    }
    outcome
}

fn connection(args: &BenchArgs, index: usize) -> Connection {
    let endpoint = &args.endpoint[index % args.endpoint.len()];
    let endpoint = endpoint.strip_prefix("http://").unwrap_or(endpoint).trim_end_matches('/');
    Connection::new(endpoint, Duration::from_secs_f64(args.timeout))
}

/// True if the table is ours to drop afterwards.
async fn prepare(args: &BenchArgs) -> Result<bool> {
    if args.endpoint.is_empty() {
        bail!("--endpoint names no node");
    }
    if args.driver == DriverKind::Etcd {
        return Ok(false);
    }
    if args.table.is_empty()
        || !args.table.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    {
        bail!("--table {:?} is not a table name: use letters, digits, '_', '-' and '.'", args.table);
    }
    let created = tables::create(&mut connection(args, 0), &args.table, "k", None).await?;
    for index in 1..args.endpoint.len() {
        tables::wait_active(&mut connection(args, index), &args.table).await?;
    }
    Ok(created)
}

fn bar(args: &BenchArgs, length: u64, template: &str) -> ProgressBar {
    // indicatif draws on stderr and only if that is a terminal.
    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::new(length) };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Writes every key once, so that reads find something.
async fn load(args: &BenchArgs) -> Result<()> {
    let bar = bar(args, args.key_count, "loading   [{bar:40}] {pos}/{len} keys, {per_sec}");
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for index in 0..args.connections as usize {
        let (args, next, bar) = (args.clone(), next.clone(), bar.clone());
        workers.spawn(async move {
            let mut connection = connection(&args, index);
            let mut driver = Driver::new(&args, connection.address());
            let mut workload = Workload::new(&args, index as u64, u64::from(args.connections));
            loop {
                let key = next.fetch_add(1, Ordering::Relaxed);
                if key >= args.key_count {
                    return Ok(());
                }
                let request = driver.write(key, workload.value()).to_vec();
                let mut tries = 0;
                while let Err(reason) = attempt(&mut connection, &driver, Op::Write, &request).await {
                    tries += 1;
                    if tries == LOAD_TRIES {
                        bail!("loading: key {key} was refused {tries} times, last: {reason}");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                bar.inc(1);
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.context("a loader failed")??;
    }
    bar.finish_and_clear();
    Ok(())
}

async fn attempt(connection: &mut Connection, driver: &Driver, op: Op, request: &[u8]) -> Result<(), String> {
    match connection.request(request).await {
        Ok(answer) => driver.verdict(op, &answer),
        Err(error) => Err(error.to_string()),
    }
}

async fn measure(args: &BenchArgs) -> Result<Outcome> {
    let started = Instant::now();
    let measure_from = started + Duration::from_secs_f64(args.warmup);
    let shared = Arc::new(Shared {
        args: args.clone(),
        started,
        measure_from,
        end: measure_from + Duration::from_secs_f64(args.duration),
        ticket: AtomicU64::new(0),
        done: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let mut workers = JoinSet::new();
    for index in 0..args.connections {
        workers.spawn(worker(shared.clone(), index));
    }
    let progress = tokio::spawn(show_progress(shared.clone()));
    let interrupt = tokio::spawn(stop_on_interrupt(shared.clone()));
    let mut total = Outcome::empty()?;
    while let Some(worker) = workers.join_next().await {
        total.add(worker.context("a connection failed")??)?;
    }
    interrupt.abort();
    shared.stop.store(true, Ordering::Relaxed);
    progress.await.context("the progress bar failed")?;
    Ok(total)
}

/// Ctrl-C ends the run early, with a report of what was measured so far.
async fn stop_on_interrupt(shared: Arc<Shared>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        shared.stop.store(true, Ordering::Relaxed);
    }
}

async fn show_progress(shared: Arc<Shared>) {
    const TICK: Duration = Duration::from_millis(250);
    let length = (shared.end - shared.started).as_millis() as u64;
    let bar = bar(&shared.args, length, "measuring [{bar:40}] {elapsed}  {msg}");
    let mut before = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        tokio::time::sleep(TICK).await;
        let done = shared.done.load(Ordering::Relaxed);
        bar.set_position((shared.started.elapsed().as_millis() as u64).min(length));
        let rate = (done - before) as f64 / TICK.as_secs_f64();
        bar.set_message(format!("{rate:.0}/s, {} failed", shared.failed.load(Ordering::Relaxed)));
        before = done;
    }
    bar.finish_and_clear();
}

/// When the next request of the open loop is due: request `n` at `n / rate`.
fn due(shared: &Shared, rate: f64) -> Instant {
    let number = shared.ticket.fetch_add(1, Ordering::Relaxed);
    shared.started + Duration::from_secs_f64(number as f64 / rate)
}

async fn worker(shared: Arc<Shared>, index: u32) -> Result<Outcome> {
    let args = &shared.args;
    let mut connection = connection(args, index as usize);
    let mut driver = Driver::new(args, connection.address());
    let mut workload = Workload::new(args, u64::from(index), u64::from(args.connections));
    let mut outcome = Outcome::empty()?;
    let mut now = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        let start = match args.rate {
            None => now,
            Some(rate) => {
                let due = due(&shared, rate);
                if due >= shared.end {
                    break;
                }
                if due > now {
                    // The request was not waiting for this connection. The timer's own delay must not count
                    // as the server's.
                    tokio::time::sleep_until(due.into()).await;
                    Instant::now()
                } else {
                    // All connections were busy when it fell due: the wait counts, or a stall would hide
                    // itself.
                    due
                }
            }
        };
        if start >= shared.end {
            break;
        }
        let op = workload.op();
        let key = workload.key();
        let request = match op {
            Op::Read => driver.read(key),
            Op::Write => driver.write(key, workload.value()),
        };
        let result = match connection.request(request).await {
            Ok(answer) => driver.verdict(op, &answer),
            Err(error) => Err(error.to_string()),
        };
        now = Instant::now();
        if start < shared.measure_from {
            continue;
        }
        match result {
            Ok(()) => {
                let micros = u64::try_from((now - start).as_micros()).unwrap_or(u64::MAX).max(1);
                let histogram = if op == Op::Read { &mut outcome.reads } else { &mut outcome.writes };
                histogram.saturating_record(micros);
                outcome.elapsed = now - shared.measure_from;
                shared.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(reason) => {
                outcome.failed(reason, 1);
                shared.failed.fetch_add(1, Ordering::Relaxed);
                // A dead endpoint must not turn the loop into a spin.
                tokio::time::sleep(Duration::from_millis(20)).await;
                now = Instant::now();
            }
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn args(text: &str, endpoint: &str) -> BenchArgs {
        let words = ["bench", "--endpoint", endpoint, "--json", "--warmup", "0"].into_iter();
        Wrapper::parse_from(words.chain(text.split_whitespace())).args
    }

    /// A server that remembers which keys were put and finds those, stalls once for `stall`, and fails every
    /// `fail`th request.
    #[derive(Default)]
    struct Fake {
        keys: Mutex<BTreeSet<String>>,
        requests: AtomicU64,
        stall_at: u64,
        stall: Duration,
        fail: u64,
    }

    impl Fake {
        async fn start(self) -> (Arc<Fake>, String) {
            let fake = Arc::new(self);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = fake.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(server.clone().serve(stream));
                }
            });
            (fake, address)
        }

        async fn serve(self: Arc<Fake>, mut stream: TcpStream) {
            let mut buffer = Vec::new();
            while let Ok(read) = stream.read_buf(&mut buffer).await {
                if read == 0 {
                    return;
                }
                let text = String::from_utf8_lossy(&buffer).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length: usize = head.rsplit("Content-Length: ").next().unwrap().parse().unwrap();
                if body.len() < length {
                    continue;
                }
                let (status, answer) = self.answer(head, body);
                let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
                if number == self.stall_at {
                    tokio::time::sleep(self.stall).await;
                }
                let failing = self.fail > 0 && number.is_multiple_of(self.fail);
                let (status, answer) = if failing { (500, "{}".to_owned()) } else { (status, answer) };
                let answer =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                buffer.clear();
            }
        }

        fn answer(&self, head: &str, body: &str) -> (u16, String) {
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            let mut keys = self.keys.lock().unwrap();
            if head.contains("DescribeTable") {
                (200, r#"{"Table":{"TableStatus":"ACTIVE"}}"#.to_owned())
            } else if head.contains("PutItem") {
                keys.insert(json["Item"]["k"]["S"].as_str().unwrap().to_owned());
                (200, "{}".to_owned())
            } else if head.contains("GetItem") && keys.contains(json["Key"]["k"]["S"].as_str().unwrap()) {
                (200, format!(r#"{{"Item":{{"v":{{"B":"{}"}}}}}}"#, "A".repeat(1200)))
            } else {
                (200, "{}".to_owned())
            }
        }
    }

    #[tokio::test]
    async fn a_closed_loop_reads_what_it_loaded() {
        let (fake, address) = Fake::default().start().await;
        let args = args("--duration 0.3 --key-count 50 --connections 4 --reads 50 --keys zipfian", &address);
        let outcome = bench(&args).await.unwrap();
        assert_eq!(fake.keys.lock().unwrap().len(), 50);
        assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
        let (reads, writes) = (outcome.reads.len(), outcome.writes.len());
        assert!(reads > 20 && writes > 20, "{reads} {writes}");
        let share = reads as f64 / (reads + writes) as f64;
        assert!((0.3..0.7).contains(&share), "{reads} reads, {writes} writes");
    }

    #[tokio::test]
    async fn reads_of_keys_that_are_not_there_are_failures() {
        let (_, address) = Fake::default().start().await;
        let args = args("--duration 0.1 --key-count 50 --connections 2 --reads 100 --no-load", &address);
        let outcome = bench(&args).await.unwrap();
        assert_eq!(outcome.reads.len(), 0);
        assert!(outcome.errors.keys().any(|reason| reason.contains("not there")), "{:?}", outcome.errors);
    }

    #[tokio::test]
    async fn an_open_loop_keeps_its_schedule_and_counts_the_wait_behind_a_stall() {
        // One connection, 200/s, and one answer that takes 300 ms: the 60 requests that fell due meanwhile
        // waited too.
        let stall = Duration::from_millis(300);
        let (_, address) = Fake { stall_at: 60, stall, ..Fake::default() }.start().await;
        let args = args("--duration 1 --key-count 50 --connections 1 --reads 0 --rate 200", &address);
        let outcome = bench(&args).await.unwrap();
        assert_eq!(outcome.writes.len(), 200);
        let slow = outcome.writes.count_between(50_000, u64::MAX);
        assert!((30..=80).contains(&slow), "{slow} requests waited over 50 ms");
    }

    #[tokio::test]
    async fn failures_are_counted_by_reason() {
        let (_, address) = Fake { fail: 2, ..Fake::default() }.start().await;
        let args = args("--duration 0.2 --key-count 50 --connections 2 --reads 0", &address);
        let outcome = measure(&args).await.unwrap();
        assert!(outcome.writes.len() > 2);
        assert_eq!(outcome.errors.keys().collect::<Vec<_>>(), ["500 "]);
    }

    #[tokio::test]
    async fn a_missing_server_says_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = bench(&args("--duration 1", &address)).await.err().unwrap();
        assert!(format!("{error:#}").contains("torc start"), "{error:#}");
    }
}
