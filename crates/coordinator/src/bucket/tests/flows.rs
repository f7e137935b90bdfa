//! One test for each behaviour of the flows.

use super::world::{World, values};
use crate::bucket::*;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use torc_cluster::NodeId;
use torc_cluster::topology::Command;

async fn world(nodes: u64) -> World {
    World::start(nodes, BucketSettings { partitions: 4, check_rest_every: 0, ..BucketSettings::default() })
        .await
}

const NONE: Bytes = Bytes::new();

#[tokio::test(start_paused = true)]
async fn two_blind_writes_become_siblings_and_a_third_with_the_context_settles_them() {
    let world = world(3).await;
    world.put(1, "k", "left", &NONE, Level::Quorum).await.unwrap();
    world.put(2, "k", "right", &NONE, Level::Quorum).await.unwrap();
    let both = world.get(3, "k", Level::Quorum).await.unwrap();
    assert_eq!(values(&both), ["left", "right"]);
    world.put(3, "k", "settled", &both.context, Level::Quorum).await.unwrap();
    for id in 1..=3 {
        assert_eq!(values(&world.get(id, "k", Level::Quorum).await.unwrap()), ["settled"]);
    }
    let counted = world.node(3).buckets.metrics().snapshot();
    assert_eq!((counted.sibling_reads, counted.siblings_returned), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_last_writer_wins_bucket_keeps_one_value_and_no_context() {
    let world = world(3).await;
    let config = BucketConfig {
        n: 3,
        read: Level::Quorum,
        write: Level::Quorum,
        policy: BucketPolicy::LastWriterWins,
    };
    let info = world.node(1).buckets.create_bucket("b".into(), config).await.unwrap();
    assert_eq!(info.config, config);
    world.put(1, "k", "first", &NONE, Level::Quorum).await.unwrap();
    sleep(Duration::from_millis(5)).await;
    let wrote = world.put(2, "k", "second", &NONE, Level::Quorum).await.unwrap();
    let read = world.get(3, "k", Level::Quorum).await.unwrap();
    assert_eq!((values(&read), read.context, wrote.context), (vec!["second".into()], NONE, NONE));
    world.delete(3, "k", &NONE, Level::Quorum).await.unwrap();
    assert!(world.get(1, "k", Level::All).await.unwrap().siblings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_missed_a_write_is_healed_by_a_read_before_its_answer() {
    let world = world(3).await;
    world.put(1, "k", "old", &NONE, Level::All).await.unwrap();
    world.isolate(3);
    let seen = world.get(1, "k", Level::Quorum).await.unwrap().context;
    world.put(1, "k", "new", &seen, Level::Quorum).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.node(1).buckets.metrics().snapshot().missed_writes, 1);
    world.heal();
    assert_ne!(world.digest(3, "b", "k"), world.digest(1, "b", "k"));
    // Through the stale replica itself, with one other.
    assert_eq!(values(&world.get(3, "k", Level::Quorum).await.unwrap()), ["new"]);
    assert_eq!(world.digest(3, "b", "k"), world.digest(1, "b", "k"));
    let counted = world.node(3).buckets.metrics().snapshot();
    assert_eq!((counted.divergences, counted.read_repairs), (1, 1));
    // Nothing left to repair.
    world.get(3, "k", Level::All).await.unwrap();
    assert_eq!(world.node(3).buckets.metrics().snapshot().divergences, 1);
}

#[tokio::test(start_paused = true)]
async fn reads_heal_the_replicas_that_they_did_not_need_after_the_answer() {
    let world = World::start(3, BucketSettings { check_rest_every: 1, ..BucketSettings::default() }).await;
    world.isolate(2);
    world.put(1, "k", "v", &NONE, Level::Quorum).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    world.heal();
    // ONE asks this node's own copy only, finds nothing wrong with it, and compares the others afterwards.
    assert_eq!(values(&world.get(1, "k", Level::One).await.unwrap()), ["v"]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.digest(2, "b", "k"), world.digest(1, "b", "k"));
    assert_eq!(world.node(1).buckets.metrics().snapshot().read_repairs, 1);
    // And the other way round: the stale one asks itself, and learns.
    world.isolate(2);
    world.put(1, "other", "v", &NONE, Level::Quorum).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    world.heal();
    assert!(world.get(2, "other", Level::One).await.unwrap().siblings.is_empty());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(values(&world.get(2, "other", Level::One).await.unwrap()), ["v"]);
}

#[tokio::test(start_paused = true)]
async fn too_few_live_replicas_fail_at_once_and_one_goes_on() {
    let world = world(3).await;
    world.put(1, "k", "v", &NONE, Level::All).await.unwrap();
    world.net(|net| net.down.extend([NodeId(2), NodeId(3)]));
    let begin = Instant::now();
    for error in [
        world.put(1, "k", "w", &NONE, Level::Quorum).await.unwrap_err(),
        world.get(1, "k", Level::Quorum).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("2 of 3 replicas needed, 1 alive"), "{}", error.message);
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(values(&world.get(1, "k", Level::One).await.unwrap()), ["v"]);
    world.put(1, "k", "w", &NONE, Level::One).await.unwrap();
    assert_eq!(values(&world.get(1, "k", Level::One).await.unwrap()), ["v", "w"]);
    // More than there are is the caller's mistake, not a failure.
    assert_eq!(world.get(1, "k", Level::Count(4)).await.unwrap_err().kind, ErrorKind::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn silent_replicas_fail_a_write_by_its_deadline_and_the_error_counts() {
    let world = world(3).await;
    world.put(1, "k", "v", &NONE, Level::All).await.unwrap();
    world.isolate(1);
    let begin = Instant::now();
    let error = world.put(1, "k", "w", &NONE, Level::Quorum).await.unwrap_err();
    assert!(begin.elapsed() <= Duration::from_secs(4));
    assert_eq!(error.kind, ErrorKind::NotEnoughAnswers);
    assert!(error.message.contains("2 of 3 replicas needed, 1 answered"), "{}", error.message);
    let error = world.get(1, "k", Level::Quorum).await.unwrap_err();
    assert!(error.message.contains("2 of 3 replicas needed, 1 answered"), "{}", error.message);
    assert!(begin.elapsed() <= Duration::from_secs(8));
    let counted = world.node(1).buckets.metrics().snapshot();
    assert_eq!((counted.failed_writes, counted.failed_reads), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_copy_passes_writes_on_and_reads_itself() {
    let world = world(5).await;
    world.put(1, "k", "v", &NONE, Level::All).await.unwrap();
    let replicas = world.replicas("b", "k");
    let outsider = *world.ids().iter().find(|id| !replicas.contains(id)).unwrap();
    world.learn(outsider);
    let seen = world.get(outsider, "k", Level::Quorum).await.unwrap();
    assert_eq!(values(&seen), ["v"]);
    let wrote = world.put(outsider, "k", "w", &seen.context, Level::All).await.unwrap();
    assert_eq!((wrote.acked, wrote.replicas), (3, 3));
    assert_eq!(world.node(outsider).buckets.metrics().snapshot().forwarded, 1);
    // The answer of the first replica is lost though it wrote: nobody else is asked to write it under a second dot. The client is told, and it is one value.
    world.net(|net| net.mute.insert((NodeId(replicas[0]), NodeId(outsider))));
    let error = world.put(outsider, "k", "x", &wrote.context, Level::Quorum).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotEnoughAnswers);
    world.heal();
    let read = world.get(outsider, "k", Level::All).await.unwrap();
    assert_eq!(values(&read), ["x"]);
    // A bad context is refused by whoever coordinates, in the same words.
    for id in [outsider, replicas[0]] {
        let error = world.put(id, "other key", "y", &read.context, Level::One).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument);
        assert!(error.message.contains("another key"), "{}", error.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_replica_is_not_waited_for() {
    let world = world(3).await;
    world.put(1, "k", "v", &NONE, Level::All).await.unwrap();
    let second = world.replicas("b", "k").into_iter().find(|id| *id != 1).unwrap();
    world.net(|net| net.slow.insert(NodeId(second), Duration::from_millis(900)));
    let begin = Instant::now();
    assert_eq!(values(&world.get(1, "k", Level::Quorum).await.unwrap()), ["v"]);
    assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
    assert_eq!(world.node(1).buckets.metrics().snapshot().speculative_reads, 1);
    let begin = Instant::now();
    world.put(1, "k", "w", &NONE, Level::Quorum).await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
    // The slow one gets it all the same.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.digest(second, "b", "k"), world.digest(1, "b", "k"));
}

#[tokio::test(start_paused = true)]
async fn a_delete_takes_what_a_quorum_sees_and_leaves_what_its_context_did_not_cover() {
    let world = world(3).await;
    // The value is on two replicas, and the delete comes in through the third, which has not heard of it.
    world.isolate(3);
    world.put(1, "k", "v", &NONE, Level::Quorum).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    world.heal();
    world.learn(3);
    world.delete(3, "k", &NONE, Level::Quorum).await.unwrap();
    let gone = world.get(1, "k", Level::Quorum).await.unwrap();
    assert!(gone.siblings.is_empty() && !gone.context.is_empty());
    assert!(world.get(2, "never written", Level::One).await.unwrap().context.is_empty());

    let wrote = world.put(1, "k", "again", &gone.context, Level::All).await.unwrap();
    world.put(2, "k", "concurrent", &gone.context, Level::All).await.unwrap();
    world.delete(3, "k", &wrote.context, Level::All).await.unwrap();
    assert_eq!(values(&world.get(1, "k", Level::All).await.unwrap()), ["concurrent"]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_map_is_refreshed_out_of_the_clients_sight() {
    let world = world(5).await;
    world.put(1, "k", "v", &NONE, Level::All).await.unwrap();
    let replicas = world.replicas("b", "k");
    let outsiders: Vec<u64> = world.ids().into_iter().filter(|id| !replicas.contains(id)).collect();
    let (caller, newcomer) = (outsiders[0], outsiders[1]);
    world.ids().iter().for_each(|id| world.learn(*id));
    // The last replica is replaced; everybody but the caller knows.
    let moved: Vec<NodeId> = vec![NodeId(replicas[0]), NodeId(replicas[1]), NodeId(newcomer)];
    let group = {
        let truth = world.shared.truth();
        let bucket = truth.bucket_by_name("b").unwrap().id;
        let token = torc_model::key::token(*truth.token_key(), b"k");
        truth.partition(bucket, token).unwrap().group
    };
    world.shared.change(&Command::SetReplicas { group, replicas: moved }).unwrap();
    world.ids().iter().filter(|id| **id != caller).for_each(|id| world.learn(*id));
    let read = world.get(caller, "k", Level::All).await.unwrap();
    assert_eq!(values(&read), ["v"]);
    assert_eq!(
        world.digest(newcomer, "b", "k"),
        world.digest(replicas[0], "b", "k"),
        "the read filled the new replica"
    );
    world.put(caller, "k", "w", &read.context, Level::All).await.unwrap();
    assert_ne!(world.digest(replicas[2], "b", "k"), world.digest(newcomer, "b", "k"));
}

/// The partition moves between the local write and its copies. The record follows it; the write is not done a second time, with a
/// second dot, by one of the new replicas.
#[tokio::test(start_paused = true)]
async fn a_write_follows_a_partition_that_moved_under_it_and_stays_one() {
    let world = world(6).await;
    world.put(1, "other", "v", &NONE, Level::All).await.unwrap();
    let replicas = world.replicas("b", "k");
    let others: Vec<u64> = world.ids().into_iter().filter(|id| !replicas.contains(id)).collect();
    let coordinator = replicas[0];
    for id in world.ids() {
        world.learn(id);
    }
    let group = {
        let truth = world.shared.truth();
        let bucket = truth.bucket_by_name("b").unwrap().id;
        let token = torc_model::key::token(*truth.token_key(), b"k");
        truth.partition(bucket, token).unwrap().group
    };
    let moved = others.iter().map(|id| NodeId(*id)).collect();
    world.shared.change(&Command::SetReplicas { group, replicas: moved }).unwrap();
    world.ids().iter().filter(|id| **id != coordinator).for_each(|id| world.learn(*id));
    let wrote = world.put(coordinator, "k", "v", &NONE, Level::All).await.unwrap();
    assert_eq!((wrote.acked, wrote.replicas), (3, 3));
    for id in &others {
        assert_eq!(world.digest(*id, "b", "k"), world.digest(coordinator, "b", "k"), "one dot, on node {id}");
    }
    let read = world.get(others[0], "k", Level::All).await.unwrap();
    assert_eq!((values(&read), &read.context), (vec!["v".to_owned()], &wrote.context));
}

#[tokio::test(start_paused = true)]
async fn expiry_counts_from_the_write_and_hides_the_value() {
    let world = world(1).await;
    let request = PutRequest {
        bucket: "b".into(),
        key: "k".into(),
        value: "v".into(),
        ttl: Some(Duration::from_secs(10)),
        ..PutRequest::default()
    };
    world.node(1).buckets.put(request).await.unwrap();
    assert_eq!(values(&world.get(1, "k", Level::One).await.unwrap()), ["v"]);
    sleep(Duration::from_secs(10)).await;
    assert!(world.get(1, "k", Level::One).await.unwrap().siblings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn keys_are_listed_in_pages_over_all_partitions() {
    let world = world(4).await;
    let mut expected = BTreeSet::new();
    for n in 0..45 {
        let key = format!("key {n}");
        world.put(1, &key, "v", &NONE, Level::All).await.unwrap();
        expected.insert(Bytes::from(key));
    }
    world.delete(1, "key 7", &NONE, Level::All).await.unwrap();
    expected.remove(&Bytes::from_static(b"key 7"));
    for limit in [1, 7, 1000] {
        let (mut found, mut after, mut pages) = (Vec::new(), NONE, 0);
        loop {
            let request = KeysRequest { bucket: "b".into(), after, limit, deadline: None };
            let page = world.node(2).buckets.keys(request).await.unwrap();
            assert!(page.keys.len() <= limit);
            found.extend(page.keys);
            pages += 1;
            after = page.next;
            if after.is_empty() {
                break;
            }
        }
        assert_eq!(found.len(), expected.len(), "limit {limit}: {pages} pages");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "limit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn buckets_are_made_described_listed_and_dropped() {
    let world = world(3).await;
    let buckets = &world.node(1).buckets;
    let config = BucketConfig { n: 2, read: Level::One, write: Level::All, policy: BucketPolicy::Siblings };
    assert_eq!(buckets.describe_bucket("b".into()).await.unwrap_err().kind, ErrorKind::NoSuchBucket);
    assert_eq!(world.get(1, "k", Level::One).await.unwrap_err().kind, ErrorKind::NoSuchBucket);
    buckets.create_bucket("b".into(), config).await.unwrap();
    assert_eq!(buckets.create_bucket("b".into(), config).await.unwrap().config, config);
    let other = BucketConfig { n: 3, ..config };
    assert_eq!(buckets.create_bucket("b".into(), other).await.unwrap_err().kind, ErrorKind::BucketExists);
    assert_eq!(
        buckets.create_bucket("no spaces".into(), config).await.unwrap_err().kind,
        ErrorKind::InvalidArgument
    );
    // A node that has not heard of it yet finds out.
    let wrote = world.put(2, "k", "v", &NONE, Level::All).await.unwrap();
    assert_eq!((wrote.acked, wrote.replicas), (2, 2));
    let listed = world.node(3).buckets.list_buckets(String::new(), 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|info| (info.name.as_str(), info.partitions)).collect::<Vec<_>>(),
        [("b", 4)]
    );
    let ring = world.node(3).buckets.ring("b".into()).await.unwrap();
    assert_eq!((ring.nodes.len(), ring.partitions.len()), (3, 4));
    assert!(ring.partitions.iter().all(|partition| partition.replicas.len() == 2));
    world.node(3).buckets.drop_bucket("b".into()).await.unwrap();
    // A node that has not heard of it serves on; the next epoch that it hears of tells it.
    world.learn(1);
    assert_eq!(world.get(1, "k", Level::One).await.unwrap_err().kind, ErrorKind::NoSuchBucket);
}

#[tokio::test(start_paused = true)]
async fn limits_are_refused_with_words() {
    let world = world(1).await;
    let long = "x".repeat(limits::MAX_KEY_BYTES + 1);
    for (key, value) in [("", "v"), (long.as_str(), "v"), ("k", &"v".repeat(limits::MAX_VALUE_BYTES + 1))] {
        let error = world.put(1, key, value, &NONE, Level::One).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{}", error.message);
    }
    world.put(1, &long[1..], &"v".repeat(limits::MAX_VALUE_BYTES), &NONE, Level::One).await.unwrap();
}
