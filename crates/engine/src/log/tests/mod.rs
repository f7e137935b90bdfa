//! Tests of the whole log: against a model, after every crash, damaged, poisoned, full, and with threads on
//! real files.

mod crash;
mod damage;
mod fuzz;
mod meanwhile;
mod model;
mod real;
mod walk;

use super::*;
use crate::env::SimEnv;
use crate::{Background, Error};
use model::{Model, Workload, contents};
use std::path::PathBuf;

fn dir() -> PathBuf {
    PathBuf::from("/node/log")
}

/// Small segments, so that a few appends go round them.
fn options() -> LogOptions {
    LogOptions {
        background: Background::Manual,
        segment_bytes: 16 << 10,
        cache_bytes: 2 << 10,
        spare_segments: 2,
        salt: 7,
        faults: LogFaults::default(),
    }
}

fn open(env: &SimEnv) -> Result<Log> {
    Log::open(Arc::new(env.clone()), &dir(), options())
}

fn entry(stream: u64, index: u64, payload: impl Into<Bytes>) -> Record {
    Record::Entry { stream, index, payload: payload.into() }
}

#[test]
fn a_random_history_matches_the_model_and_survives_reopening() {
    for seed in 0..60 {
        let env = SimEnv::new(seed);
        let mut log = open(&env).unwrap();
        let mut work = Workload::new(seed);
        let mut model = Model::default();
        for step in 0..150 {
            let records = work.next(&model);
            model.apply(&records);
            log.append(&records).unwrap();
            if work.chance(0.7) {
                log.sync_step().unwrap();
            }
            if work.chance(0.1) {
                assert_eq!(contents(&log).unwrap(), model, "seed {seed} step {step}");
            }
            if work.chance(0.05) {
                log.close().unwrap();
                env.kill();
                log = open(&env).unwrap();
                assert_eq!(contents(&log).unwrap(), model, "seed {seed} step {step} reopened");
            }
        }
        assert_eq!(contents(&log).unwrap(), model, "seed {seed} at the end");
    }
}

#[test]
fn a_log_begins_small_and_grows() {
    let env = SimEnv::new(3);
    let large = || LogOptions { segment_bytes: 16 << 20, ..options() };
    let open = |env: &SimEnv| Log::open(Arc::new(env.clone()), &dir(), large()).unwrap();
    let segments = |env: &SimEnv| {
        let len =
            |name| env.open(&dir().join(name), crate::env::OpenMode::Read).unwrap().len().unwrap() >> 20;
        env.list(&dir()).unwrap().into_iter().map(len).collect::<Vec<u64>>()
    };
    let mut log = open(&env);
    assert_eq!(segments(&env), [4], "an empty log takes little room");
    for index in 1..=300u64 {
        log.append(&[entry(1, index, vec![index as u8; 64 << 10])]).unwrap();
        log.sync_step().unwrap();
        if index % 60 == 0 {
            let image = env.clone_image();
            image.crash(index);
            let reopened = open(&image);
            assert_eq!(reopened.stream(1).unwrap().last, index);
            assert_eq!(reopened.entries(1, 1, index + 1, u64::MAX).unwrap().len(), index as usize);
        }
        if index == 100 {
            log.close().unwrap();
            env.kill();
            log = open(&env);
        }
    }
    assert_eq!(segments(&env), [4, 8, 16], "MiB");
    // The small segments of a new log are deleted once there are others: a recycled segment is never small.
    for index in 301..=900u64 {
        let through = index - 200;
        let records =
            [entry(1, index, vec![index as u8; 64 << 10]), Record::TruncatePrefix { stream: 1, through }];
        log.append(&records).unwrap();
        log.sync_step().unwrap();
    }
    assert!(!segments(&env).contains(&4), "{:?}", segments(&env));
    assert!(log.metrics().segments_recycled > 0);
    assert_eq!(log.entries(1, 701, 901, u64::MAX).unwrap().len(), 200);
}

