//! The commands of `cargo xtask`. It needs only the toolchain; `e2e` installs what it needs in a folder of
//! its own.
//!
//! It runs other programs and reports. It must never change a tracked file, except in a command that says so
//! (`compat`).

// A developer's tool at the edge: it looks at files and clocks of the machine it runs on.
#![allow(clippy::disallowed_methods)]

#[cfg(feature = "codegen")]
mod gen_proto;
mod steps;

use anyhow::{Result, bail};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  verify            what CI runs before the tests: format, clippy, docs, arrows between crates, licences. Writes nothing.
  test [ARGS..]     cargo test --workspace
  e2e [ARGS..]      builds the release binary and drives it as real processes with real SDKs (see e2e/run.sh --help)
  sim [ARGS..]      whole clusters under faults in one deterministic process (try: cargo xtask sim --seeds 200 --budget 60)
  fuzz [ARGS..]     mutated input for every parser of outside bytes (try: cargo xtask fuzz --coverage --seconds 600 --target json)
  gen-proto [--check]  writes crates/wire/src/kv.rs from crates/wire/proto/kv.proto (or only says whether it is up to date)
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
        "fuzz" => steps::fuzz(rest),
        "gen-proto" => gen_proto(rest),
        "compat" => steps::compat(),
        "ci" => steps::ci(),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("there is no command {other:?}\n\n{HELP}"),
    }
}

#[cfg(feature = "codegen")]
fn gen_proto(args: &[String]) -> Result<()> {
    gen_proto::run(args.iter().any(|arg| arg == "--check"))
}

/// Without the generator compiled in: builds and runs the xtask that has it.
#[cfg(not(feature = "codegen"))]
fn gen_proto(args: &[String]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["run", "--quiet", "--package", "xtask", "--features", "codegen", "--", "gen-proto"])
        .args(args)
        .status()?;
    if status.success() { Ok(()) } else { bail!("gen-proto failed") }
}
