//! A bucket is deleted while its nodes run: their data of it is deleted without a restart.

use super::bucket_client::BUCKET;
use super::ending::START_LIMIT;
use super::faults::Faults;
use super::{MACHINES, Plan, begin, in_virtual_time, prepare};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use torc_coordinator::bucket::{Buckets as _, Level, PutRequest};
use torc_coordinator::node::Node;
use torc_model::key::space;

/// Fills the bucket, drops it, and waits until no node has any of it.
///
/// # Errors
/// A node keeps something of the bucket.
pub fn a_dropped_bucket_leaves_nothing(seed: u64) -> anyhow::Result<()> {
    in_virtual_time(seed, history(seed))
}

async fn history(seed: u64) -> anyhow::Result<()> {
    let plan = Plan { faults: Faults::NONE, ..Plan::full(seed) };
    let mut world = begin(&plan).await?;
    prepare(&mut world, &plan).await?;
    let first = world.node(0).context("node 0 is not up")?.clone();
    let buckets = first.buckets().context("node 0 does not serve buckets")?;
    for key in 0..20 {
        let request = PutRequest {
            bucket: BUCKET.into(),
            key: Bytes::from(format!("k{key}")),
            value: Bytes::from_static(b"v"),
            w: Some(Level::All),
            ..PutRequest::default()
        };
        buckets.put(request).await.map_err(|e| anyhow::anyhow!("{e:?}"))?;
    }
    for index in 0..MACHINES {
        let node = world.node(index).context("a node is not up")?;
        ensure!(records(node)? == 20, "node {index} does not have what was written at ALL");
    }
    buckets.drop_bucket(BUCKET.into()).await.map_err(|e| anyhow::anyhow!("{e:?}"))?;
    let limit = Instant::now() + START_LIMIT;
    for index in 0..MACHINES {
        let node = world.node(index).context("a node is not up")?;
        while records(node)? > 0 {
            ensure!(Instant::now() < limit, "node {index} keeps records of a bucket that is gone");
            sleep(Duration::from_millis(20)).await;
        }
    }
    world.watch.verdict()
}

/// Records of buckets that a node holds.
fn records(node: &Node) -> anyhow::Result<usize> {
    let (from, end) = ([space::BUCKET], [space::BUCKET + 1]);
    let mut count = 0;
    for item in node.engine().scan(&from, &end, false, None) {
        item?;
        count += 1;
    }
    Ok(count)
}