#[test]
fn entries_answers_ranges_within_bounds() {
    let env = SimEnv::new(0);
    let log = open(&env).unwrap();
    let records: Vec<_> = (1..=20).map(|i| entry(3, i, vec![i as u8; 100])).collect();
    log.append(&records).unwrap();
    log.sync_step().unwrap();
    log.append(&[Record::TruncatePrefix { stream: 3, through: 4 }]).unwrap();
    let indexes = |low, high, max| -> Option<Vec<u64>> {
        Some(log.entries(3, low, high, max).ok()?.into_iter().map(|(i, _)| i).collect())
    };
    // (low, high, max_bytes, expected)
    let cases = [
        (5, 21, u64::MAX, Some((5..21).collect())),
        (5, 21, 0, Some(vec![5])),
        (5, 21, 100, Some(vec![5])),
        (5, 21, 299, Some(vec![5, 6])),
        (5, 21, 300, Some(vec![5, 6, 7])),
        (20, 21, 1, Some(vec![20])),
        (7, 7, 1, Some(vec![])),
        (9, 7, 1, Some(vec![])),
        (4, 6, u64::MAX, None),
        (5, 22, u64::MAX, None),
        (21, 22, u64::MAX, None),
    ];
    for (low, high, max, expected) in cases {
        assert_eq!(indexes(low, high, max), expected, "{low}..{high} of {max}");
    }
    assert!(log.entries(9, 1, 2, 1).is_err(), "unknown stream");
}

#[test]
fn truncating_past_the_end_moves_the_last_index() {
    let env = SimEnv::new(0);
    let log = open(&env).unwrap();
    log.append(&[entry(1, 1, "a"), entry(1, 2, "b")]).unwrap();
    log.append(&[Record::TruncatePrefix { stream: 1, through: 10 }]).unwrap();
    let expected = StreamInfo { first: 11, last: 10, state: Bytes::new() };
    assert_eq!(log.stream(1), Some(expected));
    log.append(&[entry(1, 11, "c")]).unwrap();
    assert_eq!(log.entries(1, 11, 12, 1).unwrap(), [(11, Bytes::from("c"))]);
    log.append(&[Record::Drop { stream: 1 }]).unwrap();
    assert_eq!(log.stream(1), None);
}

#[test]
fn only_the_engine_stream_may_skip_indexes() {
    let env = SimEnv::new(0);
    let log = open(&env).unwrap();
    for stream in [ENGINE_STREAM, 1] {
        log.append(&[entry(stream, 3, "x"), entry(stream, 7, "y")]).unwrap();
    }
    let expected = [(3, Bytes::from("x")), (7, Bytes::from("y"))];
    assert_eq!(log.entries(ENGINE_STREAM, 3, 8, u64::MAX).unwrap(), expected);
    assert!(matches!(log.entries(1, 3, 8, u64::MAX), Err(Error::Corrupt { .. })));
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let env = SimEnv::new(0);
    let log = open(&env).unwrap();
    let refused = [
        entry(1, u64::MAX, ""),
        Record::TruncatePrefix { stream: 1, through: u64::MAX },
        Record::State { stream: 1, blob: vec![0; 4097].into() },
    ];
    for record in refused {
        assert!(log.append(&[entry(1, 1, ""), record.clone()]).is_err(), "{record:?}");
        assert!(log.streams().is_empty(), "nothing of a refused append stays");
    }
    log.append(&[Record::State { stream: 1, blob: vec![0; 4096].into() }]).unwrap();
}

#[test]
fn segments_are_recycled_and_a_cold_stream_is_named() {
    let env = SimEnv::new(0);
    let log = open(&env).unwrap();
    log.append(&[entry(9, 1, "cold")]).unwrap();
    for i in 1..=200 {
        log.append(&[entry(1, i, vec![0; 2000]), Record::TruncatePrefix { stream: 1, through: i - 1 }])
            .unwrap();
        log.sync_step().unwrap();
    }
    let metrics = log.metrics();
    assert!(metrics.segments_created <= 5, "{metrics:?}");
    assert!(metrics.segments_recycled > 50, "{metrics:?}");
    assert_eq!(log.pinned_by(2), [9]);
    assert_eq!(log.pinned_by(usize::MAX), [0u64; 0]);
    assert_eq!(
        log.entries(9, 1, 2, 1).unwrap(),
        [(1, Bytes::from("cold"))],
        "read back from a pinned segment"
    );
    log.append(&[Record::Drop { stream: 9 }]).unwrap();
    log.sync_step().unwrap();
    assert_eq!(log.pinned_by(2), [0u64; 0]);
    assert!(log.metrics().segments <= 3, "{:?}", log.metrics());
}

#[test]
fn a_segment_being_read_is_not_recycled() {
    let env = meanwhile::Meanwhile::new(&SimEnv::new(0));
    let log = Log::open(Arc::new(env.clone()), &dir(), options()).unwrap();
    let go_on = |log: &Log, from: u64| {
        for i in from..from + 40 {
            log.append(&[
                entry(1, i, vec![i as u8; 2000]),
                Record::TruncatePrefix { stream: 1, through: i - 1 },
            ])
            .unwrap();
            log.sync_step().unwrap();
        }
    };
    log.append(&[entry(2, 1, "read me")]).unwrap();
    go_on(&log, 1);
    let writer = log.clone();
    env.at_read(Box::new(move || {
        writer.append(&[Record::Drop { stream: 2 }]).unwrap();
        go_on(&writer, 41);
    }));
    assert_eq!(log.entries(2, 1, 2, 0).unwrap(), [(1, Bytes::from("read me"))]);
    assert_eq!(log.stream(1).unwrap().last, 80, "the rest happened during the read");
}

