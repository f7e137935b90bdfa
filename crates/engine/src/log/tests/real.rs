//! The log's own threads on real files.

use super::*;
use crate::env::RealEnv;
use std::sync::atomic::{AtomicU64, Ordering};

fn real_options() -> LogOptions {
    LogOptions { segment_bytes: 256 << 10, cache_bytes: 64 << 10, ..LogOptions::default() }
}

#[test]
fn many_threads_append_wait_truncate_and_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Arc::new(RealEnv::new()), dir.path(), real_options()).unwrap();
    let heard = Arc::new(AtomicU64::new(0));
    let sink = heard.clone();
    log.on_durable(Arc::new(move |lsn| {
        let lsn = lsn.unwrap();
        assert!(sink.fetch_max(lsn, Ordering::SeqCst) < lsn, "numbers rise");
    }));
    std::thread::scope(|scope| {
        for stream in 1..=8 {
            let log = log.clone();
            scope.spawn(move || {
                for index in 1..=200u64 {
                    let mut records = vec![entry(stream, index, vec![index as u8; 300])];
                    if index % 50 == 0 {
                        records.push(Record::TruncatePrefix { stream, through: index - 10 });
                        records.push(Record::State { stream, blob: index.to_le_bytes().to_vec().into() });
                    }
                    let lsn = log.append(&records).unwrap();
                    assert_eq!(
                        log.entries(stream, index, index + 1, 0).unwrap()[0].1,
                        vec![index as u8; 300]
                    );
                    log.wait(lsn).unwrap();
                    assert!(log.durable_lsn() >= lsn);
                }
            });
        }
    });
    let before = contents(&log).unwrap();
    let metrics = log.metrics();
    assert!(metrics.syncs < metrics.appends, "appends share syncs: {metrics:?}");
    assert!(metrics.segments_recycled > 0, "{metrics:?}");
    // Not closed: dropping the last handle stops the threads.
    drop(log);
    assert_eq!(heard.load(Ordering::SeqCst), 1600);
    let log = Log::open(Arc::new(RealEnv::new()), dir.path(), real_options()).unwrap();
    assert_eq!(contents(&log).unwrap(), before);
    assert_eq!(log.durable_lsn(), 1600);
    log.close().unwrap();
    log.close().unwrap();
    assert!(log.append(&[entry(1, 1, "")]).is_err());
}

#[test]
fn readers_are_not_disturbed_by_recycling() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { cache_bytes: 0, segment_bytes: 64 << 10, ..real_options() };
    let log = Log::open(Arc::new(RealEnv::new()), dir.path(), options).unwrap();
    let end = 3000u64;
    std::thread::scope(|scope| {
        let (writer, reader) = (log.clone(), log.clone());
        scope.spawn(move || {
            let mut lsn = 0;
            for index in 1..=end {
                let truncate = Record::TruncatePrefix { stream: 1, through: index.saturating_sub(40) };
                lsn = writer.append(&[entry(1, index, index.to_le_bytes().repeat(40)), truncate]).unwrap();
                if index % 8 == 0 {
                    writer.wait(lsn).unwrap();
                }
            }
            writer.wait(lsn).unwrap();
        });
        scope.spawn(move || {
            loop {
                let Some(info) = reader.stream(1) else { continue };
                // The range may be truncated meanwhile; what is served must be right.
                match reader.entries(1, info.first, info.last + 1, u64::MAX) {
                    Ok(entries) => {
                        for (index, payload) in entries {
                            assert_eq!(payload, index.to_le_bytes().repeat(40));
                        }
                    }
                    Err(Error::Corrupt { detail, .. }) => {
                        assert!(detail.contains("does not hold"), "{detail}")
                    }
                    Err(other) => panic!("{other}"),
                }
                if info.last == end {
                    return;
                }
            }
        });
    });
    assert!(log.metrics().segments_recycled > 0, "{:?}", log.metrics());
}

#[test]
fn a_listener_may_hold_the_last_handle() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Arc::new(RealEnv::new()), dir.path(), real_options()).unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    let kept = parking_lot::Mutex::new(Some(log.clone()));
    log.on_durable(Arc::new(move |_| {
        drop(kept.lock().take());
        let _ = send.send(());
    }));
    log.append(&[entry(1, 1, "a")]).unwrap();
    drop(log);
    receive.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
}

/// Waiting callers write by themselves, while other threads fill segments and sync. No waiting caller may
/// stay asleep.
#[test]
fn who_waits_is_woken() {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for writers in [1u64, 2, 5] {
            let dir = tempfile::tempdir().unwrap();
            // Large enough that zeros are written ahead all the while.
            let options = LogOptions { segment_bytes: 4 << 20, ..real_options() };
            let log = Log::open(Arc::new(RealEnv::new()), dir.path(), options).unwrap();
            std::thread::scope(|scope| {
                for stream in 1..=writers {
                    let log = log.clone();
                    scope.spawn(move || {
                        for index in 1..=150u64 {
                            let lsn = log.append_and_wait_later(&[entry(stream, index, "mine")]).unwrap();
                            if stream % 2 == 0 && index % 3 == 0 {
                                // One more caller, which lets the log's thread sync.
                                log.append(&[entry(stream + 100, index, "not waited for")]).unwrap();
                            }
                            log.wait(lsn).unwrap();
                            assert!(log.durable_lsn() >= lsn);
                        }
                    });
                }
            });
        }
        send.send(()).unwrap();
    });
    receive.recv_timeout(std::time::Duration::from_secs(100)).expect("somebody sleeps for good");
}
