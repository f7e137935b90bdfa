//! The table: medians over repetitions, each beside Torc's.

use crate::cell::Row;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The middle value; 0 if there is none.
fn median(rows: &[&Row], of: impl Fn(&Row) -> f64) -> f64 {
    let mut values: Vec<f64> = rows.iter().map(|r| of(r)).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Workload and value size, then the rows of each engine by its place in the list of engines.
type Group<'a> = ((&'a str, usize), BTreeMap<usize, Vec<&'a Row>>);

/// The engines in the order of their first row, and the rows by workload.
fn group(rows: &[Row]) -> (Vec<&str>, Vec<Group<'_>>) {
    let mut engines: Vec<&str> = Vec::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for row in rows {
        let engine = engines.iter().position(|e| *e == row.engine).unwrap_or_else(|| {
            engines.push(&row.engine);
            engines.len() - 1
        });
        let name = (row.workload.as_str(), row.value_bytes);
        let at = groups.iter().position(|(n, _)| *n == name).unwrap_or_else(|| {
            groups.push((name, BTreeMap::new()));
            groups.len() - 1
        });
        groups[at].1.entry(engine).or_default().push(row);
    }
    (engines, groups)
}

fn rate(rows: &[&Row]) -> f64 {
    median(rows, |r| r.ops_per_s)
}

/// Processor microseconds of an operation.
fn cpu(rows: &[&Row]) -> f64 {
    median(rows, |r| r.spent.cpu_s * 1e6 / r.ops.max(1) as f64)
}

fn good<'a>(rows: &[&'a Row]) -> Vec<&'a Row> {
    rows.iter().copied().filter(|r| r.failed.is_none()).collect()
}

/// A short Markdown table: Torc's rate over each rival's, and Torc's processor time for an operation over each rival's.
pub fn ratios(rows: &[Row]) -> String {
    let (engines, groups) = group(rows);
    let Some(torc) = engines.iter().position(|e| *e == "torc") else { return String::new() };
    let rivals: Vec<usize> = (0..engines.len()).filter(|&e| e != torc).collect();
    let mut out = String::from("| workload | value | torc ops/s |");
    rivals.iter().for_each(|&e| out += &format!(" rate / {0} | cpu / {0} |", engines[e]));
    out += " others' cpu |\n| --- | --- | --- |";
    rivals.iter().for_each(|_| out += " --- | --- |");
    out += " --- |\n";
    for ((workload, value), cells) in &groups {
        let of = |e: usize| cells.get(&e).map(|rows| good(rows)).unwrap_or_default();
        let own = of(torc);
        let _ = write!(out, "| {workload} | {value} | {:.0} |", rate(&own));
        for &e in &rivals {
            let other = of(e);
            if own.is_empty() || other.is_empty() {
                out += " | |";
            } else {
                let _ = write!(out, " {:.2} | {:.2} |", rate(&own) / rate(&other), cpu(&own) / cpu(&other));
            }
        }
        let all: Vec<&Row> = cells.values().flatten().copied().collect();
        let others = median(&all, |r| r.spent.others_cpu_s / r.spent.seconds.max(1e-9) * 100.0);
        let _ = writeln!(out, " {others:.0} % |");
    }
    out
}

/// A Markdown table with a row for each workload, value size and engine: Torc's rate over the engine's, and Torc's processor time for an
/// operation over the engine's, which a busy machine disturbs less.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| workload | value | engine | runs | ops/s | torc is | cpu us/op | torc's cpu is | written / user | space / live | rss MiB | p50 us | p99 us | p99.9 us | max ms | others' cpu |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let (engines, groups) = group(rows);
    for ((workload, value), cells) in &groups {
        let torc = engines.iter().position(|e| *e == "torc").and_then(|i| cells.get(&i)).map(|c| good(c));
        let torc = torc.map(|rows| (rate(&rows), cpu(&rows)));
        for (&engine, all) in cells {
            let rows = good(all);
            let name = engines[engine];
            if rows.is_empty() {
                let why = all[0].failed.as_deref().unwrap_or_default().replace('|', "/");
                let _ = writeln!(out, "| {workload} | {value} | {name} | 0 | failed: {why} |");
                continue;
            }
            let m = |of: &dyn Fn(&Row) -> f64| median(&rows, of);
            let (ratio, cpu_ratio) = match torc {
                Some((r, c)) if name != "torc" => {
                    (format!("{:.2}x", r / rate(&rows)), format!("{:.2}x", c / cpu(&rows)))
                }
                _ => (String::new(), String::new()),
            };
            let per = |a: f64, b: f64| if b > 0.0 { format!("{:.2}", a / b) } else { String::new() };
            let written = per(m(&|r| r.spent.write_bytes as f64), m(&|r| r.user_bytes as f64));
            let space = per(m(&|r| r.data_bytes as f64), m(&|r| r.live_bytes as f64));
            let _ = writeln!(
                out,
                "| {workload} | {value} | {name} | {} | {:.0} | {ratio} | {:.2} | {cpu_ratio} | {written} | {space} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} % |",
                rows.len(),
                rate(&rows),
                cpu(&rows),
                m(&|r| r.rss as f64 / (1 << 20) as f64),
                m(&|r| r.p50_ns as f64 / 1e3),
                m(&|r| r.p99_ns as f64 / 1e3),
                m(&|r| r.p999_ns as f64 / 1e3),
                m(&|r| r.max_ns as f64 / 1e6),
                m(&|r| r.spent.others_cpu_s / r.spent.seconds.max(1e-9) * 100.0),
            );
        }
        for (name, values) in extras(cells, &engines) {
            let _ = writeln!(out, "| {workload} | {value} | {name} | | {values} |");
        }
    }
    out
}

/// Medians of the numbers that only some workloads have, worth a line.
fn extras(cells: &BTreeMap<usize, Vec<&Row>>, engines: &[&str]) -> Vec<(String, String)> {
    let wanted = ["drop_call_ms", "space_back_s", "dropped_mib", "false_positive_percent"];
    let mut out = Vec::new();
    for name in wanted {
        let values: Vec<String> = cells
            .iter()
            .filter_map(|(&engine, rows)| {
                let rows: Vec<&Row> = rows.iter().copied().filter(|r| r.extra.contains_key(name)).collect();
                let value = median(&rows, |r| r.extra.get(name).copied().unwrap_or(0.0));
                (!rows.is_empty()).then(|| format!("{} {value:.2}", engines[engine]))
            })
            .collect();
        if !values.is_empty() {
            out.push((name.to_string(), values.join(", ")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians() {
        let row = |engine: &str, ops_per_s| Row {
            engine: engine.into(),
            workload: "fill".into(),
            value_bytes: 100,
            ops_per_s,
            ops: 1,
            ..Row::default()
        };
        let rows = vec![
            row("torc", 30.0),
            row("b", 10.0),
            row("torc", 1.0),
            row("b", 5.0),
            row("torc", 20.0),
            row("b", 90.0),
        ];
        let text = table(&rows);
        assert!(text.contains("| fill | 100 | torc | 3 | 20 |"), "{text}");
        assert!(text.contains("| fill | 100 | b | 3 | 10 | 2.00x |"), "{text}");
        assert!(ratios(&rows).contains("| fill | 100 | 20 | 2.00 |"), "{}", ratios(&rows));
    }
}
