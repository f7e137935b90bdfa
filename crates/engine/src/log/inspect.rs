//! Text for operators: what the segments of a log contain. The log is not opened and nothing is changed.

use super::format::{BLOCK, BatchKind, Header, SEGMENT_HEADER, SegmentHeader, Table};
use super::recover::Scanner;
use super::segment::{SegmentFile, slot_of};
use crate::env::OpenMode;
use crate::{Env, Result};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// A line for each segment of the log in `dir`, oldest generation first, and the streams that the newest
/// table lists.
///
/// # Errors
/// Those of reading files. Data that does not match its checksum is reported in the text, not as an error.
pub fn inspect_log(env: &Arc<dyn Env>, dir: &Path) -> Result<String> {
    let mut lines: Vec<(u64, String)> = Vec::new();
    let mut newest: Option<(u64, Table)> = None;
    for name in env.list(dir)?.iter().filter(|name| slot_of(name).is_some()) {
        let path = dir.join(name);
        let file = env.open(&path, OpenMode::Read)?;
        let len = file.len()?;
        let mut bytes = [0; SEGMENT_HEADER];
        file.read_at(0, &mut bytes[..SEGMENT_HEADER.min(len as usize)])?;
        let shown = name.display();
        let header = match SegmentHeader::decode(&bytes) {
            Header::Valid(header) => header,
            Header::Blank => {
                lines.push((0, format!("{shown}: {len} bytes, never used")));
                continue;
            }
            Header::Version(found) => {
                lines.push((0, format!("{shown}: format version {found}, which this program does not read")));
                continue;
            }
            Header::Damaged => {
                lines.push((0, format!("{shown}: its header is damaged")));
                continue;
            }
        };
        let segment = Arc::new(SegmentFile::new(path, file, len, true));
        let mut scanner = Scanner::new(false, &segment, &header)?;
        let (mut at, mut batches, mut first, mut next) = (BLOCK, 0u64, None, 0);
        while let Some((batch, payload)) = scanner.batch(at)? {
            if batch.kind == BatchKind::Table {
                if let Some(table) = Table::decode(payload)
                    && newest.as_ref().is_none_or(|(generation, _)| *generation < header.generation)
                {
                    newest = Some((header.generation, table));
                }
                first = Some(batch.first_lsn);
            }
            next = batch.first_lsn + u64::from(batch.units);
            batches += 1;
            at += batch.span();
        }
        let line = format!(
            "{shown}: generation {}, after {}; {batches} whole batches up to byte {at} of {len}; appends {}..{next}",
            header.generation,
            header.previous,
            first.unwrap_or(0),
        );
        lines.push((header.generation, line));
    }
    lines.sort();
    let mut out = lines.into_iter().fold(String::new(), |mut out, (_, line)| {
        let _ = writeln!(out, "{line}");
        out
    });
    if let Some((generation, table)) = newest {
        let _ = writeln!(out, "when generation {generation} began:");
        for s in &table.streams {
            let segments: Vec<u64> = s.runs.iter().map(|r| r.generation).collect();
            let _ = writeln!(
                out,
                "  stream {}: entries {}..={}, state of {} bytes, in generations {segments:?}",
                s.stream,
                s.first,
                s.last,
                s.state.len()
            );
        }
    }
    Ok(out)
}
