//! A replica whose disk is full can be read, but stores nothing. It must not spoil what the others can do.

use super::world::{World, values};
use crate::bucket::*;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use torc_cluster::NodeId;
use torc_cluster::topology::Level;

const NONE: Bytes = Bytes::new();
const KEYS: usize = 20;

/// Three nodes that hold an old value of each key. The disk of node 3 is full.
async fn world() -> World {
    let settings = BucketSettings { partitions: 4, check_rest_every: 1, ..BucketSettings::default() };
    let world = World::start(3, settings).await;
    for n in 0..KEYS {
        world.put(1, &format!("key {n}"), "old", &NONE, Level::All).await.unwrap();
    }
    (1..=3).for_each(|id| world.learn(id));
    world.node(3).store.set_full(true);
    world
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_of_a_quorum_go_on_through_every_node() {
    let world = world().await;
    let begin = Instant::now();
    for n in 0..KEYS {
        let (key, through) = (format!("key {n}"), 1 + n as u64 % 3);
        let seen = world.get(through, &key, Level::Quorum).await.unwrap();
        let wrote = world.put(through, &key, "new", &seen.context, Level::Quorum).await.unwrap();
        assert!(wrote.acked >= 2);
        for id in 1..=3 {
            let read = world.get(id, &key, Level::Quorum).await;
            assert_eq!(values(&read.unwrap()), ["new"], "{key} through {id}");
        }
    }
    assert!(begin.elapsed() < Duration::from_millis(50 * KEYS as u64), "{:?}", begin.elapsed());
    // Each write that came in through node 3 was passed on, and got one dot.
    assert_eq!(
        world.node(3).buckets.metrics().snapshot().forwarded as usize,
        (0..KEYS).filter(|n| n % 3 == 2).count()
    );
    let counted: Vec<_> = (1..=3).map(|id| world.node(id).buckets.metrics().snapshot()).collect();
    assert!(counted.iter().all(|counted| counted.failed_reads == 0 && counted.failed_writes == 0));
    // A reader that insists on node 3 hears why it cannot have it.
    let error = world.get(1, "key 0", Level::All).await.unwrap_err();
    assert!(error.message.contains("no space left"), "{}", error.message);
    world.node(3).store.set_full(false);
    assert_eq!(values(&world.get(1, "key 0", Level::All).await.unwrap()), ["new"]);
    assert_eq!(world.digest(3, "b", "key 0"), world.digest(1, "b", "key 0"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_finds_no_room_anywhere_fails_at_once_and_says_that_nothing_was_written() {
    let world = world().await;
    (1..=3).for_each(|id| world.node(id).store.set_full(true));
    let begin = Instant::now();
    for id in 1..=3 {
        let error = world.put(id, "key 0", "new", &NONE, Level::Quorum).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.message);
        assert!(error.message.contains("nothing was written"), "{}", error.message);
    }
    assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
    assert_eq!(values(&world.get(1, "key 0", Level::All).await.unwrap()), ["old"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_repair_is_replaced_by_the_next_replica() {
    let world = world().await;
    world.node(3).store.set_full(false);
    let preferred = world.replicas("b", "key 0");
    let (reader, stale, spare) = (preferred[0], preferred[1], preferred[2]);
    // The second replica misses a write, and then stores nothing for a second though it can be read.
    world.isolate(stale);
    let seen = world.get(reader, "key 0", Level::One).await.unwrap().context;
    world.put(reader, "key 0", "new", &seen, Level::Quorum).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    world.heal();
    world.net(|net| net.slow_merges.insert(NodeId(stale), Duration::from_secs(1)));
    let begin = Instant::now();
    assert_eq!(values(&world.get(reader, "key 0", Level::Quorum).await.unwrap()), ["new"]);
    assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
    // The slow replica stores it after the answer.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.digest(stale, "b", "key 0"), world.digest(spare, "b", "key 0"));
}
