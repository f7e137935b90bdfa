//! `torc verify` and `torc inspect`: checks and prints the folder of a node that is not running.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use torc_engine::env::RealEnv;
use torc_engine::{Background, Engine, Env, Options};

/// `torc verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Folder of the node, as given to `torc start --data`
    #[arg(long)]
    data: PathBuf,
}

/// `torc inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// What to look at
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The levels and tables of a node's folder
    Manifest {
        /// Folder of the node, as given to `torc start --data`
        #[arg(long)]
        data: PathBuf,
    },
    /// The segments and streams of a node's log
    Log {
        /// Folder of the node, as given to `torc start --data`
        #[arg(long)]
        data: PathBuf,
    },
    /// One table file
    Table {
        /// The file, tables/NNNNNN.sst in a node's folder
        file: PathBuf,
    },
    /// One file of large values
    Values {
        /// The file, tables/NNNNNN.val in a node's folder
        file: PathBuf,
    },
}

fn env() -> Arc<dyn Env> {
    Arc::new(RealEnv::new())
}

fn exists(data: &Path) -> anyhow::Result<()> {
    if !env().exists(&data.join("CURRENT"))? {
        bail!("{} holds no data of Torc", data.display());
    }
    Ok(())
}

/// Reads every checksum and cross-checks manifest, tables and log. Opening finishes what a crash left
/// unfinished, as a start would.
pub fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    exists(&args.data)?;
    let options = Options { background: Background::Manual, ..Options::default() };
    let engine = Engine::open(env(), &args.data, options).context("the folder can't be opened")?;
    let problems = engine.verify();
    for problem in &problems {
        println!("{problem}");
    }
    let m = engine.metrics();
    let tables: u64 = m.levels.iter().map(|l| l.tables).sum();
    println!(
        "{tables} tables of {} bytes, {} files of large values of {} bytes and {} streams of the log read: {}",
        m.table_bytes(),
        m.value_files,
        m.value_live_bytes + m.value_garbage_bytes,
        engine.log().streams().len(),
        if problems.is_empty() { "all is well".into() } else { format!("{} problems", problems.len()) }
    );
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what a manifest, log or table says. Changes nothing, and works beside a running node.
pub fn inspect(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let text = match &args.what {
        What::Manifest { data } => {
            exists(data)?;
            torc_engine::lsm::inspect_manifest(&env(), data)?
        }
        What::Log { data } => {
            exists(data)?;
            torc_engine::log::inspect_log(&env(), &data.join("log"))?
        }
        What::Table { file } => torc_engine::lsm::inspect_table(&env(), file)?,
        What::Values { file } => torc_engine::lsm::inspect_values(&env(), file)?,
    };
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}
