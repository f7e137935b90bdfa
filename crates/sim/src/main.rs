//! `torc-sim`: runs many seeds of the full fault mix within a time budget.

// The runner stands outside the simulation: it reads the real clock to keep its budget.
#![allow(clippy::disallowed_methods)]

use clap::Parser;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use torc_sim::scenario::faults::Faults;
use torc_sim::scenario::{Plan, run};

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
    /// Only these kinds of fault: crash, power, partition, weather, disk, clock.
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
    let started = Instant::now();
    let budget = Duration::from_secs(args.budget);
    let next = AtomicU64::new(args.seed);
    let (passed, failed, operations, faults) =
        (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.seed + args.seeds || started.elapsed() > budget {
                        return;
                    }
                    let mut plan = Plan::full(seed);
                    if !args.faults.is_empty() {
                        let on = |name: &str| args.faults.iter().any(|f| f == name);
                        plan.faults = Faults {
                            crash: on("crash"),
                            power: on("power"),
                            partition: on("partition"),
                            weather: on("weather"),
                            disk: on("disk"),
                            clock: on("clock"),
                            lying_sync: false,
                        };
                    }
                    match run(plan) {
                        Ok(report) => {
                            passed.fetch_add(1, Ordering::Relaxed);
                            operations.fetch_add(report.operations as u64, Ordering::Relaxed);
                            faults.fetch_add(report.faults as u64, Ordering::Relaxed);
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
    println!(
        "{} seeds in {:.1} s, {} operations, {} faults",
        passed + failed,
        started.elapsed().as_secs_f64(),
        operations.into_inner(),
        faults.into_inner(),
    );
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
