//! Feeds mutated input to every parser that takes bytes from outside, and checks what must hold of whatever
//! it accepts.
//!
//! `cargo xtask fuzz` runs it. One seed gives one series of inputs. Built by `cargo xtask fuzz --coverage`,
//! an input that reaches code that none has reached before is kept and mutated further; otherwise inputs are
//! mutations of the seeds alone. Libraries never use this crate.

// A program of its own at the edge: it reads clocks and writes findings.
#![allow(clippy::disallowed_methods)]

mod coverage;
mod mutate;
mod targets;

use anyhow::{Context, Result, bail};
use clap::Parser;
use mutate::Mutator;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use targets::Target;

/// As much as a thread of the server has: what overflows here would there.
const STACK_BYTES: usize = 2 << 20;
/// An input that takes longer is a finding of its own: a parser must not be slow by more than its input is
/// long.
const SLOW: Duration = Duration::from_secs(5);
/// Most inputs kept.
const MAX_CORPUS: usize = 20_000;

/// Fuzzes the parsers of Torc.
#[derive(Clone, Parser)]
struct Args {
    /// Only this target; all of them, one after another, if not given
    #[arg(long)]
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Inputs for each target, instead of seconds: repeats exactly
    #[arg(long)]
    runs: Option<u64>,
    /// Seed of the series
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run this input only, and show the panic it ends with
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where findings, and the input being run, are kept
    #[arg(long, default_value = "target/fuzz", value_name = "DIR")]
    folder: PathBuf,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let chosen: Vec<&Target> = targets::ALL
        .iter()
        .filter(|target| args.target.as_deref().is_none_or(|name| name == target.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
        bail!("no such target; there are {}", names.join(", "));
    }
    std::fs::create_dir_all(&args.folder).with_context(|| format!("can't make {}", args.folder.display()))?;
    if let Some(path) = &args.input {
        let input = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        chosen.iter().for_each(|target| (target.run)(&input));
        println!("no panic");
        return Ok(ExitCode::SUCCESS);
    }
    // Panics are reported with their input; a line for each one met while shrinking it would only be noise.
    std::panic::set_hook(Box::new(|_| {}));
    let mut clean = true;
    for target in chosen {
        let args = args.clone();
        let fuzzing =
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || fuzz(target, &args))?;
        clean &= fuzzing.join().map_err(|_| anyhow::anyhow!("the harness itself panicked"))??;
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one target. False if there was a finding.
fn fuzz(target: &'static Target, args: &Args) -> Result<bool> {
    let mut rng = SmallRng::seed_from_u64(args.seed);
    let seeds: Vec<Vec<u8>> = (target.seeds)();
    let mutator = Mutator::new(target.dictionary, &seeds);
    let mut corpus = seeds.clone();
    let mut coverage = coverage::Coverage::new();
    // A stack overflow or an abort ends the process: what it was fed is in this file.
    let last = args.folder.join(format!("{}.last", target.name));
    let last_file = File::create(&last).with_context(|| format!("can't write {}", last.display()))?;
    let began = Instant::now();
    let mut count = 0u64;
    let mut input = Vec::new();
    loop {
        match args.runs {
            Some(runs) if count >= runs => break,
            None if count.is_multiple_of(64) && began.elapsed().as_secs_f64() >= args.seconds => break,
            _ => {}
        }
        // The seeds themselves come first.
        match seeds.get(usize::try_from(count).unwrap_or(usize::MAX)) {
            Some(seed) => input.clone_from(seed),
            None => mutator.next(&mut rng, &corpus, &mut input),
        }
        count += 1;
        last_file.write_all_at(&input, 0)?;
        last_file.set_len(input.len() as u64)?;
        coverage.clear();
        let started = Instant::now();
        let outcome = attempt(target, &input);
        let took = started.elapsed();
        if let Err(message) = outcome {
            let smallest = shrink(target, input);
            report(target, &smallest, &message, args)?;
            return Ok(false);
        }
        // On a busy machine any input may have to wait once; a slow one is slow again.
        if took > SLOW && (0..3).all(|_| is_slow(target, &input)) {
            report(target, &input, &format!("took {took:?}"), args)?;
            return Ok(false);
        }
        if corpus.len() < MAX_CORPUS && coverage.found_new() {
            corpus.push(input.clone());
        }
    }
    std::fs::remove_file(&last)?;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{:16} {count:>10} inputs, {:>8.0}/s, {seconds:.0} s, corpus {} of {} seeds{}: no finding",
        target.name,
        count as f64 / seconds.max(1e-9),
        corpus.len(),
        seeds.len(),
        coverage.summary(),
    );
    Ok(true)
}

fn is_slow(target: &Target, input: &[u8]) -> bool {
    let began = Instant::now();
    let _ = attempt(target, input);
    began.elapsed() > SLOW
}

/// The panic's message, if the target panics.
fn attempt(target: &Target, input: &[u8]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// Cuts pieces out for as long as the rest still panics.
fn shrink(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let mut piece = input.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at + piece <= input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..at + piece);
            if attempt(target, &shorter).is_err() {
                input = shorter;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    input
}

fn report(target: &Target, input: &[u8], message: &str, args: &Args) -> Result<()> {
    let path = finding(&args.folder, target.name);
    std::fs::write(&path, input)?;
    println!("{}: FINDING: {message}", target.name);
    println!(
        "  input ({} bytes): {}",
        input.len(),
        String::from_utf8_lossy(&input[..input.len().min(300)]).escape_debug()
    );
    println!("  run it alone: cargo run -p torc-fuzz -- --target {} --input {}", target.name, path.display());
    Ok(())
}

/// The first name that is free.
fn finding(folder: &Path, name: &str) -> PathBuf {
    (0..).map(|n| folder.join(format!("{name}.finding.{n}"))).find(|path| !path.exists()).unwrap_or_default()
}
