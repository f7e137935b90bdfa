//! Bits flipped on disk: an error, or beyond the end of the log, but never served.

use super::*;

/// A log of three segments and more, all of it durable, and what it holds.
fn written() -> (SimEnv, Model, Log) {
    let env = SimEnv::new(3);
    let log = open(&env).unwrap();
    let mut model = Model::default();
    for i in 1..=12 {
        let records =
            [entry(1, i, vec![i as u8; 1500]), Record::State { stream: 1, blob: vec![i as u8; 9].into() }];
        model.apply(&records);
        log.append(&records).unwrap();
        log.sync_step().unwrap();
    }
    (env, model, log)
}

/// Room for several batches in a segment.
fn open_roomy(env: &SimEnv) -> Result<Log> {
    Log::open(Arc::new(env.clone()), &dir(), LogOptions { segment_bytes: 256 << 10, ..options() })
}

fn files(env: &SimEnv) -> Vec<PathBuf> {
    env.list(&dir()).unwrap().into_iter().map(|name| dir().join(name)).collect()
}

#[test]
fn a_flipped_bit_is_refused_or_lies_beyond_the_log() {
    let (env, model, log) = written();
    let newest = log.metrics();
    assert!(newest.segments >= 3, "{newest:?}");
    drop(log);
    let (mut refused, mut harmless) = (0, 0);
    for path in files(&env) {
        for offset in (0..16 << 10).step_by(97).chain([0, 8, 20, 60, 4096, 4100, 4150, 8192, 8200]) {
            let image = env.clone_image();
            assert!(image.flip_bit(&path, offset, (offset % 8) as u8));
            match open(&image) {
                Err(Error::Corrupt { .. } | Error::Version { .. }) => refused += 1,
                Err(other) => panic!("{path:?} byte {offset}: {other}"),
                Ok(log) => {
                    let read = contents(&log).unwrap();
                    // A damaged last batch cannot be told from one that a crash cut short.
                    let cut_short = log.durable_lsn() == 11;
                    assert!(
                        read == model || cut_short,
                        "{path:?} byte {offset}: served what was not written"
                    );
                    harmless += 1;
                }
            }
        }
    }
    assert!(refused > 50 && harmless > 20, "{refused} refused, {harmless} harmless");
}

#[test]
fn damage_before_the_end_names_the_place() {
    let (env, _, log) = written();
    drop(log);
    // The first segment is a whole, earlier one.
    let first = dir().join("00000000.seg");
    let image = env.clone_image();
    image.flip_bit(&first, 4096 * 2 + 1000, 1);
    let Err(Error::Corrupt { path, offset, .. }) = open(&image) else { panic!("served") };
    assert_eq!((path, offset), (first.clone(), 8192));

    let image = env.clone_image();
    image.remove(&first).unwrap();
    assert!(matches!(open(&image), Err(Error::Corrupt { .. })), "a missing segment that held live entries");
}

#[test]
fn a_batch_damaged_in_the_newest_segment_is_refused_if_another_follows() {
    let env = SimEnv::new(0);
    let log = open_roomy(&env).unwrap();
    for i in 1..=2 {
        log.append(&[entry(1, i, "x")]).unwrap();
        log.sync_step().unwrap();
    }
    drop(log);
    let file = &files(&env)[0];
    let image = env.clone_image();
    image.flip_bit(file, 8192 + 70, 0);
    assert!(matches!(open_roomy(&image), Err(Error::Corrupt { offset: 8192, .. })));
    let image = env.clone_image();
    image.flip_bit(file, 4096 * 3 + 70, 0);
    assert_eq!(open_roomy(&image).unwrap().stream(1).unwrap().last, 1, "a torn tail is where the log ends");
}

#[test]
fn damage_after_opening_is_not_served() {
    let (env, _, log) = written();
    let (low, high) = (1, 2);
    assert_eq!(log.entries(1, low, high, 1).unwrap()[0].1, vec![1; 1500]);
    env.flip_bit(&dir().join("00000000.seg"), 8192 + 500, 3);
    assert!(matches!(log.entries(1, low, high, 1), Err(Error::Corrupt { .. })));
}

#[test]
fn a_payload_that_imitates_a_batch_is_payload() {
    use super::super::format::{BatchHeader, BatchKind};
    let env = SimEnv::new(0);
    let log = open_roomy(&env).unwrap();
    // Without knowing the salt, the best imitation is a batch of salt zero, at every block of a large entry.
    let mut forged = Vec::new();
    for block in 3..12u64 {
        let header = BatchHeader {
            generation: 1,
            offset: block * 4096,
            durable_through: block * 4096,
            first_lsn: 1,
            units: 0,
            payload_len: 0,
            payload_crc: 0,
            kind: BatchKind::Units,
        };
        let mut bytes = header.encode(0).to_vec();
        bytes.resize(4096, 0);
        forged.extend_from_slice(&bytes);
    }
    // Batch, unit and record headers come before the payload: shift it onto the block boundary.
    let lead = 4096 - 64 - 8 - 25;
    let payload = [vec![0; lead], forged].concat();
    log.append(&[entry(1, 1, payload)]).unwrap();
    log.sync_step().unwrap();
    drop(log);
    // The header of the batch is gone, its inside is whole.
    env.flip_bit(&dir().join("00000000.seg"), 8192, 0);
    let log = open_roomy(&env).unwrap();
    assert_eq!((log.durable_lsn(), log.streams()), (0, Vec::new()));
}
