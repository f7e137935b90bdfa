//! The test's state machine: keys that hold lists of numbers, to which commands append.

use bytes::Bytes;
use torc_cluster::GroupId;
use torc_engine::{Engine, WriteBatch};
use torc_replica::store::{EvalCtx, Evaluation, KeyRange, Machine, ProposeError};

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Append this number; answers the list before.
    Append(u64),
    /// Append this number if the list has this length; answers the list before, and writes nothing if it has
    /// not.
    AppendIf(u64, u64),
    /// Answers the list.
    Read,
}

impl Command {
    pub fn encode(self, key: u8) -> Bytes {
        let (op, a, b) = match self {
            Command::Append(id) => (0, id, 0),
            Command::AppendIf(id, len) => (1, id, len),
            Command::Read => (2, 0, 0),
        };
        let mut out = vec![op, key];
        out.extend_from_slice(&a.to_le_bytes());
        out.extend_from_slice(&b.to_le_bytes());
        out.into()
    }

    fn decode(bytes: &[u8]) -> (Self, u8) {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let command = match bytes[0] {
            0 => Command::Append(number(2)),
            1 => Command::AppendIf(number(2), number(10)),
            _ => Command::Read,
        };
        (command, bytes[1])
    }
}

pub fn key(group: GroupId, key: u8) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&group.0.to_be_bytes());
    out.push(key);
    out
}

pub fn range(group: GroupId) -> KeyRange {
    let bound = |g: u64| {
        let mut out = vec![1];
        out.extend_from_slice(&g.to_be_bytes());
        Bytes::from(out)
    };
    KeyRange { start: bound(group.0), end: bound(group.0 + 1) }
}

pub fn list(bytes: Option<&[u8]>) -> Vec<u64> {
    bytes.unwrap_or_default().chunks(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect()
}

pub struct Lists {
    pub group: GroupId,
}

impl Machine for Lists {
    fn evaluate(&mut self, context: &mut EvalCtx<'_>, command: &[u8]) -> Result<Evaluation, ProposeError> {
        let (command, k) = Command::decode(command);
        let key = key(self.group, k);
        let before = context.get(&key)?.unwrap_or_default();
        let append = match command {
            Command::Append(id) => Some(id),
            Command::AppendIf(id, len) => (before.len() as u64 / 8 == len).then_some(id),
            Command::Read => None,
        };
        let batch = append.map(|id| {
            let mut after = before.to_vec();
            after.extend_from_slice(&id.to_le_bytes());
            let mut batch = WriteBatch::new();
            batch.put(&key, &after);
            batch
        });
        Ok(Evaluation { batch, response: before })
    }
}

/// All of a group's data, for comparing replicas.
pub fn contents(engine: &Engine, group: GroupId) -> Vec<(Bytes, Bytes)> {
    let r = range(group);
    engine.scan(&r.start, &r.end, false, None).map(|i| i.unwrap()).map(|i| (i.key, i.value)).collect()
}
