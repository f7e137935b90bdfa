//! The command line: the commands, and the modules that run them.
//!
//! `main` calls it. It parses, reads the configuration file, and calls the command; it must hold no other
//! logic.

// The shell: it reads files and terminals.
#![allow(clippy::disallowed_methods)]

mod kv;
mod start;
mod store;
pub mod terminal;

use crate::{bench, demo, status};
use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// A distributed key-value database: the DynamoDB API and the Dynamo API over one ring, in one binary.
#[derive(Debug, Parser)]
#[command(name = "torc", version, max_term_width = 110, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node: alone, or as part of a cluster
    Start(start::StartFlags),
    /// Start three nodes in three zones with sample data and live traffic to look at
    Demo(demo::DemoArgs),
    /// Show nodes, tables and buckets of a running cluster
    Status(status::StatusArgs),
    /// Load a cluster and measure throughput and latency
    Bench(bench::BenchArgs),
    /// Put, get and delete values in buckets
    Kv(kv::KvArgs),
    /// Read every checksum of a stopped node's folder
    Verify(store::VerifyArgs),
    /// Show what the files of a node's folder say
    Inspect(store::InspectArgs),
    /// Print a completion script: torc completions bash > /etc/bash_completion.d/torc
    Completions {
        /// The shell it is for
        shell: clap_complete::Shell,
    },
}

/// Runs what the command line says. Errors are printed with their causes; the exit code is for the shell.
pub fn run() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{} {error:#}", terminal::Paint::stderr().bad("error:"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Start(flags) => start::main(flags),
        Command::Demo(args) => demo::main(args),
        Command::Status(args) => status::main(&args),
        Command::Bench(args) => bench::main(args),
        Command::Kv(args) => kv::main(args),
        Command::Verify(args) => store::verify(&args),
        Command::Inspect(args) => store::inspect(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "torc", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs a short-lived client command on a runtime of one thread.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_has_help() {
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands() {
                assert!(sub.get_about().is_some(), "{} has no help", sub.get_name());
                check(sub);
            }
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {} has no help",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
        check(&Cli::command());
    }
}
