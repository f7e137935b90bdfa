//! Verification: reads every file and checks everything that can be checked.

use super::core::Core;
use super::files::TableFile;
use super::key::{KIND_DELETE, KIND_POINTER, kind_of};
use super::table::{Access, TableIter};
use super::values::{Pointer, ValueRef};
use super::version::Version;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

const CHUNK: u64 = 1 << 20;

impl Core {
    pub(crate) fn verify(&self) -> Vec<Error> {
        let version = self.state.load().version.clone();
        let tables = version.files().filter_map(|(_, f)| verify_table(f, &version).err());
        tables.chain(version.values.values().filter_map(|live| live.file.verify().err())).collect()
    }
}

/// Blocks first, so that damage is named by its place; then the whole file's checksum, for what no block
/// covers.
fn verify_table(file: &Arc<TableFile>, version: &Version) -> Result<()> {
    let table = file.table()?;
    let corrupt = |detail: String| Error::Corrupt {
        what: "table",
        path: table.path().to_path_buf(),
        offset: 0,
        detail,
    };
    let m = &file.meta.summary;
    let mut iter = TableIter::new(table.clone(), Access::Sequential, false);
    iter.seek(&[])?;
    let (mut entries, mut deletes) = (0u64, 0u64);
    let mut last: Option<(Vec<u8>, u64)> = None;
    let mut refs: BTreeMap<u64, ValueRef> = BTreeMap::new();
    while iter.valid() {
        let (key, tag) = (iter.key(), iter.tag());
        let ordered = match &last {
            None => *key >= m.smallest[..],
            Some((k, t)) => k[..] < *key || (k[..] == *key && *t > tag),
        };
        if !ordered || file.meta.ends_before(key) {
            return Err(corrupt(format!("entry {entries} is out of order or out of bounds")));
        }
        entries += 1;
        deletes += u64::from(kind_of(tag) == KIND_DELETE);
        if kind_of(tag) == KIND_POINTER {
            version.read_value(iter.value(), key)?;
            let to = Pointer::decode(iter.value()).expect("just followed");
            let r = refs.entry(to.file).or_insert(ValueRef { file: to.file, ..ValueRef::default() });
            r.records += 1;
            r.bytes += to.record_bytes();
        }
        let (k, t) = last.get_or_insert_default();
        k.clear();
        k.extend_from_slice(key);
        *t = tag;
        iter.step()?;
    }
    if (entries, deletes) != (m.entries, m.deletes) {
        return Err(corrupt(format!(
            "{entries} entries and {deletes} deletes, the manifest says {} and {}",
            m.entries, m.deletes
        )));
    }
    if !refs.values().eq(&file.meta.refs) {
        return Err(corrupt(format!(
            "points to {:?}, the manifest says {:?}",
            refs.into_values().collect::<Vec<_>>(),
            file.meta.refs
        )));
    }
    table.check_filters()?;
    let own = table.properties()?;
    if (&own.smallest, &own.largest, own.entries, own.range_dels)
        != (&m.smallest, &m.largest, m.entries, m.range_dels)
    {
        return Err(corrupt("properties are not what the manifest says: another table's file?".into()));
    }
    let mut sum = Xxh3::new();
    let mut at = 0;
    while at < table.size() {
        let len = CHUNK.min(table.size() - at);
        sum.update(&table.read_raw(at, len as usize)?);
        at += len;
    }
    if sum.digest() != m.checksum {
        return Err(corrupt(format!(
            "file checksum is {:016x}, the manifest says {:016x}",
            sum.digest(),
            m.checksum
        )));
    }
    Ok(())
}
