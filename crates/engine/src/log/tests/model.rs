//! A model of the log in the simplest form, and random appends.

use super::super::*;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    streams: BTreeMap<u64, ModelStream>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct ModelStream {
    last: u64,
    state: Bytes,
    entries: BTreeMap<u64, Bytes>,
}

impl Model {
    pub(super) fn apply(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Entry { stream, index, payload } => {
                    let held = self.streams.entry(*stream).or_default();
                    held.entries.split_off(index);
                    held.entries.insert(*index, payload.clone());
                    held.last = *index;
                }
                Record::State { stream, blob } => {
                    self.streams.entry(*stream).or_default().state = blob.clone()
                }
                Record::TruncatePrefix { stream, through } => {
                    let held = self.streams.entry(*stream).or_default();
                    held.entries = held.entries.split_off(&(through + 1));
                    held.last = held.last.max(*through);
                }
                Record::Drop { stream } => {
                    self.streams.remove(stream);
                }
            }
        }
    }
}

/// Everything that the log reports, as a model.
pub(super) fn contents(log: &Log) -> Result<Model> {
    let mut model = Model::default();
    for (stream, info) in log.streams() {
        assert_eq!(log.stream(stream).as_ref(), Some(&info));
        let entries: BTreeMap<u64, Bytes> = if info.first <= info.last {
            log.entries(stream, info.first, info.last + 1, u64::MAX)?.into_iter().collect()
        } else {
            BTreeMap::new()
        };
        let first = entries.keys().next().copied().unwrap_or(info.last + 1);
        assert_eq!(info.first, first, "first index of stream {stream}");
        model.streams.insert(stream, ModelStream { last: info.last, state: info.state, entries });
    }
    Ok(model)
}

/// Random appends that a few streams could make.
pub(super) struct Workload {
    rng: ChaCha8Rng,
    stamp: u64,
}

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), stamp: 0 }
    }

    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }

    /// 1 to `most`.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        self.rng.random_range(1..=most)
    }

    pub(super) fn next(&mut self, model: &Model) -> Vec<Record> {
        let mut after = model.clone();
        let mut records = Vec::new();
        for _ in 0..self.rng.random_range(1..=4) {
            let record = self.record(&after);
            after.apply(std::slice::from_ref(&record));
            records.push(record);
        }
        records
    }

    fn bytes(&mut self, most: usize) -> Bytes {
        // Every payload differs, so that an old one in the wrong place is seen.
        self.stamp += 1;
        let mut bytes = self.stamp.to_le_bytes().to_vec();
        let len = match self.rng.random_range(0..100) {
            0 => 20 << 10,
            1..20 => 0,
            _ => self.rng.random_range(0..most),
        };
        bytes.resize(8 + len, self.rng.random());
        bytes.into()
    }

    fn record(&mut self, model: &Model) -> Record {
        let stream = *[0, 1, 2, 3, 1 << 40].choose(&mut self.rng).unwrap();
        let held = model.streams.get(&stream).cloned().unwrap_or_default();
        let first = held.entries.keys().next().copied().unwrap_or(held.last + 1);
        match self.rng.random_range(0..100) {
            0..10 => Record::State { stream, blob: self.bytes(64).slice(..8) },
            // Now and then past the end, as a snapshot does.
            10..35 => {
                Record::TruncatePrefix { stream, through: self.rng.random_range(first - 1..=held.last + 1) }
            }
            35..38 => Record::Drop { stream },
            38..50 => Record::Entry {
                stream,
                index: self.rng.random_range(first.min(held.last)..=held.last).max(1),
                payload: self.bytes(900),
            },
            50..55 if stream == ENGINE_STREAM => Record::Entry {
                stream,
                index: held.last + self.rng.random_range(1..5),
                payload: self.bytes(900),
            },
            _ => Record::Entry { stream, index: held.last + 1, payload: self.bytes(900) },
        }
    }
}
