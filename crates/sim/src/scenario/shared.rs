//! State that the clients of one world share: the nodes' addresses, the keys to use, and the recorded
//! results.

use super::bucket_client::BucketRecord;
use crate::checker::linearizability::Operation;
use crate::world::machine::Process;
use parking_lot::Mutex;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use tokio::time::Instant;
use torc_cluster::TableId;
use torc_coordinator::tables::ItemLocation;
use torc_model::{AttributeValue, key};

/// Shared by all clients.
pub struct Shared {
    /// The processes that serve now; the world keeps this up to date.
    pub serving: Arc<Mutex<Vec<Process>>>,
    /// Everything that was called on the table.
    pub history: Mutex<Vec<Operation>>,
    /// Everything that was called on the bucket.
    pub buckets: Mutex<BucketRecord>,
    /// The table.
    pub table: TableId,
    /// Its cluster's token key.
    pub token_key: [u8; 16],
    /// When the world began.
    pub started: Instant,
    /// Keys in use, in the table and in the bucket.
    pub keys: usize,
}

impl Shared {
    /// Nanoseconds since the world began: the clock of the histories.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Where the item of a key lives.
    pub fn location(&self, name: &str) -> ItemLocation {
        let mut pk = Vec::new();
        // A short string is always a valid key.
        let _ = key::encode_element(&AttributeValue::S(name.into()), &mut pk);
        let token = key::token(self.token_key, &pk);
        let storage = key::item_key(key::space::TABLE, self.table.0, token, &pk, &[]);
        ItemLocation { token, key: storage.into() }
    }

    /// One of the serving processes.
    pub fn some_process(&self, rng: &mut ChaCha8Rng) -> Option<Process> {
        self.serving.lock().choose(rng).cloned()
    }
}
