//! The one door: `cargo xtask COMMAND`. Needs nothing but the toolchain; `e2e` installs what it needs beside itself.
//!
//! Runs other programs and reports; it must never change a tracked file except in a command that says so (`compat`).

// A developer's tool at the edge: it looks at files and clocks of the machine it runs on.
#![allow(clippy::disallowed_methods)]

mod steps;

use anyhow::{Result, bail};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  verify            what CI runs before the tests: format, clippy, docs, arrows between crates, licences. Writes nothing.
  test [ARGS..]     cargo test --workspace
  e2e [ARGS..]      builds the release binary and drives it as real processes with real SDKs (see e2e/run.sh --help)
  sim [ARGS..]      whole clusters under faults in one deterministic process (try: cargo xtask sim --seeds 200 --budget 60)
  compat            writes COMPAT.md: every operation and parameter of DynamoDB, and what becomes of it
  ci                the whole of .ci/run
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", args),
    };
    match command {
        "verify" => steps::verify(),
        "test" => steps::test(rest),
        "e2e" => steps::e2e(rest),
        "sim" => steps::sim(rest),
        "compat" => steps::compat(),
        "ci" => steps::ci(),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("there is no command {other:?}\n\n{HELP}"),
    }
}
