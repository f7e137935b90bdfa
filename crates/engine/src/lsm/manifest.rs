//! The manifest: an append-only file of version edits. The file `CURRENT` names the live manifest. Layout:
//! docs/formats/manifest.md.
//!
//! A record is synced before anything relies on it, and is then *sealed* by eight more bytes. A bad record
//! without a seal is the torn tail of a crash and is dropped. A bad record with a seal was whole once, so it
//! is reported as corrupt.

use super::codec::Reader;
use super::version::VersionEdit;
use crate::env::{File, OpenMode};
use crate::{Env, Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Version of the manifest, and with it of the folder.
pub const MANIFEST_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"TORCMAN\n";
/// Magic, version, checksum of both.
const HEADER: usize = 20;
/// Record length and checksum.
const RECORD_HEADER: usize = 12;
const SEAL: [u8; 8] = *b"\xf5sealed\x0a";
/// The manifest is written afresh when it has grown by this much.
const REWRITE_BYTES: u64 = 4 << 20;
const CURRENT: &str = "CURRENT";

/// The manifest being written to.
pub(crate) struct Manifest {
    env: Arc<dyn Env>,
    dir: PathBuf,
    number: u64,
    path: PathBuf,
    file: Option<Arc<dyn File>>,
    end: u64,
    /// Length after the snapshot at its start.
    base: u64,
    /// A planted bug: records are not synced.
    pub(crate) skip_sync: bool,
}

/// What a folder's manifest holds.
pub(crate) struct Recovered {
    pub(crate) edits: Vec<VersionEdit>,
    pub(crate) number: u64,
}

fn manifest_name(number: u64) -> String {
    format!("MANIFEST-{number:06}")
}

/// Whether this file name is a manifest's or a leftover of switching manifests.
pub(crate) fn is_manifest_file(name: &Path) -> bool {
    name.to_str().is_some_and(|n| n.starts_with("MANIFEST-") || n == "CURRENT.tmp")
}

impl Manifest {
    /// Reads the folder's manifest. `None` if it has none: the folder is new.
    ///
    /// # Errors
    /// [`Error::Version`] or [`Error::Corrupt`]; nothing was changed.
    pub(crate) fn recover(env: &dyn Env, dir: &Path) -> Result<Option<Recovered>> {
        let current = dir.join(CURRENT);
        if !env.exists(&current)? {
            for name in env.list(dir)? {
                if table_or_manifest(&name) {
                    return Err(corrupt(&current, 0, "CURRENT is missing beside files of an engine"));
                }
            }
            return Ok(None);
        }
        let text = read_all(env, &current)?;
        let number =
            parse_current(&text).ok_or_else(|| corrupt(&current, 0, "not a manifest's name and checksum"))?;
        let path = dir.join(manifest_name(number));
        let edits = parse_manifest(&read_all(env, &path)?, &path)?;
        Ok(Some(Recovered { edits, number }))
    }

    /// Starts manifest `number` with `snapshot` as its first edit and makes it current.
    pub(crate) fn create(env: Arc<dyn Env>, dir: &Path, number: u64, snapshot: &VersionEdit) -> Result<Self> {
        let path = dir.join(manifest_name(number));
        let mut m =
            Self { env, dir: dir.to_path_buf(), number, path, file: None, end: 0, base: 0, skip_sync: false };
        m.start(snapshot)?;
        Ok(m)
    }

    fn start(&mut self, snapshot: &VersionEdit) -> Result<()> {
        self.path = self.dir.join(manifest_name(self.number));
        if self.env.exists(&self.path)? {
            self.env.remove(&self.path)?;
        }
        let file = self.env.open(&self.path, OpenMode::CreateNew)?;
        let mut data = header();
        let record = encode_record(snapshot, data.len() as u64);
        data.extend_from_slice(&record);
        data.extend_from_slice(&SEAL);
        file.write_at(0, &data)?;
        file.sync()?;
        self.env.sync_dir(&self.dir)?;
        self.end = data.len() as u64;
        self.base = self.end;
        let temporary = self.dir.join("CURRENT.tmp");
        if self.env.exists(&temporary)? {
            self.env.remove(&temporary)?;
        }
        let current = self.env.open(&temporary, OpenMode::CreateNew)?;
        current.write_at(0, encode_current(self.number).as_bytes())?;
        current.sync()?;
        self.env.rename(&temporary, &self.dir.join(CURRENT))?;
        self.env.sync_dir(&self.dir)?;
        self.file = Some(file);
        Ok(())
    }

    /// Appends an edit and makes it durable. `snapshot` gives the whole state *with* the edit, for when the
    /// manifest must be written afresh: because it has grown, or because an earlier append failed and left it
    /// in doubt.
    pub(crate) fn append(
        &mut self,
        edit: &VersionEdit,
        snapshot: impl FnOnce() -> VersionEdit,
    ) -> Result<()> {
        let Some(file) = self.file.take().filter(|_| self.end - self.base < REWRITE_BYTES) else {
            let old = self.path.clone();
            self.number += 1;
            self.start(&snapshot())?;
            // If this fails, the next open removes it.
            let _ = self.env.remove(&old);
            return Ok(());
        };
        // `self.file` stays empty if anything fails: this manifest is then in doubt and is not appended to
        // again.
        let record = encode_record(edit, self.end);
        file.write_at(self.end, &record)?;
        if !self.skip_sync {
            file.sync()?;
        }
        self.end += record.len() as u64;
        // The record counts whether or not its seal gets written.
        if file.write_at(self.end, &SEAL).is_ok() {
            self.end += SEAL.len() as u64;
            self.file = Some(file);
        }
        Ok(())
    }

    /// Whether the last append failed: files it named must not be removed until a fresh manifest is current.
    pub(crate) fn in_doubt(&self) -> bool {
        self.file.is_none()
    }

    /// Removes manifests other than the current one.
    pub(crate) fn remove_others(&self) -> Result<()> {
        for name in self.env.list(&self.dir)? {
            if is_manifest_file(&name) && Some(&*name.to_string_lossy()) != self.name().as_deref() {
                self.env.remove(&self.dir.join(&name))?;
            }
        }
        Ok(())
    }

    fn name(&self) -> Option<String> {
        Some(self.path.file_name()?.to_string_lossy().into_owned())
    }
}

fn table_or_manifest(name: &Path) -> bool {
    is_manifest_file(name) && name != Path::new("CURRENT.tmp") && name != Path::new("MANIFEST-000001")
}

fn header() -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&MANIFEST_VERSION.to_le_bytes());
    let sum = xxh3_64_with_seed(&out, 0);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

