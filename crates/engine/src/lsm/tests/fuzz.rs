//! Feeds slightly damaged bytes to every parser of the tree's files. After each change the checksums are
//! corrected, so that the code behind them is reached. Whatever the bytes, a parser returns a value or an
//! error; it never panics and never loops without end.
//!
//! `TORC_FUZZ_SEED` chooses another sequence of cases, `TORC_FUZZ_ROUNDS` how many.

use super::{DIR, open, separating, tiny};
use crate::env::{Env, OpenMode, SimEnv};
use crate::lsm::Options;
use crate::lsm::batch::{self, WriteBatch};
use crate::lsm::bloom;
use crate::lsm::cache::BlockCache;
use crate::lsm::manifest;
use crate::lsm::range_del::Fragment;
use crate::lsm::table::{
    Access, Compression, Table, TableBuilder, TableIter, TableLayout, blocks_of, seal_block,
};
use crate::lsm::values;
use crate::lsm::version::VersionEdit;
use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::sync::Arc;

/// Seed and rounds.
pub(crate) fn budget(rounds: u64) -> (u64, u64) {
    let var = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    (var("TORC_FUZZ_SEED").unwrap_or(1), var("TORC_FUZZ_ROUNDS").unwrap_or(rounds))
}

/// Changes bytes as damage and malice do. The length stays if `same_length`.
pub(crate) fn mutate(rng: &mut ChaCha8Rng, data: &mut Vec<u8>, same_length: bool) {
    for _ in 0..rng.random_range(1..4) {
        if data.is_empty() {
            return;
        }
        let at = rng.random_range(0..data.len());
        let len = rng.random_range(1..=8.min(data.len() - at));
        match rng.random_range(0..if same_length { 6 } else { 9 }) {
            0 => data[at] ^= 1 << rng.random_range(0..8),
            1 => data[at] = rng.random(),
            2 => data[at..at + len].fill(0xff),
            3 => data[at..at + len].fill(0),
            4 => data[at] = data[at].wrapping_add(1),
            5 => {
                let from = rng.random_range(0..=data.len() - len);
                data.copy_within(from..from + len, at);
            }
            6 => data.truncate(at),
            7 => drop(data.drain(at..at + len)),
            _ => {
                let more: Vec<u8> = (0..len).map(|_| rng.random()).collect();
                data.splice(at..at, more);
            }
        }
    }
}

fn sample_table(env: &SimEnv, path: &Path) -> u64 {
    let layout = TableLayout { block_bytes: 200, compression: Compression::None, bits_per_key: 10 };
    let mut builder = TableBuilder::create(env, path, 7, layout).unwrap();
    for n in 0..600u64 {
        let key = format!("key{:05}", n / 2);
        // Two versions of each, some deletes.
        let tag = ((2000 - n) << 4) | u64::from(n % 5 != 0);
        builder.add(key.as_bytes(), tag, &vec![n as u8; (n % 40) as usize]).unwrap();
    }
    for n in [10, 40, 41] {
        builder.add_fragment(Fragment {
            start: format!("key{:05}", n * 3).into(),
            end: format!("key{:05}", n * 3 + 2).into(),
            seqs: vec![5000 + n, 100],
        });
    }
    builder.finish().unwrap().size
}

/// Reads a table in every way there is.
fn read_all(env: &SimEnv, path: &Path, size: u64) -> crate::Result<()> {
    let table = Arc::new(Table::open(env, path, 7, size, 0, Arc::new(BlockCache::new(0, 200)))?);
    for n in (0..320).step_by(7) {
        let key = format!("key{n:05}");
        table.get(key.as_bytes(), bloom::key_hash(key.as_bytes()), 1 << 40)?;
    }
    table.properties()?;
    table.check_filters()?;
    for reverse in [false, true] {
        let mut it = TableIter::new(table.clone(), Access::Sequential, reverse);
        if reverse {
            it.seek_before(None)?
        } else {
            it.seek(b"")?
        }
        let mut steps = 0;
        while it.valid() {
            assert!(!it.key().is_empty() || it.value().len() < 1 << 20);
            it.step()?;
            steps += 1;
            assert!(steps < 100_000, "an iterator that never ends");
        }
    }
    Ok(())
}

