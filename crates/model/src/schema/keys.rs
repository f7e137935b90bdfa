//! An item's keys against a schema: DynamoDB's checks and their texts, and the encoding for storage.

use super::{IndexRef, KeyAttribute, KeyDefinition, ScalarType, TableSchema};
use crate::expr::{DocumentPath, check_key_paths};
use crate::key::encode_element;
use crate::limits::{MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES};
use crate::{ApiError, AttributeValue, Item};

/// An encoded primary key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncodedKey {
    /// The partition key; what the token is made of.
    pub partition: Vec<u8>,
    /// The sort key; empty for a table without one.
    pub sort: Vec<u8>,
}

/// The key attributes of an item, by name.
pub type PrimaryKey = Item;

/// The key given to a read, update or delete does not have the table's shape.
fn does_not_match() -> ApiError {
    ApiError::validation("The provided key element does not match the schema")
}

/// Length and kind of a value whose length is limited.
fn measured(value: &AttributeValue) -> Option<(usize, &'static str)> {
    match value {
        AttributeValue::S(text) => Some((text.len(), "string")),
        AttributeValue::B(bytes) => Some((bytes.len(), "binary")),
        _ => None,
    }
}

fn empty_value(kind: &str) -> String {
    format!("The AttributeValue for a key attribute cannot contain an empty {kind} value.")
}

/// A primary key value that is empty or too long.
fn check_value(attribute: &KeyAttribute, value: &AttributeValue, is_sort: bool) -> Result<(), ApiError> {
    let Some((length, kind)) = measured(value) else { return Ok(()) };
    if length == 0 {
        return Err(ApiError::validation(format!(
            "One or more parameter values are not valid. {} Key: {}",
            empty_value(kind),
            attribute.name
        )));
    }
    if is_sort && length > MAX_SORT_KEY_BYTES {
        return Err(ApiError::invalid_parameter(format!(
            "Aggregated size of all range keys has exceeded the size limit of {MAX_SORT_KEY_BYTES} bytes"
        )));
    }
    if !is_sort && length > MAX_PARTITION_KEY_BYTES {
        // The missing space is DynamoDB's.
        return Err(ApiError::invalid_parameter(format!(
            "Size of hashkey has exceeded the maximum size limit of{MAX_PARTITION_KEY_BYTES} bytes"
        )));
    }
    Ok(())
}

/// How the value of an index key came to be, which decides the words of its refusal.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    /// It is part of an item that is put, or of `AttributeUpdates`.
    Item,
    /// An update expression made it.
    Update,
}

/// An index key value of the wrong type, empty or too long.
fn check_index_value(
    attribute: &KeyAttribute,
    value: &AttributeValue,
    is_sort: bool,
    index: &str,
    origin: Origin,
) -> Result<(), ApiError> {
    let name = &attribute.name;
    if !attribute.kind.admits(value) {
        return Err(match origin {
            Origin::Item => ApiError::invalid_parameter(format!(
                "Type mismatch for Index Key {name} Expected: {} Actual: {} IndexName: {index}",
                attribute.kind.name(),
                value.type_name()
            )),
            Origin::Update => ApiError::validation(
                "The update expression attempted to update the secondary index key to unsupported type",
            ),
        });
    }
    let Some((length, kind)) = measured(value) else { return Ok(()) };
    if length == 0 {
        let fault = empty_value(kind);
        return Err(ApiError::validation(match origin {
            Origin::Item => format!(
                "One or more parameter values are not valid. A value specified for a secondary index key is not supported. {fault} IndexName: {index}, IndexKey: {name}"
            ),
            Origin::Update => format!(
                "One or more parameter values are not valid. The update expression attempted to update a secondary index key to a value that is not supported. {fault}"
            ),
        }));
    }
    let limit = if is_sort { MAX_SORT_KEY_BYTES } else { MAX_PARTITION_KEY_BYTES };
    if length > limit {
        return Err(match origin {
            Origin::Item => ApiError::invalid_parameter(format!(
                "Size limit exceeded for Index Key {name} Actual Size: {length} bytes Max Size: {limit} bytes IndexName: {index}"
            )),
            Origin::Update => ApiError::validation(
                "The update expression attempted to update the secondary index key beyond allowed size limits",
            ),
        });
    }
    Ok(())
}

impl KeyDefinition {
    /// Each attribute, and whether it is a sort attribute.
    fn roles(&self) -> impl Iterator<Item = (&KeyAttribute, bool)> {
        self.partition.iter().map(|a| (a, false)).chain(self.sort.iter().map(|a| (a, true)))
    }

    /// Checks the key attributes of an item to be put.
    ///
    /// # Errors
    /// `ValidationException` for one that is missing, of the wrong type, empty or too long.
    pub fn check_item(&self, item: &Item) -> Result<(), ApiError> {
        for attribute in self.attributes() {
            let Some(value) = item.get(&attribute.name) else {
                return Err(ApiError::invalid_parameter(format!(
                    "Missing the key {} in the item",
                    attribute.name
                )));
            };
            if !attribute.kind.admits(value) {
                return Err(ApiError::invalid_parameter(format!(
                    "Type mismatch for key {} expected: {} actual: {}",
                    attribute.name,
                    attribute.kind.name(),
                    value.type_name()
                )));
            }
        }
        self.check_values(item)
    }

    /// Checks a key that was given alone, to read, update or delete.
    ///
    /// # Errors
    /// `ValidationException` for attributes too many or too few, or one of the wrong type, empty or too long.
    pub fn check_key(&self, key: &Item) -> Result<(), ApiError> {
        let fits = |attribute: &KeyAttribute| {
            key.get(&attribute.name).is_some_and(|value| attribute.kind.admits(value))
        };
        if key.len() != self.len() || !self.attributes().all(fits) {
            return Err(does_not_match());
        }
        self.check_values(key)
    }

