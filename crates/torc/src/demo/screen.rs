//! The output of the demo: a screen that refreshes, or one line per second where the output is no terminal.

use super::nodes::Nodes;
use super::traffic::Seen;
use crate::cli::terminal::Paint;
use crate::status::ClusterStatus;
use anyhow::Result;
use crossterm::{QueueableCommand, cursor, terminal};
use hdrhistogram::Histogram;
use std::io::{IsTerminal, Write};

/// Draws on standard output.
pub struct Screen {
    plain: bool,
    paint: Paint,
    cleared: bool,
}

impl Screen {
    /// Plain if asked for, or if the output is not a terminal.
    pub fn new(plain: bool) -> Screen {
        let plain = plain || !std::io::stdout().is_terminal();
        Screen { plain, paint: Paint::stdout(), cleared: false }
    }

    /// A line before the show begins.
    pub fn note(&self, text: &str) {
        println!("{text}");
    }

    /// Everything anew.
    pub fn draw(&mut self, nodes: &mut Nodes, cluster: Option<&ClusterStatus>, seen: &Seen) -> Result<()> {
        let mut output = std::io::stdout().lock();
        if self.plain {
            let running: Vec<String> =
                nodes.all().filter(|node| node.pid.is_some()).map(|node| node.zone.to_owned()).collect();
            writeln!(output, "{}  running: {}", traffic_line(seen), running.join(" "))?;
            output.flush()?;
            return Ok(());
        }
        let text = self.page(nodes, cluster, seen);
        if !self.cleared {
            output.queue(terminal::Clear(terminal::ClearType::All))?;
            self.cleared = true;
        }
        output.queue(cursor::MoveTo(0, 0))?;
        for line in text.lines() {
            // Line by line, so that nothing flickers and nothing of the last page is left.
            output.write_all(line.as_bytes())?;
            output.queue(terminal::Clear(terminal::ClearType::UntilNewLine))?;
            output.write_all(b"\r\n")?;
        }
        output.queue(terminal::Clear(terminal::ClearType::FromCursorDown))?;
        output.flush()?;
        Ok(())
    }

    fn page(&self, nodes: &mut Nodes, cluster: Option<&ClusterStatus>, seen: &Seen) -> String {
        let mut text = format!("{}\n\n", self.paint.heading("Torc: three nodes in three zones"));
        let mut victim = None;
        for node in nodes.all() {
            let state = match node.pid {
                Some(pid) => {
                    victim = Some(pid);
                    format!("process {pid}")
                }
                None => self.paint.bad("ended"),
            };
            text += &format!("  {}  http://{}  {state}\n", node.zone, node.address);
        }
        text += &format!("\n{}\n\n", traffic_line(seen));
        match cluster {
            Some(cluster) => text += &cluster.render(self.paint),
            None => text += &format!("{}\n", self.paint.bad("no node answers")),
        }
        text += "\nTry, in another terminal:\n";
        if let Some(address) = nodes.addresses().first() {
            text += &format!(
                "  aws dynamodb query --endpoint-url http://{address} --table-name Music --max-items 3 \\\n    \
                 --key-condition-expression 'Artist = :a' \\\n    \
                 --expression-attribute-values '{{\":a\":{{\"S\":\"Nina Simone\"}}}}'\n"
            );
        }
        if let Some(pid) = victim {
            text += &format!("  kill -9 {pid}\n");
        }
        text + &self.paint.dim("\nCtrl-C stops all three.\n")
    }
}

fn traffic_line(seen: &Seen) -> String {
    let seconds = seen.elapsed.as_secs_f64().max(0.001);
    format!(
        "{:.0} writes/s (p99 {}), {:.0} strong reads/s (p99 {}), {:.0} bucket writes/s, {} failed",
        seen.writes.len() as f64 / seconds,
        p99(&seen.writes),
        seen.reads.len() as f64 / seconds,
        p99(&seen.reads),
        seen.bucket_writes as f64 / seconds,
        seen.failed
    )
}

fn p99(latencies: &Histogram<u64>) -> String {
    match latencies.is_empty() {
        true => "-".to_owned(),
        false => format!("{:.1} ms", latencies.value_at_quantile(0.99) as f64 / 1e3),
    }
}