#[test]
fn blocks_of_a_table() {
    let env = SimEnv::new(0);
    let path = Path::new("/t.sst");
    let size = sample_table(&env, path);
    let blocks = {
        let table = Table::open(&env, path, 7, size, 0, Arc::new(BlockCache::new(0, 200))).unwrap();
        blocks_of(&table).unwrap()
    };
    assert!(blocks.len() > 30);
    read_all(&env, path, size).unwrap();
    let (seed, rounds) = budget(4000);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut read = 0;
    for _ in 0..rounds {
        let image = env.clone_image();
        let file = image.open(path, OpenMode::ReadWrite).unwrap();
        // The blocks that there are few of are as likely as data blocks.
        let at = if rng.random() {
            rng.random_range(0..blocks.len())
        } else {
            blocks.len() - 1 - rng.random_range(0..6)
        };
        let block = blocks[at];
        let mut raw = vec![0; block.len as usize - 9];
        file.read_at(block.offset, &mut raw).unwrap();
        mutate(&mut rng, &mut raw, true);
        let mut sealed = Vec::new();
        seal_block(&raw, Compression::None, 7, block.offset, &mut sealed);
        file.write_at(block.offset, &sealed).unwrap();
        read += u64::from(read_all(&image, path, size).is_ok());
    }
    println!("{read} of {rounds} could be read");
}

#[test]
fn compressed_blocks() {
    let (seed, rounds) = budget(20_000);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let raw: Vec<u8> = (0..4000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    for kind in [Compression::Lz4, Compression::Zstd(3)] {
        let mut sealed = Vec::new();
        seal_block(&raw, kind, 1, 0, &mut sealed);
        let body = sealed.len() - 9;
        for _ in 0..rounds / 2 {
            let mut packed = sealed[..body].to_vec();
            mutate(&mut rng, &mut packed, false);
            packed.push(sealed[body]);
            let _ = crate::lsm::table::open_resealed(packed, 1, 0);
        }
    }
}

#[test]
fn batches_and_edits() {
    let (seed, rounds) = budget(100_000);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut whole = WriteBatch::new();
    for n in 0..6u8 {
        whole.put(&[n; 12], &vec![n; 40 * usize::from(n)]);
        whole.delete(&[n, 1]);
        whole.delete_range(&[n], &[n, 3]);
    }
    let edit = {
        let env = SimEnv::new(0);
        let engine = open(&env, separating(60)).unwrap();
        for n in 0..300u32 {
            let mut b = WriteBatch::new();
            b.put(&n.to_be_bytes(), &vec![1; if n % 20 == 0 { 70 } else { 50 }]);
            engine.write(&b).unwrap();
        }
        while engine.background_step().unwrap() {}
        drop(engine);
        drop(open(&env, separating(60)).unwrap());
        let name = env
            .list(Path::new(DIR))
            .unwrap()
            .into_iter()
            .find(|n| n.to_string_lossy().starts_with("MANIFEST"));
        let file = env.open(&Path::new(DIR).join(name.unwrap()), OpenMode::Read).unwrap();
        let mut data = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut data).unwrap();
        let edits = manifest::edits(&data).unwrap();
        assert!(edits[0].added.len() > 3 && !edits[0].added_values.is_empty());
        edits[0].encode()
    };
    assert!(VersionEdit::decode(&edit).is_some());
    let (mut batches, mut edits) = (0, 0);
    for _ in 0..rounds {
        let mut data = whole.as_bytes().to_vec();
        mutate(&mut rng, &mut data, false);
        if let Ok(ops) = batch::check(&data) {
            let count = ops.count();
            assert_eq!(count, WriteBatch::decode(Bytes::from(data)).unwrap().len());
            batches += 1;
        }
        let mut data = edit.clone();
        mutate(&mut rng, &mut data, false);
        if let Some(edit) = VersionEdit::decode(&data) {
            let folder = crate::lsm::files::TableFolder::new(
                Arc::new(SimEnv::new(0)),
                "t".into(),
                Arc::new(BlockCache::new(0, 4096)),
            );
            let _ = crate::lsm::version::Version::default().apply(&edit, &folder);
            edits += 1;
        }
    }
    println!("{batches} batches and {edits} edits of {rounds} each were accepted");
    assert!(batches > 0 && edits > 0);
}

