//! Feeds slightly damaged bytes to the log's parsers. The checksums of segment header and batch are corrected
//! after each change, so that the code behind them is reached. Whatever the bytes, opening and reading return
//! a value or an error, and never panic.
//!
//! `TORC_FUZZ_SEED` chooses another sequence of cases, `TORC_FUZZ_ROUNDS` how many.

use super::super::format::{BATCH_HEADER, BLOCK, BatchHeader, Header, SEGMENT_HEADER, SegmentHeader};
use super::*;
use crate::env::OpenMode;
use crate::lsm::tests::fuzz::{budget, mutate};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A batch: file, header, salt.
fn batches(env: &SimEnv) -> Vec<(PathBuf, BatchHeader, u64)> {
    let mut out = Vec::new();
    for name in env.list(&dir()).unwrap() {
        let path = dir().join(name);
        let file = env.open(&path, OpenMode::Read).unwrap();
        let mut head = [0; SEGMENT_HEADER];
        file.read_at(0, &mut head).unwrap();
        let Header::Valid(segment) = SegmentHeader::decode(&head) else { continue };
        let (mut at, len) = (BLOCK, file.len().unwrap());
        while at + BLOCK <= len {
            let mut bytes = [0; BATCH_HEADER];
            file.read_at(at, &mut bytes).unwrap();
            match BatchHeader::decode(&bytes, segment.salt).filter(|h| h.generation == segment.generation) {
                Some(header) => {
                    at += header.span();
                    out.push((path.clone(), header, segment.salt));
                }
                None => break,
            }
        }
    }
    out
}

#[test]
fn batches_with_wrong_contents_and_right_checksums() {
    let env = SimEnv::new(1);
    let log = open(&env).unwrap();
    let mut work = Workload::new(5);
    let mut model = Model::default();
    for _ in 0..60 {
        let records = work.next(&model);
        model.apply(&records);
        log.append(&records).unwrap();
        log.sync_step().unwrap();
    }
    drop(log);
    env.kill();
    let batches = batches(&env);
    assert!(batches.len() > 10);
    let (seed, rounds) = budget(6000);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut opened = 0;
    for _ in 0..rounds {
        let image = env.clone_image();
        let (path, header, salt) = &batches[rng.random_range(0..batches.len())];
        let file = image.open(path, OpenMode::ReadWrite).unwrap();
        let mut header = header.clone();
        let mut payload = vec![0; header.payload_len as usize];
        file.read_at(header.offset + BATCH_HEADER as u64, &mut payload).unwrap();
        if rng.random_ratio(5, 6) {
            mutate(&mut rng, &mut payload, true);
        } else {
            match rng.random_range(0..5) {
                0 => header.units = rng.random_range(0..5),
                1 => header.first_lsn = rng.random(),
                2 => header.payload_len = rng.random_range(0..20_000),
                3 => header.durable_through = rng.random(),
                _ => header.generation = header.generation.wrapping_add(rng.random_range(1..3)),
            }
        }
        header.payload_crc = crc32c::crc32c(&payload);
        file.write_at(header.offset, &header.encode(*salt)).unwrap();
        file.write_at(header.offset + BATCH_HEADER as u64, &payload).unwrap();
        if let Ok(log) = open(&image) {
            opened += 1;
            for (stream, info) in log.streams() {
                let high = info.last.saturating_add(1).min(info.first.saturating_add(50));
                let _ = log.entries(stream, info.first, high, 1 << 20);
                // Writing continues or returns an error.
                let next = info.last.saturating_add(1).min(u64::MAX - 1);
                let _ = log.append(&[entry(stream, next, vec![1; 10])]);
            }
            let _ = log.sync_step();
        }
    }
    println!("{opened} of {rounds} could be opened");
    assert!(opened > 0 && opened < rounds);
}
