//! What a partition's machine knows about its change log while it leads, and how it evaluates the steps of
//! consumers.
//!
//! Only the leader evaluates. What it has evaluated is either committed in order or lost together with its
//! leadership. So the machine reads this state once per term and updates it with each evaluation. The result
//! is what the log will hold.

use super::{
    Backfill, ChangeKind, ChangeRecord, Consumer, Position, change_key, consumer_key, consumers_range,
};
use crate::store::EvalCtx;
use bytes::Bytes;
use torc_cluster::Partition;
use torc_engine::WriteBatch;
use torc_model::codec;
use torc_model::schema::{GlobalIndex, IndexRef, TableSchema};
use torc_wire::table::{LogAction, LogCommand};

/// Items looked at in one step of a backfill.
const BACKFILL_ITEMS: usize = 256;
/// Bytes of items looked at in one step, about: the partition evaluates nothing else meanwhile.
const BACKFILL_BYTES: usize = 128 << 10;
/// Items read at a time.
const BACKFILL_READ: usize = 16;

/// The change log of a partition, as its leader knows it.
#[derive(Default)]
pub(in crate::machine) struct ChangeLog {
    /// The term in which the other fields were read; 0 before that.
    term: u64,
    consumers: Vec<Consumer>,
    /// Everything before this is trimmed.
    trimmed: Position,
    /// The entry that positions are given in, and the next number in it.
    entry: (u64, u64),
}

impl ChangeLog {
    /// To be called before each evaluation.
    ///
    /// # Errors
    /// What is stored can't be read.
    pub fn refresh(&mut self, context: &mut EvalCtx<'_>, partition: &Partition) -> Result<(), String> {
        if self.term == context.term() {
            return Ok(());
        }
        let (start, end) = consumers_range(partition);
        let rows = context.scan(&start, &end, usize::MAX).map_err(|e| e.to_string())?;
        self.consumers =
            rows.iter().map(|row| Consumer::of_row(&row.key, &row.value)).collect::<Result<_, _>>()?;
        self.trimmed = Position(0);
        self.term = context.term();
        Ok(())
    }

    /// What was read is void.
    pub fn forget(&mut self) {
        self.term = 0;
    }

