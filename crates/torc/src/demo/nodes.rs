//! The three processes of the demo.

use crate::bench::connection::Connection;
use crate::status;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
/// Between the ports for clients and those for nodes.
const CLUSTER_PORT_OFFSET: u16 = 10;
const READY_TRIES: u32 = 300;
const READY_POLL: Duration = Duration::from_millis(100);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// One node's process.
pub struct DemoNode {
    /// Its zone.
    pub zone: &'static str,
    /// Where clients reach it.
    pub address: String,
    /// Its process id, while it runs.
    pub pid: Option<u32>,
    log: PathBuf,
    child: Child,
}

/// Three nodes in three zones.
pub struct Nodes {
    nodes: Vec<DemoNode>,
}

impl Nodes {
    /// Starts the processes; they are not ready yet.
    pub fn start(folder: &Path, base_port: u16) -> Result<Nodes> {
        let binary = std::env::current_exe().context("cannot find the torc binary")?;
        let first_seed = format!("127.0.0.1:{}", base_port + CLUSTER_PORT_OFFSET);
        let mut nodes = Vec::new();
        for (index, zone) in (0u16..).zip(ZONES) {
            let address = format!("127.0.0.1:{}", base_port + index);
            let log = folder.join(format!("{zone}.log"));
            let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
            let mut command = Command::new(&binary);
            command
                .arg("start")
                .arg("--data")
                .arg(folder.join(zone))
                .args(["--zone", zone, "--listen", &address]);
            command.args(["--cluster", &format!("127.0.0.1:{}", base_port + CLUSTER_PORT_OFFSET + index)]);
            if index > 0 {
                command.args(["--join", &first_seed]);
            }
            command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
            // A group of its own: Ctrl-C reaches the demo alone, which then stops the nodes in good order.
            command.process_group(0).kill_on_drop(true);
            let child = command.spawn().context("cannot start a node")?;
            nodes.push(DemoNode { zone, address, pid: child.id(), log, child });
        }
        Ok(Nodes { nodes })
    }

    /// The nodes, running or not.
    pub fn all(&mut self) -> impl Iterator<Item = &DemoNode> {
        for node in &mut self.nodes {
            if !matches!(node.child.try_wait(), Ok(None)) {
                node.pid = None;
            }
        }
        self.nodes.iter()
    }

    /// Where clients reach them.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// Waits until each is ready and knows all three. A process that ended instead fails this with the end of
    /// its log.
    pub async fn wait_whole(&mut self) -> Result<()> {
        for index in 0..self.nodes.len() {
            let mut connection = Connection::new(self.nodes[index].address.clone(), Duration::from_secs(1));
            let mut tries = 0;
            while !is_whole(&mut connection).await {
                let node = &mut self.nodes[index];
                if let Some(status) = node.child.try_wait()? {
                    bail!(
                        "the node in {} ended ({status}); the end of {}:\n{}",
                        node.zone,
                        node.log.display(),
                        tail(&node.log)
                    );
                }
                tries += 1;
                if tries == READY_TRIES {
                    bail!(
                        "the node in {} is not ready after {:?}; see {}",
                        node.zone,
                        READY_POLL * READY_TRIES,
                        node.log.display()
                    );
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    /// Asks each to stop, in parallel, and kills those that do not.
    pub async fn stop(&mut self) {
        for node in &self.nodes {
            let pid = node.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid {
                // It may have ended in this moment: then there is nothing to stop.
                let _ = rustix::process::kill_process(pid, Signal::TERM);
            }
        }
        for node in &mut self.nodes {
            if tokio::time::timeout(STOP_TIMEOUT, node.child.wait()).await.is_err() {
                eprintln!("the node in {} did not stop in {STOP_TIMEOUT:?}: killing it", node.zone);
                if let Err(error) = node.child.kill().await {
                    eprintln!("cannot kill it: {error}");
                }
            }
        }
    }
}

async fn is_whole(connection: &mut Connection) -> bool {
    let ready =
        matches!(connection.send("GET", "/ready", &[], b"").await, Ok(answer) if answer.status == 200);
    if !ready {
        return false;
    }
    let Ok(answer) = status::fetch(connection).await else { return false };
    let Ok(cluster) = status::parse(answer) else { return false };
    cluster.nodes.iter().filter(|node| node.is_alive()).count() == ZONES.len()
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
