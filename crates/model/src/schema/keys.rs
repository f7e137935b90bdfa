//! An item's keys against a schema: DynamoDB's checks and their texts, and the encoding for storage.

use super::{IndexRef, KeyAttribute, KeyDefinition, ScalarType, TableSchema};
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

/// An empty key value, or one that is too long. `index` is the index whose key it is.
fn check_value(
    attribute: &KeyAttribute,
    value: &AttributeValue,
    is_sort: bool,
    index: Option<&str>,
) -> Result<(), ApiError> {
    let (length, kind) = match value {
        AttributeValue::S(text) => (text.len(), "string"),
        AttributeValue::B(bytes) => (bytes.len(), "binary"),
        _ => return Ok(()),
    };
    if length == 0 {
        let fault = format!("The AttributeValue for a key attribute cannot contain an empty {kind} value.");
        return Err(ApiError::validation(match index {
            None => format!("One or more parameter values are not valid. {fault} Key: {}", attribute.name),
            Some(index) => format!(
                "One or more parameter values are not valid. A value specified for a secondary index key is not supported. {fault} IndexName: {index}, IndexKey: {}",
                attribute.name
            ),
        }));
    }
    let (limit, which) =
        if is_sort { (MAX_SORT_KEY_BYTES, "rangekey") } else { (MAX_PARTITION_KEY_BYTES, "hashkey") };
    if length > limit {
        return Err(ApiError::invalid_parameter(match index {
            // The missing space is DynamoDB's.
            None => format!("Size of {which} has exceeded the maximum size limit of{limit} bytes"),
            Some(index) => format!(
                "Size of {which} has exceeded the maximum size limit of {limit} bytes IndexName: {index}, IndexKey: {}",
                attribute.name
            ),
        }));
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
                check_value(attribute, value, is_sort, None)?;
            }
        }
        Ok(())
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
    /// Checks an item to be stored: its primary key, and the index keys that it has (an item without them is left out of the index).
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
        for index in self.indexes() {
            for (attribute, is_sort) in index.key().roles() {
                if self.key.contains(&attribute.name) {
                    continue;
                }
                let Some(value) = item.get(&attribute.name) else { continue };
                if !attribute.kind.admits(value) {
                    return Err(ApiError::invalid_parameter(format!(
                        "Type mismatch for Index Key {} Expected: {} Actual: {} IndexName: {}",
                        attribute.name,
                        attribute.kind.name(),
                        value.type_name(),
                        index.name()
                    )));
                }
                check_value(attribute, value, is_sort, Some(index.name()))?;
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

    /// The key attributes that a page of a query or scan ends with: the table's, and the index's if one is read.
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