#[test]
fn a_segment_stays_until_the_table_of_the_next_is_durable() {
    let disk = SimEnv::new(0);
    let env = meanwhile::Meanwhile::new(&disk);
    let log =
        Log::open(Arc::new(env.clone()), &dir(), LogOptions { spare_segments: 0, ..options() }).unwrap();
    let state = Record::State { stream: 1, blob: Bytes::from("kept") };
    let durable = log.append(std::slice::from_ref(&state)).unwrap();
    let writer = log.clone();
    // While the state is written, the next segment is begun: the first then holds no live entry.
    env.at_write(
        1,
        Box::new(move || {
            writer.append(&[entry(2, 1, vec![0; 9000])]).unwrap();
        }),
    );
    log.sync_step().unwrap();
    assert_eq!((log.durable_lsn(), log.has_pending()), (durable, true));
    for seed in 0..20 {
        let image = disk.clone_image();
        image.crash(seed);
        assert_eq!(open(&image).unwrap().stream(1).unwrap().state, "kept");
    }
    log.sync_step().unwrap();
    assert_eq!(log.metrics().segments, 1, "then it is free");
}

#[test]
fn a_full_disk_refuses_entries_and_truncating_makes_room() {
    let env = SimEnv::new(0);
    let log = open(&env).unwrap();
    env.set_capacity(Some(4 * (16 << 10)));
    let mut last = 0;
    let refused = loop {
        match log.append(&[entry(1, last + 1, vec![1; 1500])]) {
            Ok(_) => last += 1,
            Err(error) => break error,
        }
        log.sync_step().unwrap();
        assert!(last < 100);
    };
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    assert_eq!(log.entries(1, 1, last + 1, u64::MAX).unwrap().len(), last as usize, "reads go on");
    assert_eq!(log.stream(1).unwrap().last, last, "the refused entry left no trace");
    log.append(&[Record::TruncatePrefix { stream: 1, through: last }]).unwrap();
    log.sync_step().unwrap();
    for i in 1..=3 {
        log.append(&[entry(1, last + i, vec![1; 1500])]).unwrap();
        log.sync_step().unwrap();
    }
    env.crash(1);
    let log = open(&env).unwrap();
    assert_eq!(log.stream(1).unwrap(), StreamInfo { first: last + 1, last: last + 3, state: Bytes::new() });
}

#[test]
fn a_failed_write_or_sync_poisons_for_good() {
    for fails_sync in [true, false] {
        let env = SimEnv::new(5);
        let log = open(&env).unwrap();
        let heard = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let sink = heard.clone();
        log.on_durable(Arc::new(move |result| sink.lock().push(result.ok())));
        let durable = log.append(&[entry(1, 1, "a")]).unwrap();
        log.sync_step().unwrap();
        if fails_sync {
            env.fail_sync(1)
        } else {
            env.fail_write(1)
        }
        let lost = log.append(&[entry(1, 2, "b")]).unwrap();
        assert!(matches!(log.sync_step(), Err(Error::Io { .. })));
        assert!(matches!(log.sync_step(), Err(Error::Poisoned)));
        assert!(matches!(log.append(&[entry(1, 3, "c")]), Err(Error::Poisoned)));
        assert!(matches!(log.wait(lost), Err(Error::Poisoned)));
        log.wait(durable).unwrap();
        assert_eq!(*heard.lock(), [Some(durable), None]);
        assert_eq!(log.entries(1, 1, 2, 9).unwrap().len(), 1, "reads go on");
        env.crash(2);
        assert!(open(&env).unwrap().durable_lsn() >= durable);
    }
}

#[test]
fn close_syncs_and_refuses_appends() {
    let env = SimEnv::new(0);
    let log = open(&env).unwrap();
    log.append_buffered(&[entry(1, 1, "a")]).unwrap();
    assert!(log.has_pending());
    log.close().unwrap();
    assert!(!log.has_pending());
    assert!(log.append(&[entry(1, 2, "b")]).is_err());
    env.crash(0);
    assert_eq!(open(&env).unwrap().stream(1).unwrap().last, 1);
}
