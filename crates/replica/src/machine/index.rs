//! The machine of a partition of a global secondary index. It applies the rows that the propagators of the
//! table's partitions send.
//!
//! *Invariant: a row only moves forward.* Each partition of the table sends its changes in the order of its
//! log, and sends the next ones only when the earlier ones are applied here. The index partition keeps a
//! watermark for each sender. Rows at or below the watermark were applied before (and perhaps replaced by
//! later changes since), so they are ignored. A late or repeated command of a leader that was deposed long
//! ago changes nothing. Therefore no tombstones are needed.

use super::change_log::{Position, watermark, watermark_key};
use super::table::owns;
use crate::store::{EvalCtx, Evaluation, Machine, ProposeError};
use prost::Message as _;
use torc_cluster::{GroupId, Partition};
use torc_engine::WriteBatch;
use torc_wire::table::IndexCommand;

/// The machine of one partition. `forgetful` plants a bug: watermarks are not looked at.
pub fn machine(partition: Partition, forgetful: bool) -> Box<dyn Machine> {
    Box::new(IndexMachine { partition, forgetful })
}

struct IndexMachine {
    partition: Partition,
    forgetful: bool,
}

impl Machine for IndexMachine {
    fn evaluate(&mut self, context: &mut EvalCtx<'_>, command: &[u8]) -> Result<Evaluation, ProposeError> {
        let invalid = |e: String| ProposeError::Invalid(e);
        let command =
            IndexCommand::decode(command).map_err(|e| invalid(format!("unreadable command: {e}")))?;
        if !command.rows.iter().all(|row| owns(&self.partition, &row.key)) {
            return Err(invalid("a key is not in this partition".into()));
        }
        let key = watermark_key(&self.partition, GroupId(command.source));
        let stored = context.get(&key)?;
        let passed = match &stored {
            Some(bytes) => watermark(bytes).ok_or_else(|| invalid("a watermark is damaged".into()))?,
            None => Position(0),
        };
        if Position(command.through) <= passed && !self.forgetful {
            return Ok(Evaluation::default());
        }
        let mut batch = WriteBatch::new();
        for row in command.rows.iter().filter(|row| Position(row.position) > passed || self.forgetful) {
            match &row.record {
                Some(record) => batch.put(&row.key, record),
                None => batch.delete(&row.key),
            }
        }
        batch.put(&key, &command.through.max(passed.0).to_be_bytes());
        Ok(Evaluation { batch: Some(batch), ..Evaluation::default() })
    }
}