fn encode_record(edit: &VersionEdit, offset: u64) -> Vec<u8> {
    let body = edit.encode();
    let len = (body.len() as u32).to_le_bytes();
    let mut out = Vec::with_capacity(RECORD_HEADER + body.len());
    out.extend_from_slice(&len);
    out.extend_from_slice(&record_sum(&len, &body, offset).to_le_bytes());
    out.extend_from_slice(&body);
    out
}

fn record_sum(len: &[u8], body: &[u8], offset: u64) -> u64 {
    xxh3_64_with_seed(body, offset.rotate_left(32) ^ xxh3_64_with_seed(len, offset))
}

fn encode_current(number: u64) -> String {
    let name = manifest_name(number);
    format!("{name} {:016x}\n", xxh3_64_with_seed(name.as_bytes(), 0))
}

fn parse_current(data: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(data).ok()?;
    let number = text.split(' ').next()?.strip_prefix("MANIFEST-")?.parse().ok()?;
    (text == encode_current(number)).then_some(number)
}

fn corrupt(path: &Path, offset: usize, detail: &str) -> Error {
    let (path, detail) = (path.to_path_buf(), detail.to_string());
    Error::Corrupt { what: "manifest", path, offset: offset as u64, detail }
}

fn read_all(env: &dyn Env, path: &Path) -> Result<Vec<u8>> {
    let file = env.open(path, OpenMode::Read)?;
    let len = file.len()?;
    let mut data = vec![0; usize::try_from(len).map_err(|_| corrupt(path, 0, "too long"))?];
    file.read_at(0, &mut data)?;
    Ok(data)
}

/// The edits of a manifest's bytes, for tests of the parsers.
#[cfg(test)]
pub(crate) fn edits(data: &[u8]) -> Result<Vec<VersionEdit>> {
    parse_manifest(data, Path::new("manifest"))
}

