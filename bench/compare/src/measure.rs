//! What a cell measures: latencies, and what the process and the machine spent meanwhile.

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::Instant;

/// Buckets for each doubling: a resolution of 1.6 %.
const SUB: u64 = 64;

/// Latencies in nanoseconds, in logarithmic buckets.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; 64 * SUB as usize], max: 0 }
    }
}

fn bucket(ns: u64) -> usize {
    if ns < SUB {
        return ns as usize;
    }
    let shift = 63 - ns.leading_zeros() - SUB.trailing_zeros();
    (u64::from(shift) * SUB + (ns >> shift)) as usize
}

/// The highest value of a bucket.
fn top(bucket: usize) -> u64 {
    let b = bucket as u64;
    if b < 2 * SUB {
        return b;
    }
    let shift = b / SUB - 1;
    ((b % SUB + SUB + 1) << shift) - 1
}

impl Histogram {
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.max = self.max.max(ns);
    }

    pub fn merge(&mut self, other: &Self) {
        for (a, b) in self.counts.iter_mut().zip(&other.counts) {
            *a += b;
        }
        self.max = self.max.max(other.max);
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// The latency that `share` of the operations did not exceed.
    pub fn quantile(&self, share: f64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (i, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return top(i).min(self.max);
            }
        }
        self.max
    }
}

/// Counters of this process and of the machine at one moment.
pub struct Moment {
    at: Instant,
    cpu: f64,
    machine_busy: f64,
    read_bytes: u64,
    write_bytes: u64,
}

/// The difference of two moments.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spent {
    pub seconds: f64,
    /// Processor seconds of this process, background threads included.
    pub cpu_s: f64,
    /// Processor seconds of everybody else on the machine.
    pub others_cpu_s: f64,
    /// Bytes that this process had the device read and write (/proc/self/io: a buffered write counts when it dirties the page).
    pub read_bytes: u64,
    pub write_bytes: u64,
}

impl Moment {
    pub fn now() -> Result<Self> {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let (read_bytes, write_bytes) = io()?;
        Ok(Self {
            at: Instant::now(),
            cpu: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            machine_busy: machine_busy()?,
            read_bytes,
            write_bytes,
        })
    }

    pub fn spent(&self) -> Result<Spent> {
        let now = Self::now()?;
        let cpu_s = now.cpu - self.cpu;
        Ok(Spent {
            seconds: (now.at - self.at).as_secs_f64(),
            cpu_s,
            others_cpu_s: (now.machine_busy - self.machine_busy - cpu_s).max(0.0),
            read_bytes: now.read_bytes - self.read_bytes,
            write_bytes: now.write_bytes - self.write_bytes,
        })
    }
}

/// Processor seconds that the machine has been busy since it started (/proc/stat, in hundredths).
fn machine_busy() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is counted in user.
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|&i| ticks.get(i)).sum();
    Ok(busy as f64 / 100.0)
}

fn io() -> Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/io")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)).context("a field of /proc/self/io")?;
        line.trim().parse::<u64>().context("a number in /proc/self/io")
    };
    Ok((field("read_bytes:")?, field("write_bytes:")?))
}

/// Resident memory now and at its highest, bytes.
pub fn resident() -> Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)).context("a field of /proc/self/status")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        anyhow::Ok(kib * 1024)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// Bytes that a folder takes on the device: in files for which `is_log` holds, and in the others. A file that vanishes meanwhile counts
/// nothing.
pub fn space(dir: &Path, is_log: &dyn Fn(&Path) -> bool) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let (mut log, mut data) = (0, 0);
    let Ok(entries) = fs::read_dir(dir) else { return (0, 0) };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(m) if m.is_dir() => {
                let (l, d) = space(&path, is_log);
                log += l;
                data += d;
            }
            Ok(m) if is_log(&path) => log += m.blocks() * 512,
            Ok(m) => data += m.blocks() * 512,
            Err(_) => {}
        }
    }
    (log, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut h = Histogram::default();
        let mut values: Vec<u64> = (0..10_000u64).map(|i| i * i * 37 % 9_999_991).collect();
        values.iter().for_each(|&v| h.record(v));
        values.sort_unstable();
        for share in [0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = values[((values.len() as f64 * share).ceil() as usize).max(1) - 1] as f64;
            let got = h.quantile(share) as f64;
            assert!(got >= exact && got <= exact * 1.02 + 1.0, "{share}: {got}, exact {exact}");
        }
        assert_eq!(h.max(), *values.last().unwrap());
    }

    #[test]
    fn buckets_are_in_order_and_their_tops_inside() {
        let mut last = 0;
        for shift in 0..63 {
            for v in [1u64 << shift, (1 << shift) + 1, (2 << shift) - 1] {
                assert!(bucket(v) >= last);
                last = bucket(v);
                assert!(top(last) >= v);
                assert_eq!(bucket(top(last)), last);
            }
        }
    }
}