/// Value files and pointers: whatever the bytes say, a reader gets the value that was written, or an error.
#[test]
fn value_files_and_pointers() {
    let env = SimEnv::new(0);
    let options = Options { compression: Compression::None, value_file_bytes: 1 << 20, ..separating(30) };
    let engine = open(&env, options).unwrap();
    let mut b = WriteBatch::new();
    for n in 0..40u8 {
        b.put(&[n; 5], &vec![n; 30 + usize::from(n) * 3]);
    }
    engine.write(&b).unwrap();
    engine.flush().unwrap();
    drop(engine);
    let tables = Path::new(DIR).join("tables");
    let name = env.list(&tables).unwrap().into_iter().find(|n| values::value_number(n).is_some()).unwrap();
    let path = tables.join(name);
    let file = env.open(&path, OpenMode::Read).unwrap();
    let mut whole = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut whole).unwrap();
    let mut pointers = Vec::new();
    values::walk(&whole, &path, |p, key, value| {
        pointers.push((p, key.to_vec(), value.to_vec()));
        Ok(())
    })
    .unwrap();
    assert_eq!(pointers.len(), 40);
    let (seed, rounds) = budget(20_000);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut parsed, mut walked) = (0, 0);
    for _ in 0..rounds {
        let (pointer, key, value) = &pointers[rng.random_range(0..pointers.len())];
        let mut encoded = Vec::new();
        pointer.encode(&mut encoded);
        mutate(&mut rng, &mut encoded, false);
        if let Some(p) = values::Pointer::decode(&encoded) {
            parsed += 1;
            let meta = values::ValueMeta { number: p.file, size: whole.len() as u64, ..Default::default() };
            let folder = crate::lsm::files::TableFolder::new(
                Arc::new(env.clone()),
                tables.clone(),
                Arc::new(BlockCache::new(0, 4096)),
            );
            if let Ok(got) = values::ValueFile::new(meta, folder).read(p, key) {
                assert_eq!(got, value[..], "{p:?} is not {pointer:?}");
            }
        }
        // Records with their checksums made right again: what lies behind those must not panic either.
        let mut data = whole.clone();
        let at = pointer.offset as usize;
        let mut body = data[at..at + pointer.len as usize - 8].to_vec();
        mutate(&mut rng, &mut body, true);
        let mut sealed = Vec::new();
        seal_block(&body[..body.len() - 1], Compression::None, pointer.file, pointer.offset, &mut sealed);
        data[at..at + sealed.len()].copy_from_slice(&sealed);
        if rng.random_ratio(1, 4) {
            mutate(&mut rng, &mut data, false);
        }
        let mut seen = 0;
        walked += u64::from(
            values::walk(&data, &path, |_, _, _| {
                seen += 1;
                Ok(())
            })
            .is_ok(),
        );
        assert!(seen <= 60, "more records than there are");
    }
    println!("{parsed} pointers parsed, {walked} files walked, of {rounds}");
    assert!(parsed > 0 && walked > 0);
}

/// Whole files: anything in the folder is changed, and the engine opens with what was there, or refuses;
/// checksums are left wrong.
#[test]
fn files_of_a_folder() {
    files_of(&tiny());
    files_of(&separating(20));
}

fn files_of(options: &Options) {
    let env = SimEnv::new(0);
    let mut model = super::crash_images::Map::new();
    let engine = open(&env, options.clone()).unwrap();
    let mut models = vec![model.clone()];
    for n in 1..=60 {
        engine.write(&super::crash_images::batch(n, &mut model)).unwrap();
        models.push(model.clone());
        super::crash_images::work(&engine, n).unwrap();
    }
    engine.log().sync_step().unwrap();
    drop(engine);
    let mut files: Vec<_> =
        env.list(Path::new(DIR)).unwrap().into_iter().map(|n| Path::new(DIR).join(n)).collect();
    for folder in ["tables", "log"] {
        let dir = Path::new(DIR).join(folder);
        files.extend(env.list(&dir).unwrap().into_iter().map(|n| dir.join(n)));
    }
    files.retain(|f| env.open(f, OpenMode::Read).is_ok_and(|f| f.len().is_ok_and(|l| l > 0)));
    let (seed, rounds) = budget(1500);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut refused, mut same) = (0, 0);
    for round in 0..rounds {
        let image = env.clone_image();
        let path = &files[rng.random_range(0..files.len())];
        let file = image.open(path, OpenMode::ReadWrite).unwrap();
        let len = file.len().unwrap().min(20_000) as usize;
        let mut data = vec![0; len];
        file.read_at(0, &mut data).unwrap();
        mutate(&mut rng, &mut data, true);
        file.write_at(0, &data).unwrap();
        match open(&image, options.clone()).and_then(|engine| super::crash_images::content(&engine)) {
            Ok(got) => {
                // Damage in the very last write of the log looks like one cut short: three batches at once,
                // after the sync at 57.
                let n = super::crash_images::count(&got);
                assert!(n >= 57 && got == models[n], "round {round}, {path:?}: another story, {n} batches");
                same += 1;
            }
            Err(_) => refused += 1,
        }
    }
    println!("{refused} refused, {same} unharmed");
    assert!(refused > 0 && same > 0);
}
