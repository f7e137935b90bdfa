//! Torc's engine beside its rivals: RocksDB (feature `rocksdb`), fjall, redb and LMDB.
//!
//! The parent goes through the workloads; within one, the engines take turns (A B C A B C ...), each cell in a child process of its own.
//! It writes a line of JSON for each cell and prints a table of medians and ratios. docs/operations/engine-benchmarks.md has
//! the commands and what came of them.

mod cell;
mod data;
#[cfg(feature = "rocksdb")]
mod differential;
mod measure;
mod report;
mod stores;
mod workload;

use anyhow::{Context, Result, bail};
use cell::{Row, Task};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use workload::{ALL, Memory, Start, Workload};

const HELP: &str = "\
usage: torc-compare [options]            run cells and print a table
       torc-compare report FILE...       print the table of results that were kept
       torc-compare ratios FILE...       the same in short: Torc over each rival
       torc-compare differential [--seed N] [--seeds N] [--ops N] [--plant BUG] [--dir DIR]
                                         random operations on Torc and RocksDB, compared key by key;
                                         BUG: dropped-tombstone, dangling-pointers

  --engines A,B      engines to run (default: all of this build)
  --workloads A,B    workloads to run, or a prefix that ends in * (default: all)
  --value BYTES      size of a value (default 100)
  --keys N           keys loaded (default 2000000)
  --mib MIB          instead of --keys: as many as make this much data
  --passes N         times that `overwrite` writes every key, on average (default 3)
  --seconds S        length of a workload without an end of its own (default 5)
  --reps N           repetitions, interleaved (default 3)
  --limit-mib MIB    memory of a limited cell beyond its cache (default 64)
  --dir DIR          where the databases go (default: a temporary folder)
  --out FILE         append the results to this file, a line of JSON for each cell
  --smoke            a few keys, one repetition: only checks that everything runs";

struct Args {
    engines: Vec<String>,
    workloads: Vec<Workload>,
    value_bytes: usize,
    keys: u64,
    passes: u64,
    seconds: f64,
    reps: usize,
    limit_bytes: u64,
    dir: PathBuf,
    out: Option<PathBuf>,
    smoke: bool,
}

fn select(names: &str) -> Result<Vec<Workload>> {
    let mut out = Vec::new();
    for name in names.split(',') {
        match name.strip_suffix('*') {
            Some(prefix) => out.extend(ALL.iter().filter(|w| w.name.starts_with(prefix))),
            None => out.push(workload::named(name)?),
        }
    }
    Ok(out)
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args> {
    let mut a = Args {
        engines: stores::names().into_iter().map(String::from).collect(),
        workloads: ALL.to_vec(),
        value_bytes: 100,
        keys: 2_000_000,
        passes: 3,
        seconds: 5.0,
        reps: 3,
        limit_bytes: 64 << 20,
        dir: std::env::temp_dir().join(format!("torc-compare-{}", std::process::id())),
        out: None,
        smoke: false,
    };
    let mut mib = None;
    while let Some(name) = words.next() {
        if name == "--smoke" {
            a.smoke = true;
            continue;
        }
        let value = words.next().with_context(|| format!("{name} needs a value\n{HELP}"))?;
        let bad = || format!("{name} {value}");
        match name.as_str() {
            "--engines" => a.engines = value.split(',').map(String::from).collect(),
            "--workloads" => a.workloads = select(&value)?,
            "--value" => a.value_bytes = value.parse().with_context(bad)?,
            "--keys" => a.keys = value.parse().with_context(bad)?,
            "--mib" => mib = Some(value.parse::<u64>().with_context(bad)?),
            "--passes" => a.passes = value.parse().with_context(bad)?,
            "--seconds" => a.seconds = value.parse().with_context(bad)?,
            "--reps" => a.reps = value.parse().with_context(bad)?,
            "--limit-mib" => a.limit_bytes = value.parse::<u64>().with_context(bad)? << 20,
            "--dir" => a.dir = value.into(),
            "--out" => a.out = Some(value.into()),
            _ => bail!("unknown option {name}\n{HELP}"),
        }
    }
    if let Some(mib) = mib {
        a.keys = (mib << 20) / (data::KEY_BYTES + a.value_bytes) as u64;
    }
    if a.smoke {
        (a.keys, a.passes, a.seconds, a.reps) = (a.keys.min(20_000), 1, 0.1, 1);
    }
    Ok(a)
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).peekable();
    match words.peek().map(String::as_str) {
        Some("--help" | "-h") => {
            println!("{HELP}");
            Ok(())
        }
        Some("cell") => {
            let task: Task = serde_json::from_str(&words.nth(1).context("cell needs a task")?)?;
            println!("{}", serde_json::to_string(&cell::run(task)?)?);
            Ok(())
        }
        Some("differential") => differential(words.skip(1)),
        Some(kind @ ("report" | "ratios")) => {
            let print = if kind == "report" { report::table } else { report::ratios };
            let mut rows = Vec::new();
            for file in words.skip(1) {
                for line in fs::read_to_string(&file).with_context(|| file.clone())?.lines() {
                    rows.push(serde_json::from_str(line).with_context(|| format!("{file}: {line}"))?);
                }
            }
            print!("{}", print(&rows));
            Ok(())
        }
        _ => run(&parse(words)?),
    }
}

#[cfg(not(feature = "rocksdb"))]
fn differential(_: impl Iterator<Item = String>) -> Result<()> {
    bail!("this build has no RocksDB to compare with: build with --features rocksdb")
}

