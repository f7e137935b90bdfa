//! The key under which the engine keeps an item: `space | table | token | partition key | sort key`.

/// The spaces of a node's one key space: the first byte of every engine key.
pub mod space {
    /// Cluster metadata applied from the `meta` group.
    pub const META: u8 = 1;
    /// What concerns this node only: identity, consensus hard state, checkpoints of background work.
    pub const LOCAL: u8 = 2;
    /// Items of tables.
    pub const TABLE: u8 = 3;
    /// Rows of secondary indexes.
    pub const INDEX: u8 = 4;
    /// Change records.
    pub const STREAM: u8 = 5;
    /// Values of buckets.
    pub const BUCKET: u8 = 6;
    /// Hints held for other nodes.
    pub const HINT: u8 = 7;
    /// Nodes of Merkle trees.
    pub const MERKLE: u8 = 8;
    /// Per-group state applied with the data: applied position, ranges, watermarks.
    pub const REPLICA: u8 = 9;
}

/// Bytes before the partition key: space, table id, token.
pub const ITEM_KEY_HEADER_BYTES: usize = 1 + 8 + 8;

/// The parts of an item's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemKey<'a> {
    /// One of [`space`].
    pub space: u8,
    /// The table's id, or the index's.
    pub table_id: u64,
    /// The token of the partition key.
    pub token: u64,
    /// The encoded partition key followed by the encoded sort key; [`super::element_length`] parts them.
    pub primary: &'a [u8],
}

/// The engine key of an item. `pk` and `sk` are encoded by [`super::encode_element`]; `sk` is empty for a
/// table without a sort key.
pub fn item_key(space: u8, table_id: u64, token: u64, pk: &[u8], sk: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(ITEM_KEY_HEADER_BYTES + pk.len() + sk.len());
    key.push(space);
    key.extend_from_slice(&table_id.to_be_bytes());
    key.extend_from_slice(&token.to_be_bytes());
    key.extend_from_slice(pk);
    key.extend_from_slice(sk);
    key
}

/// What all items of one partition key begin with; prefix of [`super::sort_range`].
pub fn partition_prefix(space: u8, table_id: u64, token: u64, pk: &[u8]) -> Vec<u8> {
    item_key(space, table_id, token, pk, &[])
}

/// What all items of a table begin with.
pub fn table_prefix(space: u8, table_id: u64) -> [u8; 9] {
    let mut prefix = [space; 9];
    prefix[1..].copy_from_slice(&table_id.to_be_bytes());
    prefix
}

/// What all items at or above `token` in a table are at or above: the bound of a partition's range.
pub fn token_prefix(space: u8, table_id: u64, token: u64) -> [u8; ITEM_KEY_HEADER_BYTES] {
    let mut prefix = [space; ITEM_KEY_HEADER_BYTES];
    prefix[1..9].copy_from_slice(&table_id.to_be_bytes());
    prefix[9..].copy_from_slice(&token.to_be_bytes());
    prefix
}

/// Splits an engine key into its parts; `None` if it is too short to be an item's.
pub fn decode_item_key(key: &[u8]) -> Option<ItemKey<'_>> {
    let (&space, rest) = key.split_first()?;
    let (table_id, rest) = rest.split_first_chunk::<8>()?;
    let (token, primary) = rest.split_first_chunk::<8>()?;
    Some(ItemKey {
        space,
        table_id: u64::from_be_bytes(*table_id),
        token: u64::from_be_bytes(*token),
        primary,
    })
}

/// What stands before the partition key in the rows of a local index: the index's ordinal in its table, 1
/// to 5. Local indexes share table id and token with their items, so that they lie in the same partition; the
/// ordinal tells them apart.
pub fn local_index_prefix(ordinal: u8, pk: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(1 + pk.len());
    prefix.push(ordinal);
    prefix.extend_from_slice(pk);
    prefix
}

/// The ordinal of the local index that a key of [`space::INDEX`] is a row of.
pub fn local_index_ordinal(key: &[u8]) -> Option<u8> {
    key.get(ITEM_KEY_HEADER_BYTES).copied()
}
