//! The result, as a table or as JSON.

use super::disk::{DiskLatency, SyncLatency};
use super::run::Outcome;
use super::{BenchArgs, DriverKind, KeyKind};
use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// What `--json` prints. Fields are only ever added.
#[derive(Debug, Serialize)]
pub struct Report {
    driver: &'static str,
    endpoints: Vec<String>,
    connections: u32,
    /// `closed` or `open`.
    r#loop: &'static str,
    rate_target: Option<f64>,
    keys: &'static str,
    key_count: u64,
    value_bytes: u32,
    reads_percent: u8,
    consistent_reads: bool,
    elapsed_seconds: f64,
    /// Successful operations a second.
    throughput: f64,
    reads: Latency,
    writes: Latency,
    errors: u64,
    error_reasons: BTreeMap<String, u64>,
    disk: Option<DiskLatency>,
}

/// Latencies of one kind of operation, in microseconds.
#[derive(Debug, Serialize)]
pub struct Latency {
    count: u64,
    throughput: f64,
    mean_us: f64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
}

impl Latency {
    fn new(histogram: &Histogram<u64>, elapsed_seconds: f64) -> Latency {
        Latency {
            count: histogram.len(),
            throughput: rate(histogram.len(), elapsed_seconds),
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        }
    }
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

impl Report {
    /// Joins what was asked with what came out.
    pub fn new(args: &BenchArgs, outcome: Outcome, disk: Option<DiskLatency>) -> Report {
        let elapsed_seconds = outcome.elapsed.as_secs_f64();
        Report {
            driver: match args.driver {
                DriverKind::Dynamodb => "dynamodb",
                DriverKind::Etcd => "etcd",
            },
            endpoints: args.endpoint.clone(),
            connections: args.connections,
            r#loop: if args.rate.is_some() { "open" } else { "closed" },
            rate_target: args.rate,
            keys: match args.keys {
                KeyKind::Uniform => "uniform",
                KeyKind::Zipfian => "zipfian",
                KeyKind::Sequential => "sequential",
            },
            key_count: args.key_count,
            value_bytes: args.value_size,
            reads_percent: args.reads,
            consistent_reads: !args.eventual,
            elapsed_seconds,
            throughput: rate(outcome.reads.len() + outcome.writes.len(), elapsed_seconds),
            reads: Latency::new(&outcome.reads, elapsed_seconds),
            writes: Latency::new(&outcome.writes, elapsed_seconds),
            errors: outcome.errors.values().sum(),
            error_reasons: outcome.errors,
            disk,
        }
    }

    /// Whether anything was measured at all.
    pub fn succeeded(&self) -> bool {
        self.reads.count + self.writes.count > 0
    }

    /// Prints it for a person.
    pub fn print(&self) {
        println!(
            "{} over {} connections to {} node(s), {} loop{}, {} {} keys, {}-byte values, {} reads",
            self.driver,
            self.connections,
            self.endpoints.len(),
            self.r#loop,
            self.rate_target.map(|rate| format!(" at {rate}/s")).unwrap_or_default(),
            self.key_count,
            self.keys,
            self.value_bytes,
            if self.consistent_reads { "consistent" } else { "eventual" },
        );
        println!(
            "{:.0} operations/s over {:.1} s, {} failed",
            self.throughput, self.elapsed_seconds, self.errors
        );
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["", "count", "per second", "p50", "p99", "p99.9", "max"]);
        for (name, latency) in [("reads", &self.reads), ("writes", &self.writes)] {
            if latency.count > 0 {
                table.add_row([
                    name.to_owned(),
                    latency.count.to_string(),
                    format!("{:.0}", latency.throughput),
                    millis(latency.p50_us),
                    millis(latency.p99_us),
                    millis(latency.p999_us),
                    millis(latency.max_us),
                ]);
            }
        }
        if let Some(disk) = &self.disk {
            for (name, sync) in
                [("disk, 4 KiB + fdatasync", &disk.fdatasync), ("disk, 4 KiB direct O_DSYNC", &disk.o_dsync)]
            {
                table.add_row(sync_row(name, sync));
            }
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
        for (reason, count) in &self.error_reasons {
            println!("failed {count} times: {reason}");
        }
    }
}

fn sync_row(name: &str, sync: &SyncLatency) -> [String; 7] {
    [
        name.to_owned(),
        sync.count.to_string(),
        "-".to_owned(),
        millis(sync.p50_us),
        millis(sync.p99_us),
        "-".to_owned(),
        millis(sync.max_us),
    ]
}

/// Milliseconds with as many digits as mean something.
fn millis(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{:.2} ms", micros as f64 / 1e3),
        10_000..100_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.0} ms", micros as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millis_keep_three_digits() {
        for (micros, text) in
            [(950, "0.95 ms"), (9_500, "9.50 ms"), (15_000, "15.0 ms"), (1_500_000, "1500 ms")]
        {
            assert_eq!(millis(micros), text);
        }
    }
}
