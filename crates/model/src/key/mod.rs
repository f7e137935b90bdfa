//! Keys as bytes whose order is DynamoDB's order; drawn in `docs/formats/key.md`.
//!
//! `element` encodes one key attribute, `storage` the whole key under which the engine keeps an item, `range`
//! the bounds of a sort-key condition, `token` the place of a partition key on the ring.
//!
//! Called by the replica, the coordinator and the api. Must stay as it is on disk: a change of encoding is a
//! change of format.

mod element;
mod range;
mod storage;
mod token;

pub use element::{KeyError, decode_element, element_length, encode_element, encode_elements};
pub use range::{KeyRange, SortCondition, prefix_successor, sort_range};
pub use storage::{
    ITEM_KEY_HEADER_BYTES, ItemKey, decode_item_key, item_key, local_index_ordinal, local_index_prefix,
    partition_prefix, space, table_prefix, token_prefix,
};
pub use token::{TokenHasher, token};

#[cfg(test)]
mod tests;
