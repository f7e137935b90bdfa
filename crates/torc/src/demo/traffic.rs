//! Sample data, and a light continuous load through every node.

use crate::bench::connection::Connection;
use crate::bench::tables;
use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const TABLE: &str = "Music";
const BUCKET: &str = "carts";
const ARTISTS: [&str; 6] =
    ["Nina Simone", "Miles Davis", "Johnny Cash", "Ella Fitzgerald", "Fela Kuti", "Clara Schumann"];
const TIMEOUT: Duration = Duration::from_secs(3);

/// What happened since the last look.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Latencies of acknowledged writes, in microseconds.
    pub writes: Histogram<u64>,
    /// Latencies of reads, in microseconds.
    pub reads: Histogram<u64>,
    /// Bucket writes that succeeded.
    pub bucket_writes: u64,
    /// Requests of any kind that failed.
    pub failed: u64,
    /// Over how long.
    pub elapsed: Duration,
}

/// A load that runs until dropped.
pub struct Traffic {
    seen: Arc<Mutex<Counters>>,
    _workers: JoinSet<()>,
}

struct Counters {
    since: Instant,
    writes: Histogram<u64>,
    reads: Histogram<u64>,
    bucket_writes: u64,
    failed: u64,
}

impl Counters {
    fn new() -> Counters {
        // 60 s, far above the timeout of a request.
        let histogram =
            || Histogram::new_with_bounds(1, 60_000_000, 3).unwrap_or_else(|_| unreachable!("valid bounds"));
        Counters {
            since: Instant::now(),
            writes: histogram(),
            reads: histogram(),
            bucket_writes: 0,
            failed: 0,
        }
    }
}

/// Creates the sample table and bucket, with a few items.
pub async fn prepare(addresses: &[String]) -> Result<()> {
    let Some(first) = addresses.first() else { bail!("no nodes") };
    let mut connection = Connection::new(first.clone(), Duration::from_secs(10));
    tables::create(&mut connection, TABLE, "Artist", Some("SongTitle")).await?;
    for address in addresses {
        tables::wait_active(&mut Connection::new(address.clone(), Duration::from_secs(10)), TABLE).await?;
    }
    let body = br#"{"n":3}"#;
    let answer = connection
        .send("PUT", &format!("/kv/{BUCKET}"), &[("Content-Type", "application/json")], body)
        .await?;
    // 409: from an earlier demo in the same folder.
    if !(200..300).contains(&answer.status) && answer.status != 409 {
        bail!(
            "cannot create the bucket {BUCKET}: {} {}",
            answer.status,
            String::from_utf8_lossy(answer.body)
        );
    }
    Ok(())
}

impl Traffic {
    /// Starts `rate` requests a second over all nodes.
    pub fn start(addresses: &[String], rate: u32) -> Traffic {
        let seen = Arc::new(Mutex::new(Counters::new()));
        let mut workers = JoinSet::new();
        let lanes = (addresses.len() as u32 * 2).max(1);
        let pause = Duration::from_secs_f64(f64::from(lanes) / f64::from(rate.max(1)));
        for lane in 0..lanes {
            workers.spawn(worker(addresses.to_vec(), lane, pause, seen.clone()));
        }
        Traffic { seen, _workers: workers }
    }

    /// What happened since the last call.
    pub fn take(&self) -> Seen {
        let counters = std::mem::replace(&mut *self.seen.lock(), Counters::new());
        Seen {
            elapsed: counters.since.elapsed(),
            writes: counters.writes,
            reads: counters.reads,
            bucket_writes: counters.bucket_writes,
            failed: counters.failed,
        }
    }
}

async fn worker(addresses: Vec<String>, lane: u32, pause: Duration, seen: Arc<Mutex<Counters>>) {
    let mut rng = SmallRng::seed_from_u64(u64::from(lane));
    let mut turn = lane as usize;
    let mut connection = Connection::new(addresses[turn % addresses.len()].clone(), TIMEOUT);
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let artist = ARTISTS[rng.random_range(0..ARTISTS.len())];
        let song = format!("Song {:03}", rng.random_range(0..200));
        let start = Instant::now();
        let kind = rng.random_range(0..10);
        let succeeded = match kind {
            0..5 => put_song(&mut connection, artist, &song, rng.random_range(1..1000)).await,
            5..9 => get_song(&mut connection, artist, &song).await,
            _ => put_cart(&mut connection, rng.random_range(0..50)).await,
        };
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut counters = seen.lock();
        match (succeeded, kind) {
            (true, 0..5) => counters.writes.saturating_record(micros),
            (true, 5..9) => counters.reads.saturating_record(micros),
            (true, _) => counters.bucket_writes += 1,
            (false, _) => {
                counters.failed += 1;
                // A client library would go to another node; so does this.
                turn += 1;
                connection = Connection::new(addresses[turn % addresses.len()].clone(), TIMEOUT);
            }
        }
    }
}

async fn put_song(connection: &mut Connection, artist: &str, song: &str, plays: u32) -> bool {
    let item = json!({"Artist": {"S": artist}, "SongTitle": {"S": song}, "Plays": {"N": plays.to_string()}});
    let answer = tables::call(connection, "PutItem", &json!({"TableName": TABLE, "Item": item})).await;
    matches!(answer, Ok((200, _)))
}

async fn get_song(connection: &mut Connection, artist: &str, song: &str) -> bool {
    let key = json!({"Artist": {"S": artist}, "SongTitle": {"S": song}});
    let request = json!({"TableName": TABLE, "Key": key, "ConsistentRead": true});
    matches!(tables::call(connection, "GetItem", &request).await, Ok((200, _)))
}

/// Reads the cart first, so that the write replaces what it saw instead of standing beside it.
async fn put_cart(connection: &mut Connection, cart: u32) -> bool {
    let path = format!("/kv/{BUCKET}/cart-{cart}");
    let context = match connection.send("GET", &format!("{path}?r=quorum"), &[], b"").await {
        Ok(answer) => answer.header("x-torc-context").map(str::to_owned),
        Err(_) => return false,
    };
    let headers: Vec<(&str, &str)> =
        context.iter().map(|context| ("x-torc-context", context.as_str())).collect();
    let answer = connection.send("PUT", &format!("{path}?w=quorum"), &headers, b"milk, bread").await;
    matches!(answer, Ok(answer) if answer.status < 300)
}