    fn check_values(&self, item: &Item) -> Result<(), ApiError> {
        for (attribute, is_sort) in self.roles() {
            if let Some(value) = item.get(&attribute.name) {
                check_value(attribute, value, is_sort)?;
            }
        }
        Ok(())
    }

    /// Whether `item` has all attributes of the key, of their types, neither empty nor too long.
    pub fn fits(&self, item: &Item) -> bool {
        self.roles().all(|(attribute, is_sort)| {
            let limit = if is_sort { MAX_SORT_KEY_BYTES } else { MAX_PARTITION_KEY_BYTES };
            item.get(&attribute.name).is_some_and(|value| {
                attribute.kind.admits(value)
                    && measured(value).is_none_or(|(length, _)| (1..=limit).contains(&length))
            })
        })
    }

    /// The encoding of the key attributes in `item`; others are passed over.
    ///
    /// # Errors
    /// `ValidationException` if the key was not checked and does not fit.
    pub fn encode(&self, item: &Item) -> Result<EncodedKey, ApiError> {
        let encode = |attributes: &[KeyAttribute]| {
            let mut out = Vec::with_capacity(32);
            for attribute in attributes {
                let value = item.get(&attribute.name).ok_or_else(does_not_match)?;
                encode_element(value, &mut out).map_err(|_| does_not_match())?;
            }
            Ok::<_, ApiError>(out)
        };
        Ok(EncodedKey { partition: encode(&self.partition)?, sort: encode(&self.sort)? })
    }

    /// The key attributes of `item` alone.
    pub fn of_item(&self, item: &Item) -> PrimaryKey {
        self.attributes()
            .filter_map(|attribute| item.get_key_value(&attribute.name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

impl TableSchema {
    /// Checks an item to be stored: its primary key, and the index keys that it has (an item without them is
    /// left out of the index).
    ///
    /// # Errors
    /// `ValidationException`, the primary key's first.
    pub fn check_item_keys(&self, item: &Item) -> Result<(), ApiError> {
        self.key.check_item(item)?;
        self.check_index_keys(item)
    }

    /// Checks the index keys that an item to be stored has.
    ///
    /// # Errors
    /// `ValidationException` for one of the wrong type, empty or too long.
    pub fn check_index_keys(&self, item: &Item) -> Result<(), ApiError> {
        self.check_indexes(item, Origin::Item, |_| true)
    }

    /// Checks the index keys that an update changes, on the way from `before` to `after`. One that was wrong
    /// before the index was made does not stand in the way of other updates.
    ///
    /// # Errors
    /// As [`TableSchema::check_index_keys`], worded as for an update.
    pub fn check_updated_index_keys(
        &self,
        before: &Item,
        after: &Item,
        is_legacy: bool,
    ) -> Result<(), ApiError> {
        // `AttributeUpdates` are no update expression, which the texts of an update speak of. No AWS document
        // settles their texts.
        let origin = if is_legacy { Origin::Item } else { Origin::Update };
        self.check_indexes(after, origin, |name| before.get(name) != after.get(name))
    }

    /// Refuses document paths that look inside a key attribute of the table or of one of its indexes: keys
    /// are scalars.
    ///
    /// # Errors
    /// `ValidationException` that names the first such attribute.
    pub fn check_paths<'p>(&self, paths: impl IntoIterator<Item = &'p DocumentPath>) -> Result<(), ApiError> {
        let table: Vec<&str> = self.key.attributes().map(|attribute| attribute.name.as_str()).collect();
        let indexes = self.indexes().flat_map(|index| index.key().attributes());
        let indexes: Vec<&str> = indexes.map(|attribute| attribute.name.as_str()).collect();
        check_key_paths(paths, &table, &indexes)
    }

    fn check_indexes(
        &self,
        item: &Item,
        origin: Origin,
        concerns: impl Fn(&str) -> bool,
    ) -> Result<(), ApiError> {
        // Of several indexes over one attribute, the first by name is blamed.
        let mut indexes: Vec<IndexRef<'_>> = self.indexes().filter(|index| !index.is_leaving()).collect();
        indexes.sort_unstable_by_key(|index| index.name());
        for index in indexes {
            for (attribute, is_sort) in index.key().roles() {
                // Those of the table's own key are looked at too: in the index they may be the sort key,
                // which is shorter.
                if !concerns(&attribute.name) {
                    continue;
                }
                if let Some(value) = item.get(&attribute.name) {
                    check_index_value(attribute, value, is_sort, index.name(), origin)?;
                }
            }
        }
        Ok(())
    }

    /// The key that a page ends with, `item` being the last one read: `LastEvaluatedKey`.
    pub fn continuation_key(&self, item: &Item, index: Option<IndexRef<'_>>) -> PrimaryKey {
        let attributes = self.continuation_attributes(index);
        attributes
            .into_iter()
            .filter_map(|(name, _)| item.get(&name).cloned().map(|value| (name, value)))
            .collect()
    }

    /// The key attributes that a page of a query or scan ends with: the table's, and the index's if one is
    /// read.
    pub fn continuation_attributes(&self, index: Option<IndexRef<'_>>) -> Vec<(String, ScalarType)> {
        let mut out: Vec<(String, ScalarType)> = Vec::new();
        let index = index.into_iter().flat_map(|index| index.key().attributes());
        for attribute in self.key.attributes().chain(index) {
            if !out.iter().any(|(name, _)| *name == attribute.name) {
                out.push((attribute.name.clone(), attribute.kind));
            }
        }
        out
    }
}
