//! The source of the rows of a query or scan: items, rows of a local index in the same partition, or rows of
//! a global index in partitions of its own.

use super::{Context, location_of};
use bytes::Bytes;
use torc_cluster::TableId;
use torc_coordinator::tables::{ItemLocation, TableRef};
use torc_model::key::{TokenHasher, item_key, local_index_prefix, partition_prefix, space};
use torc_model::schema::{IndexRef, LocalIndex};
use torc_model::{ApiError, ErrorCode, Item};

/// What is read.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub table: &'a TableRef,
    pub index: Option<IndexRef<'a>>,
}

impl Source<'_> {
    /// The number whose partitions hold the rows.
    pub fn id(&self) -> TableId {
        match self.index {
            Some(IndexRef::Global(index)) => TableId(index.id),
            Some(IndexRef::Local(_)) | None => self.table.id(),
        }
    }

    /// The key space of the rows.
    pub fn space(&self) -> u8 {
        if self.index.is_some() { space::INDEX } else { space::TABLE }
    }

    /// The local index that is read, if it is one.
    pub fn local(&self) -> Option<&LocalIndex> {
        match self.index {
            Some(IndexRef::Local(index)) => Some(index),
            Some(IndexRef::Global(_)) | None => None,
        }
    }

    /// Waits for a global index, where the node is set to; says whether the index then holds every write acknowledged before.
    pub async fn caught_up(&self, context: &Context<'_>) -> bool {
        match self.index {
            Some(IndexRef::Global(index)) if context.node.waits_for_indexes() => {
                context.tables.index_holds(&self.table.table, TableId(index.id)).await
            }
            _ => false,
        }
    }

    /// The number of the local index among those whose rows lie beside the items.
    pub fn ordinal(&self) -> Result<Option<u8>, ApiError> {
        self.local().map(ordinal).transpose()
    }

    /// What the rows of a partition key begin with.
    pub fn prefix(&self, token: u64, partition: &[u8]) -> Result<Vec<u8>, ApiError> {
        Ok(match self.local() {
            Some(index) => {
                let rows = local_index_prefix(ordinal(index)?, partition);
                partition_prefix(space::INDEX, self.id().0, token, &rows)
            }
            None => partition_prefix(self.space(), self.id().0, token, partition),
        })
    }

    /// Where the row of an item with these key attributes lies.
    pub fn location(&self, item: &Item) -> Result<ItemLocation, ApiError> {
        let base = self.table.schema.key.encode(item)?;
        let hasher = TokenHasher::new(self.table.token_key);
        let (token, key) = match self.index {
            None => return Ok(location_of(self.table, &base)),
            Some(IndexRef::Local(index)) => {
                let token = hasher.token(&base.partition);
                let tail = [index.key.encode(item)?.sort, base.sort].concat();
                let partition = local_index_prefix(ordinal(index)?, &base.partition);
                (token, item_key(space::INDEX, self.id().0, token, &partition, &tail))
            }
            Some(IndexRef::Global(index)) => {
                let own = index.key.encode(item)?;
                let token = hasher.token(&own.partition);
                let tail = [own.sort, base.partition, base.sort].concat();
                (token, item_key(space::INDEX, self.id().0, token, &own.partition, &tail))
            }
        };
        Ok(ItemLocation { token, key: Bytes::from(key) })
    }
}

fn ordinal(index: &LocalIndex) -> Result<u8, ApiError> {
    u8::try_from(index.id).map_err(|_| {
        ApiError::new(ErrorCode::InternalServerError, format!("index {} has no ordinal", index.name))
    })
}