/// The edits of a manifest, torn tail left out.
fn parse_manifest(data: &[u8], path: &Path) -> Result<Vec<VersionEdit>> {
    let mut r = Reader::new(data);
    let short = || corrupt(path, 0, "too short for a header");
    let magic = r.take(8).ok_or_else(short)?;
    let version = r.u32().ok_or_else(short)?;
    let sum = r.u64().ok_or_else(short)?;
    if magic != MAGIC {
        return Err(corrupt(path, 0, "magic number is wrong: not a manifest"));
    }
    if version != MANIFEST_VERSION {
        return Err(Error::Version { path: path.to_path_buf(), found: version, supported: MANIFEST_VERSION });
    }
    if xxh3_64_with_seed(&data[..12], 0) != sum {
        return Err(corrupt(path, 12, "header checksum does not match"));
    }
    let mut edits = Vec::new();
    loop {
        let at = r.position();
        if r.is_done() {
            break;
        }
        if let Some(edit) = parse_record(&mut r, at as u64) {
            edits.push(edit);
            let mut ahead = r;
            match ahead.take(SEAL.len()) {
                Some(seal) if *seal == SEAL => r = ahead,
                // The crash came between the record and its seal, or the seal is damaged: the record is good
                // either way.
                _ => {
                    let rest = &data[r.position()..];
                    if rest.len() > SEAL.len() && contains_seal(&rest[1..]) {
                        let mut skip = r;
                        if skip.take(SEAL.len()).is_some() {
                            r = skip;
                            continue;
                        }
                    }
                    break;
                }
            }
            continue;
        }
        // Nothing good here: the torn end of a crash, unless something sealed follows.
        if contains_seal(&data[at..]) {
            return Err(corrupt(path, at, "a record does not match its checksum"));
        }
        break;
    }
    if edits.is_empty() {
        return Err(corrupt(path, HEADER, "holds no edit"));
    }
    Ok(edits)
}

fn contains_seal(data: &[u8]) -> bool {
    data.windows(SEAL.len()).any(|w| w == SEAL)
}

fn parse_record(r: &mut Reader<'_>, offset: u64) -> Option<VersionEdit> {
    let mut probe = *r;
    let len = probe.u32()?;
    let sum = probe.u64()?;
    let body = probe.take(usize::try_from(len).ok()?)?;
    if record_sum(&len.to_le_bytes(), body, offset) != sum {
        return None;
    }
    let edit = VersionEdit::decode(body)?;
    *r = probe;
    Some(edit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<u8>, Vec<VersionEdit>, Vec<usize>) {
        let mut data = header();
        let mut edits = Vec::new();
        let mut ends = Vec::new();
        for n in 1..=4 {
            let edit = VersionEdit { next_file: Some(n), last_seq: Some(n * 1000), ..VersionEdit::default() };
            data.extend(encode_record(&edit, data.len() as u64));
            ends.push(data.len());
            data.extend(SEAL);
            edits.push(edit);
        }
        (data, edits, ends)
    }

    #[test]
    fn a_cut_manifest_keeps_its_whole_records() {
        let (data, edits, ends) = sample();
        let path = Path::new("m");
        assert_eq!(parse_manifest(&data, path).unwrap(), edits);
        for cut in 0..data.len() {
            let whole = ends.iter().filter(|&&e| e <= cut).count();
            match parse_manifest(&data[..cut], path) {
                Ok(got) => assert_eq!(got, edits[..whole], "cut at {cut}"),
                Err(_) => assert_eq!(whole, 0, "cut at {cut}"),
            }
            let mut zeros = data[..cut].to_vec();
            zeros.resize(data.len() + 50, 0);
            if whole > 0 {
                assert_eq!(parse_manifest(&zeros, path).unwrap(), edits[..whole], "zeros from {cut}");
            }
        }
    }

    #[test]
    fn every_flip_is_detected_or_harmless() {
        let (data, edits, _) = sample();
        let path = Path::new("m");
        for i in 0..data.len() {
            for bit in 0..8 {
                let mut bad = data.clone();
                bad[i] ^= 1 << bit;
                if let Ok(got) = parse_manifest(&bad, path) {
                    assert_eq!(got, edits, "bit {bit} of byte {i}");
                }
            }
        }
    }

    #[test]
    fn another_version_is_refused_with_both_named() {
        let (mut data, ..) = sample();
        data[8] = 2;
        let err = parse_manifest(&data, Path::new("m")).unwrap_err();
        assert_eq!(err.to_string(), "m has format version 2; this binary reads 1");
    }

    #[test]
    fn current_names_its_manifest() {
        let text = encode_current(12);
        assert_eq!(parse_current(text.as_bytes()), Some(12));
        for i in 0..text.len() {
            let mut bad = text.clone().into_bytes();
            bad[i] ^= 4;
            assert_eq!(parse_current(&bad), None);
            assert_eq!(parse_current(&text.as_bytes()[..i]), None);
        }
    }
}
