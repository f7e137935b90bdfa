//! `torc status`: the cluster as one node sees it, as tables for a person or as JSON for a program.
//!
//! Called by the command line and by the demo. Reads `GET /admin/status` and nothing else.

use crate::bench::connection::Connection;
use crate::cli::{block_on, terminal::Paint};
use anyhow::{Context, Result, bail};
use comfy_table::{Cell, CellAlignment, Color, Table, presets};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `torc status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Any node of the cluster
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "HOST:PORT", env = "TORC_ENDPOINT")]
    endpoint: String,
    /// Access key, if the node asks for one; better given in the environment, where other users of the
    /// machine can't read it
    #[arg(long, value_name = "ID:SECRET", env = "TORC_ACCESS_KEY", hide_env_values = true)]
    access_key: Option<String>,
    /// Print what the node answered, as JSON
    #[arg(long)]
    json: bool,
}

/// What `/admin/status` answers; names that this version does not know are ignored, so that a newer node can
/// be asked too.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClusterStatus {
    cluster_id: String,
    epoch: u64,
    node: u64,
    /// All nodes.
    pub nodes: Vec<NodeStatus>,
    tables: Vec<TableStatus>,
    buckets: Vec<TableStatus>,
}

/// One node, as the asked one sees it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    id: u64,
    zone: String,
    addr: String,
    api_addr: String,
    state: String,
    leaders: u64,
    replicas: u64,
}

impl NodeStatus {
    /// Whether the asked node holds it to be alive.
    pub fn is_alive(&self) -> bool {
        self.state == "alive"
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TableStatus {
    name: String,
    status: String,
    partitions: Vec<PartitionStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PartitionStatus {
    replicas: Vec<u64>,
    leader: Option<u64>,
}

/// Prints the status; fails with a hint if no node answers.
pub fn main(args: &StatusArgs) -> Result<ExitCode> {
    let endpoint = args.endpoint.strip_prefix("http://").unwrap_or(&args.endpoint).trim_end_matches('/');
    let answer =
        block_on(fetch(&mut Connection::new(endpoint, TIMEOUT).with_access_key(args.access_key.as_deref())))?;
    if args.json {
        println!("{answer:#}");
    } else {
        print!("{}", parse(answer)?.render(Paint::stdout()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks a node.
pub async fn fetch(connection: &mut Connection) -> Result<serde_json::Value> {
    let address = connection.address().to_owned();
    let answer = connection.send("GET", "/admin/status", &[], b"").await.with_context(|| {
        format!("no answer from {address}; is a node running there? Start one with: torc start")
    })?;
    if answer.status == 401 {
        bail!(
            "{address} asks for an access key: set TORC_ACCESS_KEY=ID:SECRET, one of the node's --access-keys"
        );
    }
    if answer.status != 200 {
        bail!("{address} answered {}: is this a Torc node?", answer.status);
    }
    serde_json::from_slice(answer.body)
        .with_context(|| format!("{address} did not answer with JSON: is this a Torc node?"))
}

/// Reads the answer of `/admin/status`.
pub fn parse(answer: serde_json::Value) -> Result<ClusterStatus> {
    serde_json::from_value(answer).context("the node's status has another form than this version knows")
}

impl ClusterStatus {
    /// The tables for a person, ending in a line break.
    pub fn render(&self, paint: Paint) -> String {
        let mut text = format!(
            "{} {}\n",
            paint.heading(&format!("cluster {}", self.cluster_id)),
            paint.dim(&format!("epoch {}, as node {} sees it", self.epoch, self.node))
        );
        text += &format!("{}\n", self.nodes_table(paint));
        for (kind, tables) in [("table", &self.tables), ("bucket", &self.buckets)] {
            if !tables.is_empty() {
                text += &format!("{}\n", self.tables_table(kind, tables, paint));
            }
        }
        let away: Vec<String> = self
            .nodes
            .iter()
            .filter(|node| !node.is_alive())
            .map(|node| format!("{} in {}", node.id, node.zone))
            .collect();
        if !away.is_empty() {
            text += &format!("{} {}\n", paint.bad("not alive: node"), away.join(", node "));
        }
        text
    }

    fn nodes_table(&self, paint: Paint) -> Table {
        let mut table = new_table(&["node", "zone", "state", "leads", "holds", "clients", "nodes"]);
        for node in &self.nodes {
            let state = match node.state.as_str() {
                "alive" => Cell::new("alive").fg(Color::Green),
                "suspect" => Cell::new("suspect").fg(Color::Yellow),
                other => Cell::new(other).fg(Color::Red),
            };
            table.add_row([
                Cell::new(node.id),
                Cell::new(&node.zone),
                state,
                Cell::new(node.leaders),
                Cell::new(node.replicas),
                Cell::new(&node.api_addr),
                Cell::new(&node.addr),
            ]);
        }
        right_align(&mut table, &[0, 3, 4]);
        coloured(&mut table, paint);
        table
    }

    fn tables_table(&self, kind: &str, tables: &[TableStatus], paint: Paint) -> Table {
        let leaders = kind == "table";
        let mut header = vec![kind, "status", "partitions", "copies"];
        if leaders {
            header.push("leaders");
        }
        let mut table = new_table(&header);
        for entry in tables {
            let colour = if entry.status == "ACTIVE" { Color::Green } else { Color::Yellow };
            let copies = entry.partitions.iter().map(|partition| partition.replicas.len()).min().unwrap_or(0);
            let mut row = vec![
                Cell::new(&entry.name),
                Cell::new(&entry.status).fg(colour),
                Cell::new(entry.partitions.len()),
                Cell::new(copies),
            ];
            if leaders {
                row.push(leaders_cell(&entry.partitions));
            }
            table.add_row(row);
        }
        right_align(&mut table, &[2, 3]);
        coloured(&mut table, paint);
        table
    }
}

/// How many partitions each node leads, and how many nobody does.
fn leaders_cell(partitions: &[PartitionStatus]) -> Cell {
    let mut count: BTreeMap<u64, usize> = BTreeMap::new();
    for leader in partitions.iter().filter_map(|partition| partition.leader) {
        *count.entry(leader).or_default() += 1;
    }
    let mut words: Vec<String> = count.iter().map(|(node, count)| format!("{node}: {count}")).collect();
    match partitions.iter().filter(|partition| partition.leader.is_none()).count() {
        0 => Cell::new(words.join("  ")),
        without => {
            words.push(format!("none: {without}"));
            Cell::new(words.join("  ")).fg(Color::Red)
        }
    }
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header);
    table
}

fn right_align(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn coloured(table: &mut Table, paint: Paint) {
    if paint.enabled() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> serde_json::Value {
        serde_json::json!({
            "cluster_id": "00000000deadbeef", "epoch": 17, "node": 1, "ready": true, "a_later_field": {},
            "nodes": [
                {"id": 1, "zone": "a", "addr": "127.0.0.1:7000", "api_addr": "127.0.0.1:8000", "state": "alive", "leaders": 2, "replicas": 4},
                {"id": 2, "zone": "b", "addr": "127.0.0.1:7001", "api_addr": "127.0.0.1:8001", "state": "down", "leaders": 0, "replicas": 4},
            ],
            "tables": [{"id": 1, "name": "Music", "status": "ACTIVE", "partitions": [
                {"group": 2, "replicas": [1, 2, 3], "leader": 1}, {"group": 3, "replicas": [1, 2, 3], "leader": null},
            ]}],
            "buckets": [{"id": 2, "name": "carts", "status": "ACTIVE", "partitions": [{"group": 4, "replicas": [1, 2, 3]}]}],
        })
    }

    #[test]
    fn a_person_sees_nodes_tables_and_what_is_wrong() {
        let paint = Paint::stdout(); // not a terminal under the test runner's capture, or plain text follows all the same
        let text = parse(sample()).unwrap().render(paint);
        for word in ["00000000deadbeef", "epoch 17", "Music", "carts", "127.0.0.1:8001", "none: 1", "2 in b"]
        {
            assert!(text.contains(word), "{word} is missing in\n{text}");
        }
    }

    #[test]
    fn an_answer_of_another_form_is_an_error() {
        assert!(parse(serde_json::json!({"nodes": 3})).is_err());
    }
}
