//! `torc bench`: a load generator for any DynamoDB endpoint, and for etcd through the same loop, so that both
//! are measured in the same way.
//!
//! The command line calls it. It uses HTTP only and must never call the engine or the node directly, so that
//! it measures what a user gets.

// The shell: a load generator reads real clocks and the files of the disk it measures.
#![allow(clippy::disallowed_methods)]

pub mod connection;
mod disk;
mod driver;
mod report;
mod run;
pub mod tables;
mod workload;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DriverKind {
    /// PutItem and GetItem over the DynamoDB protocol
    Dynamodb,
    /// put and range over etcd's v3 HTTP gateway
    Etcd,
}

/// How keys are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// Every key as likely as another
    Uniform,
    /// A few keys get most of the traffic (exponent 0.99), spread over the key space
    Zipfian,
    /// One after another, over and over
    Sequential,
}

/// Arguments of `torc bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// Nodes to load, HOST:PORT; connections are spread over them in turn
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:8000", value_name = "ADDR[,ADDR..]")]
    pub endpoint: Vec<String>,
    /// Protocol to speak
    #[arg(long, value_enum, default_value_t = DriverKind::Dynamodb)]
    pub driver: DriverKind,
    /// Connections, each with one request in flight
    #[arg(long, short = 'c', default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Seconds to measure
    #[arg(long, short = 'd', default_value_t = 10.0, value_parser = seconds)]
    pub duration: f64,
    /// Seconds to run before measuring
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub warmup: f64,
    /// Share of reads, in percent; the rest are writes
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub reads: u8,
    /// Open loop: requests a second, issued on schedule whether or not earlier ones are answered; latency
    /// counts from the moment a request was due. Without it each connection sends its next request when the
    /// last is answered
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    pub rate: Option<f64>,
    /// How keys are drawn
    #[arg(long, value_enum, default_value_t = KeyKind::Uniform)]
    pub keys: KeyKind,
    /// Number of different keys
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub key_count: u64,
    /// Bytes in each value (random, so that compression cannot help)
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u32).range(0..=390_000))]
    pub value_size: u32,
    /// Eventual reads: any replica may answer, and may be stale
    #[arg(long)]
    pub eventual: bool,
    /// Table to use; created when missing, and then deleted afterwards unless --keep
    #[arg(long, default_value = "TorcBench")]
    pub table: String,
    /// Leave the table and its data behind
    #[arg(long)]
    pub keep: bool,
    /// Do not write every key before a run with reads (the keys are there from an earlier run with --keep)
    #[arg(long)]
    pub no_load: bool,
    /// Seconds after which a request counts as failed
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    pub timeout: f64,
    /// Threads of the load generator; more than one only helps where cores are to spare
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Seed of keys and values
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Also measure the latency of synced 4 KiB writes in this folder: what the disk allows
    #[arg(long, value_name = "DIR")]
    pub disk_latency: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=86_400.0).contains(&value) => Ok(value),
        _ => Err("not a number of seconds between 0 and 86400".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 1e9 => Ok(value),
        _ => Err("not a number above 0".to_owned()),
    }
}

/// Runs the benchmark and prints its report. Fails if not one request succeeded.
pub fn main(args: BenchArgs) -> Result<ExitCode> {
    if args.duration == 0.0 {
        bail!("--duration must be above 0");
    }
    let mut builder = match args.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if args.threads > 1 {
        builder.worker_threads(usize::from(args.threads));
    }
    let runtime = builder.enable_all().build().context("cannot start the runtime")?;
    // Before the load, so that the disk is measured at rest.
    let disk = match &args.disk_latency {
        Some(folder) => Some(disk::measure(folder, Duration::from_secs(3))?),
        None => None,
    };
    let outcome = runtime.block_on(run::bench(&args))?;
    let report = report::Report::new(&args, outcome, disk);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        report.print();
    }
    Ok(if report.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
