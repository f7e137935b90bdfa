//! What the engine's own threads do without being asked.

use super::{open, tiny};
use crate::env::SimEnv;
use crate::lsm::{Background, Options, WriteBatch};

/// Four tables in level 0 wait while more may come, since all that lies below would be written again for
/// them; then they go down unasked.
#[test]
fn level_0_goes_down_when_no_more_is_written() {
    let options = Options { background: Background::Threads, memtable_bytes: 1 << 20, ..tiny() };
    let engine = open(&SimEnv::new(3), options).unwrap();
    let write = |keys: std::ops::Range<u32>| {
        let mut batch = WriteBatch::new();
        keys.for_each(|n| batch.put(&n.to_be_bytes(), &[n as u8; 100]));
        engine.apply(&batch).unwrap();
        engine.flush().unwrap();
    };
    write(0..300);
    engine.compact_all().unwrap();
    // Tables that overlap each other and what lies below, and are far smaller.
    (0..4).for_each(|_| write(100..103));
    while engine.metrics().levels[0].tables > 0 {
        std::thread::yield_now();
    }
    assert!(engine.metrics().compactions > 1);
    assert_eq!(engine.scan(b"", b"", false, None).count(), 300);
}
