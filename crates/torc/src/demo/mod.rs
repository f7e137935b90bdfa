//! `torc demo`: three nodes in three zones on this machine, sample data, live traffic, and a table that
//! refreshes.
//!
//! The command line calls it. The nodes are processes of the same binary, so a user can kill one from another
//! terminal and watch the effect.

// The shell: it starts processes and looks at real clocks and files.
#![allow(clippy::disallowed_methods)]

mod nodes;
mod screen;
mod traffic;

use crate::bench::connection::Connection;
use crate::cli::block_on;
use crate::status;
use anyhow::{Context, Result};
use nodes::Nodes;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How often the screen is drawn.
const REFRESH: Duration = Duration::from_secs(1);

/// Arguments of `torc demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Keep the data in this folder; without it a temporary one, removed at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// First of three ports for clients; three for the nodes follow, ten further on
    #[arg(long, default_value_t = 8000, value_parser = clap::value_parser!(u16).range(1..=65_500))]
    base_port: u16,
    /// Requests a second of live traffic
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    rate: u32,
    /// Print one line a second instead of a screen that refreshes
    #[arg(long)]
    plain: bool,
}

/// Runs until Ctrl-C, then stops the nodes.
pub fn main(args: DemoArgs) -> Result<ExitCode> {
    let (folder, temporary) = match &args.data {
        Some(folder) => (folder.clone(), false),
        None => (std::env::temp_dir().join(format!("torc-demo-{}", std::process::id())), true),
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let outcome = block_on(run(&args, &folder));
    if temporary && outcome.is_ok() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    } else {
        eprintln!("data and logs are in {}", folder.display());
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn run(args: &DemoArgs, folder: &std::path::Path) -> Result<()> {
    let mut nodes = Nodes::start(folder, args.base_port)?;
    // Whatever ends the show, the nodes are stopped and not left behind.
    let outcome = tokio::select! {
        shown = show(args, &mut nodes) => shown,
        interrupted = interrupt() => interrupted,
    };
    nodes.stop().await;
    outcome
}

/// Ctrl-C or a polite kill.
async fn interrupt() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn show(args: &DemoArgs, nodes: &mut Nodes) -> Result<()> {
    let mut screen = screen::Screen::new(args.plain);
    screen.note("starting three nodes in three zones");
    nodes.wait_whole().await?;
    screen.note("creating the table Music and the bucket carts");
    traffic::prepare(&nodes.addresses()).await?;
    let traffic = traffic::Traffic::start(&nodes.addresses(), args.rate);
    let mut ticks = tokio::time::interval(REFRESH);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let mut cluster = None;
        // Any node that answers will do: the first may be the one that was killed.
        for address in nodes.addresses() {
            let mut connection = Connection::new(address, Duration::from_millis(500));
            if let Ok(answer) = status::fetch(&mut connection).await {
                cluster = Some(status::parse(answer)?);
                break;
            }
        }
        screen.draw(nodes, cluster.as_ref(), &traffic.take())?;
    }
}
