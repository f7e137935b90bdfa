//! `torc-sim`: runs many seeds of the full fault mix within a time budget.

// The runner stands outside the simulation: it reads the real clock to keep its budget.
#![allow(clippy::disallowed_methods)]

use clap::Parser;
use parking_lot::Mutex;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use torc_sim::scenario::faults::Faults;
use torc_sim::scenario::{Plan, run};
use torc_sim::world::watch::Coverage;

/// Simulates whole clusters under faults and checks every history.
#[derive(Parser)]
struct Args {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Stop after this many seconds of real time.
    #[arg(long, default_value_t = 600)]
    budget: u64,
    /// Threads; each runs seeds of its own.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Only these kinds of fault: crash, power, blackout, restart, partition, weather, disk, clock, membership.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Print what happens (with one seed).
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.verbose {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("debug"));
        tracing_subscriber::fmt().with_env_filter(filter).without_time().init();
    }
    let named = Faults::named(args.faults.iter().map(String::as_str));
    let Some(faults) = named.map(|named| if args.faults.is_empty() { Faults::ALL } else { named }) else {
        eprintln!("--faults takes {}", Faults::NAMES.join(", "));
        return ExitCode::FAILURE;
    };
    let started = Instant::now();
    let budget = Duration::from_secs(args.budget);
    let next = AtomicU64::new(args.seed);
    let (passed, failed, operations) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let coverage = Mutex::new(Coverage::new());
    std::thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.seed + args.seeds || started.elapsed() > budget {
                        return;
                    }
                    let plan = Plan { faults, ..Plan::full(seed) };
                    match run(plan) {
                        Ok(report) => {
                            passed.fetch_add(1, Ordering::Relaxed);
                            operations.fetch_add(report.operations as u64, Ordering::Relaxed);
                            for (what, times) in &report.coverage {
                                *coverage.lock().entry(what).or_default() += times;
                            }
                            if args.verbose {
                                println!("seed {seed}: {report:?}");
                            }
                        }
                        Err(error) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            println!("seed {seed} FAILED: {error:#}\n  replay: cargo xtask sim --seed {seed} --seeds 1");
                        }
                    }
                }
            });
        }
    });
    let (passed, failed) = (passed.into_inner(), failed.into_inner());
    for (what, times) in coverage.into_inner() {
        println!("{times:>10}  {what}");
    }
    let (seeds, seconds) = (passed + failed, started.elapsed().as_secs_f64());
    println!(
        "{seeds} seeds in {seconds:.1} s ({:.1} seeds/s), {} operations",
        seeds as f64 / seconds.max(0.001),
        operations.into_inner(),
    );
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
