//! The implementation of each command.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Everything that reads the source without running Torc. Stops at the first failure.
pub fn verify() -> Result<()> {
    step("format", cargo(["fmt", "--all", "--check"]))?;
    step("clippy", cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    let mut docs = cargo(["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
    docs.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links");
    step("docs", docs)?;
    step("arrows", cargo(["test", "--quiet", "--locked", "-p", "xtask", "--test", "arrows"]))?;
    dependencies()
}

/// Licences, bans and sources of every dependency, and known advisories if their database can be fetched. In
/// CI, which installs cargo-deny, a missing cargo-deny is a failure.
fn dependencies() -> Result<()> {
    if !installed("cargo-deny") {
        if std::env::var_os("CI").is_some() {
            bail!("cargo-deny is not installed (cargo install --locked cargo-deny)");
        }
        eprintln!(
            "==> dependencies: SKIPPED, cargo-deny is not installed (cargo install --locked cargo-deny)"
        );
        return Ok(());
    }
    step("dependencies", cargo(["deny", "--locked", "check", "licenses", "bans", "sources"]))?;
    if step("fetch advisories", cargo(["deny", "--locked", "fetch", "db"])).is_err() {
        eprintln!(
            "==> advisories: SKIPPED, their database cannot be reached; `bans` in deny.toml holds the known ones"
        );
        return Ok(());
    }
    step("advisories", cargo(["deny", "--locked", "check", "--disable-fetch", "advisories"]))
}

/// The README's test command.
pub fn test(args: &[String]) -> Result<()> {
    let mut command = cargo(["test", "--workspace"]);
    command.args(args);
    step("test", command)
}

/// Real processes, real SDKs, against the release binary.
pub fn e2e(args: &[String]) -> Result<()> {
    step("build", cargo(["build", "--release", "-p", "torc"]))?;
    let mut command = Command::new("bash");
    command.arg(root().join("e2e/run.sh")).args(args).current_dir(root());
    step("e2e", command)
}

/// Hands its arguments to the simulator. Optimised but with every assertion, as in the tests.
pub fn sim(args: &[String]) -> Result<()> {
    let mut command = cargo(["run", "--quiet", "-p", "torc-sim", "--"]);
    command.args(args);
    step("sim", command)
}

/// Hands its arguments to the fuzzer. With `--coverage` it is built so that it sees which code an input
/// reaches, in a folder of its own.
pub fn fuzz(args: &[String]) -> Result<()> {
    const COVERAGE: &str = "--coverage";
    let mut command = cargo(["run", "--quiet", "-p", "torc-fuzz"]);
    if args.iter().any(|arg| arg == COVERAGE) {
        // With a target named, the flags are for the program alone, not for build scripts and macros.
        command.args([
            "--target",
            &host()?,
            "--target-dir",
            "target/fuzz-build",
            "--config",
            "profile.dev.opt-level=2",
        ]);
        command.env(
            "RUSTFLAGS",
            "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
             -Ccodegen-units=1",
        );
    }
    command.arg("--").args(args.iter().filter(|arg| *arg != COVERAGE));
    step("fuzz", command)
}

/// The platform that this toolchain builds for by itself.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("can't run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

/// Writes COMPAT.md from the table in the model.
pub fn compat() -> Result<()> {
    let mut command = cargo(["run", "--quiet", "-p", "torc-model", "--example", "compat"]);
    let output = command.stderr(Stdio::inherit()).output().context("can't run cargo")?;
    if !output.status.success() {
        bail!("the page could not be made");
    }
    std::fs::write(root().join("COMPAT.md"), output.stdout).context("can't write COMPAT.md")
}

/// The script that CI runs.
pub fn ci() -> Result<()> {
    let mut command = Command::new("bash");
    command.arg(root().join(".ci/run")).current_dir(root());
    step("ci", command)
}

/// The workspace's root, whatever the current directory.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// The cargo that runs us, so that `cargo +nightly xtask` stays on nightly.
fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn step(name: &str, mut command: Command) -> Result<()> {
    eprintln!("==> {name}");
    let began = Instant::now();
    let status = command.status().with_context(|| format!("{name}: cannot start {command:?}"))?;
    if !status.success() {
        bail!("{name} failed ({status}): {command:?}");
    }
    eprintln!("==> {name}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}