#[cfg(feature = "rocksdb")]
fn differential(mut words: impl Iterator<Item = String>) -> Result<()> {
    let (mut seed, mut seeds, mut ops) = (1, 1, 20_000);
    let mut planted = torc_engine::lsm::EngineFaults::default();
    let mut dir = std::env::temp_dir().join(format!("torc-differential-{}", std::process::id()));
    while let Some(name) = words.next() {
        let value = words.next().with_context(|| format!("{name} needs a value\n{HELP}"))?;
        let bad = || format!("{name} {value}");
        match name.as_str() {
            "--seed" => seed = value.parse().with_context(bad)?,
            "--seeds" => seeds = value.parse().with_context(bad)?,
            "--ops" => ops = value.parse().with_context(bad)?,
            "--dir" => dir = value.into(),
            "--plant" if value == "dropped-tombstone" => planted.dropped_tombstone = true,
            "--plant" if value == "dangling-pointers" => planted.dangling_pointers = true,
            _ => bail!("unknown option {name} {value}\n{HELP}"),
        }
    }
    for seed in seed..seed + seeds {
        remove(&dir)?;
        // On failure the databases stay, to be looked into.
        println!("{}", differential::run(&differential::Settings { seed, ops, dir: dir.clone(), planted })?);
    }
    remove(&dir)
}

/// The folder that `load` filled for these settings.
fn loaded_dir(a: &Args, engine: &str, tight: bool) -> PathBuf {
    a.dir.join(format!("{engine}-{}x{}{}", a.keys, a.value_bytes, if tight { "-tight" } else { "" }))
}

fn run(a: &Args) -> Result<()> {
    fs::create_dir_all(&a.dir)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut out = match &a.out {
        Some(path) => Some(fs::OpenOptions::new().create(true).append(true).open(path)?),
        None => None,
    };
    let limits = cell::can_limit();
    let mut failures = 0;
    for w in &a.workloads {
        if w.memory == Memory::Limited && !limits {
            eprintln!("{}: no memory cgroup can be made here, so it is left out", w.name);
            continue;
        }
        for rep in 0..a.reps {
            for engine in &a.engines {
                let row = one(a, w, engine).unwrap_or_else(|e| Row {
                    engine: engine.clone(),
                    workload: w.name.to_string(),
                    value_bytes: a.value_bytes,
                    failed: Some(format!("{e:#}")),
                    ..Row::default()
                });
                match &row.failed {
                    Some(why) => {
                        failures += 1;
                        eprintln!("{:<16} {engine:<8} failed: {why}", w.name);
                    }
                    None => eprintln!(
                        "{:<16} {engine:<8} #{rep}: {:>10.0} ops/s, p99 {:.1} us, longest {:.1} ms, others used {:.1} s of {:.1} s",
                        w.name,
                        row.ops_per_s,
                        row.p99_ns as f64 / 1e3,
                        row.max_ns as f64 / 1e6,
                        row.spent.others_cpu_s,
                        row.spent.seconds,
                    ),
                }
                if let Some(out) = &mut out {
                    writeln!(out, "{}", serde_json::to_string(&row)?)?;
                }
                rows.push(row);
            }
        }
    }
    print!("{}", report::table(&rows));
    fs::remove_dir_all(&a.dir).with_context(|| format!("remove {}", a.dir.display()))?;
    anyhow::ensure!(failures == 0, "{failures} cells failed");
    Ok(())
}

/// Prepares the folder, runs one cell in a child, and cleans up.
fn one(a: &Args, w: &Workload, engine: &str) -> Result<Row> {
    let data_bytes = a.keys as usize * (data::KEY_BYTES + a.value_bytes);
    let tight = w.memory != Memory::Ample;
    // Twice the data: blocks in memory are larger than their entries, and no cache fills its last shard.
    let cache_bytes = if tight { data_bytes / 10 } else { (2 * data_bytes).max(64 << 20) };
    let mut task = Task {
        engine: engine.to_string(),
        workload: w.name.to_string(),
        value_bytes: a.value_bytes,
        keys: a.keys,
        passes: a.passes,
        seconds: a.seconds,
        cache_bytes,
        tight,
        dir: a.dir.join(format!("{engine}-cell")),
        limit_bytes: if w.memory == Memory::Limited { cache_bytes as u64 + a.limit_bytes } else { 0 },
    };
    if cell::needs_load(*w) {
        let loaded = loaded_dir(a, engine, tight);
        if !loaded.exists() {
            let partial = loaded.with_extension("loading");
            remove(&partial)?;
            child(&Task { workload: "load".into(), dir: partial.clone(), limit_bytes: 0, ..task.clone() })?;
            fs::rename(&partial, &loaded)?;
        }
        if w.start == Start::Loaded {
            task.dir = loaded;
            return child(&task);
        }
        remove(&task.dir)?;
        copy(&loaded, &task.dir)?;
    } else {
        remove(&task.dir)?;
    }
    let row = child(&task);
    remove(&task.dir)?;
    row
}

fn child(task: &Task) -> Result<Row> {
    let out = Command::new(std::env::current_exe()?)
        .args(["cell", &serde_json::to_string(task)?])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        bail!("{}: {}", out.status, why.trim().lines().take(3).collect::<Vec<_>>().join(" "));
    }
    Ok(serde_json::from_str(text.trim().lines().last().unwrap_or_default())?)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// A copy whose pages the device already has: what the copy left to write is not the cell's doing.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            // Keeps holes (LMDB has them) and makes none: a log segment written ahead must stay written.
            let status = Command::new("cp")
                .args(["--sparse=auto", "--"])
                .args([entry.path(), target.clone()])
                .status()?;
            anyhow::ensure!(status.success(), "cp to {}", target.display());
            fs::File::open(&target)?.sync_all()?;
        }
    }
    Ok(())
}
