//! Text for operators about a manifest or a table. The engine is not opened and nothing is changed.

use super::cache::BlockCache;
use super::files::{TableFolder, table_number};
use super::manifest::Manifest;
use super::open::TABLES;
use super::options::Options;
use super::picker::{PickerOptions, debt_bytes, scores, targets};
use super::table::Table;
use super::values::{collect, walk};
use super::version::Version;
use crate::{Env, Error, Result};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// Bytes as text where they are, else in hexadecimal; at most 32 of them.
fn show(key: &[u8]) -> String {
    let cut = &key[..key.len().min(32)];
    let more = if key.len() > cut.len() { "…" } else { "" };
    match std::str::from_utf8(cut) {
        Ok(text) if text.chars().all(|c| !c.is_control()) => format!("\"{text}\"{more}"),
        _ => {
            cut.iter().fold(String::from("0x"), |mut out, b| {
                let _ = write!(out, "{b:02x}");
                out
            }) + more
        }
    }
}

/// Debt, space amplification and fullness of the levels.
fn shape(version: &Version) -> String {
    let options = PickerOptions { base_bytes: Options::default().level_base_bytes, busy: false };
    let t = targets(version, options);
    let scores = scores(version, &t, options);
    let (values, garbage) = collect::totals(version);
    let tables: u64 = version.levels.iter().map(|l| l.bytes).sum();
    let last = version.levels.iter().rev().find(|l| l.bytes > 0).map_or(0, |l| l.bytes);
    let live = last + values - garbage;
    let amplification = if live == 0 { 1.0 } else { (tables + values) as f64 / live as f64 };
    let mut out = format!(
        "debt: {} bytes to rewrite; space amplification {amplification:.2} ({} bytes, {live} in the last level and live values)\n",
        debt_bytes(version, options),
        tables + values
    );
    for (number, level) in version.levels.iter().enumerate().filter(|(_, l)| !l.files.is_empty()) {
        let entries: u64 = level.files.iter().map(|f| f.meta.summary.entries).sum();
        let deletes: u64 = level.files.iter().map(|f| f.meta.summary.deletes).sum();
        let _ = writeln!(
            out,
            "  level {number}: {:.0} % full, target {} bytes, {entries} entries, {deletes} of them deletes",
            scores[number] as f64 / 10.0,
            t.bytes[number]
        );
    }
    out
}

/// The levels and tables of the engine in `dir`, one line each, and what compaction owes if the engine runs
/// with the default level sizes and no size-tiered ranges, which the folder does not say.
///
/// # Errors
/// Those of reading the manifest; [`Error::Corrupt`] if its edits do not fit each other.
pub fn inspect_manifest(env: &Arc<dyn Env>, dir: &Path) -> Result<String> {
    let Some(recovered) = Manifest::recover(&**env, dir)? else {
        return Ok("no manifest: the folder is new\n".into());
    };
    let folder = TableFolder::new(env.clone(), dir.join(TABLES), Arc::new(BlockCache::new(0, 4096)));
    let mut version = Version::default();
    let (mut log_index, mut last_seq, mut next_file) = (0, 0, 0);
    for edit in &recovered.edits {
        version = version.apply(edit, &folder).map_err(|detail| Error::Corrupt {
            what: "manifest",
            path: dir.to_path_buf(),
            offset: 0,
            detail,
        })?;
        log_index = edit.log_index.unwrap_or(log_index).max(log_index);
        last_seq = edit.last_seq.unwrap_or(last_seq).max(last_seq);
        next_file = edit.next_file.unwrap_or(next_file).max(next_file);
    }
    let mut out = String::new();
    let _ = writeln!(
        out,
        "manifest {}: {} edits; log batches in tables up to {log_index}; highest sequence number {last_seq}; next table {next_file}",
        recovered.number,
        recovered.edits.len()
    );
    out.push_str(&shape(&version));
    for (number, level) in version.levels.iter().enumerate().filter(|(_, l)| !l.files.is_empty()) {
        let _ = writeln!(out, "level {number}: {} tables, {} bytes", level.files.len(), level.bytes);
        for file in &level.files {
            let s = &file.meta.summary;
            let _ = writeln!(
                out,
                "  {:06}.sst {:>10} bytes  {:>8} entries ({} deletes, {} range deletes)  sequence {}..={}  {}..{}{}",
                file.meta.number,
                s.size,
                s.entries,
                s.deletes,
                s.range_dels,
                s.smallest_seq,
                file.meta.largest_seq(),
                show(&s.smallest),
                if s.largest_exclusive { "" } else { "=" },
                show(&s.largest),
            );
        }
    }
    let (all, garbage) = collect::totals(&version);
    if !version.values.is_empty() {
        let _ = writeln!(
            out,
            "value files: {}, {all} bytes of values, {garbage} of them garbage",
            version.values.len()
        );
    }
    for live in version.values.values() {
        let m = &live.file.meta;
        let _ = writeln!(
            out,
            "  {:06}.val {:>10} bytes  {:>8} values of {} bytes  live: {} of {} bytes",
            m.number, m.size, m.records, m.bytes, live.records, live.bytes
        );
    }
    Ok(out)
}

/// The records of a value file, one line each.
///
/// # Errors
/// Those of reading it; [`Error::Corrupt`] at the first record that is not whole.
pub fn inspect_values(env: &Arc<dyn Env>, path: &Path) -> Result<String> {
    let file = env.open(path, crate::env::OpenMode::Read)?;
    let mut data = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    file.read_at(0, &mut data)?;
    let mut lines = String::new();
    let (mut records, mut bytes) = (0u64, 0u64);
    let number = walk(&data, path, |pointer, key, value| {
        records += 1;
        bytes += value.len() as u64;
        let _ = writeln!(
            lines,
            "  at {:>10}: {:>9} bytes for {}, {} bytes stored, checksum {:016x}",
            pointer.offset,
            value.len(),
            show(key),
            pointer.len,
            pointer.checksum
        );
        Ok(())
    })?;
    let head = format!("{}: value file {number}, {records} values of {bytes} bytes\n", path.display());
    Ok(head + &lines)
}

/// A description of a table file from its own contents.
///
/// # Errors
/// Those of opening a table.
pub fn inspect_table(env: &Arc<dyn Env>, path: &Path) -> Result<String> {
    let size = env.open(path, crate::env::OpenMode::Read)?.len()?;
    let name = path.file_name().map(Path::new).and_then(table_number).unwrap_or(0);
    let table = Table::open(&**env, path, name, size, 0, Arc::new(BlockCache::new(0, 4096)))?;
    let s = table.properties()?;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}: {size} bytes, table {}, {} partitions",
        path.display(),
        table.id(),
        table.partition_count()
    );
    let _ = writeln!(
        out,
        "  {} entries, {} of them deletes, {} range deletes; {} bytes of keys and values; sequence {}..={}",
        s.entries, s.deletes, s.range_dels, s.raw_bytes, s.smallest_seq, s.largest_seq
    );
    let _ = writeln!(out, "  from {} to {}", show(&s.smallest), show(&s.largest));
    for d in &table.range_dels().frags {
        let _ = writeln!(out, "  range delete {}..{} at {:?}", show(&d.start), show(&d.end), d.seqs);
    }
    Ok(out)
}