    /// Whether writes are logged.
    pub fn is_on(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// The position of the next write.
    ///
    /// # Errors
    /// The entry has more writes than positions.
    pub fn next_position(&mut self, context: &EvalCtx<'_>) -> Result<Position, String> {
        if self.entry.0 != context.index() {
            self.entry = (context.index(), 0);
        }
        let position = Position::new(self.entry.0, self.entry.1).ok_or("too many writes in one entry")?;
        self.entry.1 += 1;
        Ok(position)
    }

    /// Carries out a step of a consumer.
    ///
    /// # Errors
    /// What is stored can't be read, or the step makes no sense.
    pub fn step(
        &mut self,
        context: &mut EvalCtx<'_>,
        partition: &Partition,
        schema: Option<&TableSchema>,
        command: &LogCommand,
        batch: &mut WriteBatch,
    ) -> Result<(), String> {
        let id = command.consumer;
        let at = self.consumers.iter().position(|consumer| consumer.id == id);
        match (command.action, at) {
            // The index may have been deleted meanwhile. A consumer for it would keep records until it is
            // removed.
            (Some(LogAction::Register(_)), None) if index_of(schema, id).is_some() => {
                let checkpoint = self.next_position(context)?;
                let consumer = Consumer { id, checkpoint, backfill: Backfill::UnderWay(Bytes::new()) };
                batch.put(&consumer_key(partition, id), &consumer.encode());
                self.consumers.push(consumer);
            }
            (Some(LogAction::Backfill(_)), Some(at)) => {
                let Some((schema, index)) = index_of(schema, id) else { return Ok(()) };
                self.backfill(context, partition, schema, index, at, batch)?;
            }
            (Some(LogAction::Checkpoint(position)), Some(at)) => {
                let Some(consumer) = self.consumers.get_mut(at) else { return Ok(()) };
                if Position(position) > consumer.checkpoint {
                    consumer.checkpoint = Position(position);
                    batch.put(&consumer_key(partition, id), &consumer.encode());
                    self.trim(context, partition, batch);
                }
            }
            (Some(LogAction::Remove(_)), Some(at)) => {
                self.consumers.remove(at);
                batch.delete(&consumer_key(partition, id));
                self.trim(context, partition, batch);
            }
            // A repeated report, or a report for a consumer that was already removed: ignored.
            (Some(_), _) => {}
            (None, _) => return Err("a step that this version does not know".into()),
        }
        Ok(())
    }

    /// Removes what every consumer has passed; all of it when there is none.
    fn trim(&mut self, context: &EvalCtx<'_>, partition: &Partition, batch: &mut WriteBatch) {
        let passed = self.consumers.iter().map(|consumer| consumer.checkpoint).min();
        // Without consumers everything that was logged so far, this entry's writes too.
        let passed =
            passed.or_else(|| Position::new(context.index().saturating_add(1), 0)).unwrap_or_default();
        if passed >= self.trimmed {
            let (start, end) = (change_key(partition, self.trimmed), change_key(partition, passed.next()));
            batch.delete_range(&start, &end);
            self.trimmed = passed.next();
        }
    }

    /// Logs the next few items for a new index. They go through the log like any change: so a row of the
    /// backfill and a change of the same item reach the index in the order in which they are in the log, and
    /// neither can overtake the other.
    fn backfill(
        &mut self,
        context: &mut EvalCtx<'_>,
        partition: &Partition,
        schema: &TableSchema,
        index: &GlobalIndex,
        at: usize,
        batch: &mut WriteBatch,
    ) -> Result<(), String> {
        let Some(Backfill::UnderWay(cursor)) = self.consumers.get(at).map(|c| c.backfill.clone()) else {
            return Ok(());
        };
        let keys = super::super::table::items(partition);
        let (mut cursor, mut looked_at, mut bytes) = (cursor, 0, 0);
        let done = loop {
            let start = if cursor.is_empty() { keys.start.clone() } else { after(&cursor) };
            let rows = context.scan(&start, &keys.end, BACKFILL_READ).map_err(|e| e.to_string())?;
            for row in &rows {
                bytes += row.value.len();
                self.backfill_item(context, partition, (schema, index), &row.key, &row.value, batch)?;
            }
            looked_at += rows.len();
            if let Some(last) = rows.last() {
                cursor = last.key.clone();
            }
            if rows.len() < BACKFILL_READ {
                break true;
            }
            if looked_at >= BACKFILL_ITEMS || bytes >= BACKFILL_BYTES {
                break false;
            }
        };
        let backfill = if done {
            // The record has its own position, above that of every record before. Once this position is
            // passed, the backfill is complete.
            let last = self.next_position(context)?;
            batch.put(&change_key(partition, last), &end_of_backfill(index.id).encode());
            Backfill::Logged(last)
        } else {
            Backfill::UnderWay(cursor)
        };
        if let Some(consumer) = self.consumers.get_mut(at) {
            consumer.backfill = backfill;
            batch.put(&consumer_key(partition, consumer.id), &consumer.encode());
        }
        Ok(())
    }

    /// Items without the index's key, or with a key of the wrong type, are skipped.
    fn backfill_item(
        &mut self,
        context: &EvalCtx<'_>,
        partition: &Partition,
        (schema, index): (&TableSchema, &GlobalIndex),
        key: &[u8],
        record: &[u8],
        batch: &mut WriteBatch,
    ) -> Result<(), String> {
        let unreadable = |e: codec::CodecError| format!("unreadable record: {e}");
        let (header, item) = codec::decode_record(record).map_err(unreadable)?;
        if !index.admits(&item) {
            return Ok(());
        }
        let position = self.next_position(context)?;
        let mut image = Vec::new();
        let held = schema.project(IndexRef::Global(index), &item);
        codec::encode_record(header.timestamp, header.version, &held, &mut image);
        let change = ChangeRecord {
            kind: ChangeKind::Backfill(index.id),
            timestamp_ms: header.timestamp,
            key: Bytes::copy_from_slice(key.get(9..).unwrap_or_default()),
            old: None,
            new: Some(image.into()),
        };
        batch.put(&change_key(partition, position), &change.encode());
        Ok(())
    }
}

/// Marks the end of a backfill: a record of nothing.
fn end_of_backfill(index: u64) -> ChangeRecord {
    let kind = ChangeKind::Backfill(index);
    ChangeRecord { kind, timestamp_ms: 0, key: Bytes::new(), old: None, new: None }
}

fn index_of(schema: Option<&TableSchema>, id: u64) -> Option<(&TableSchema, &GlobalIndex)> {
    let schema = schema?;
    let found = schema.global_indexes.iter().find(|index| index.id == id);
    found.filter(|index| !IndexRef::Global(index).is_leaving()).map(|index| (schema, index))
}

/// The least key above.
fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}
