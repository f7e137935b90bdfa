//! Stored bytes to values and attributes.

use super::{CodecError, Input, MAX_STORED_NESTING, tag};
use crate::{AttributeValue, Item};
use bytes::Bytes;

/// Reads the whole of `bytes` as a map of attributes.
///
/// # Errors
/// On anything but what [`super::encode_item`] writes.
pub fn decode_item(bytes: &[u8]) -> Result<Item, CodecError> {
    let mut input = Input { bytes };
    let item = input.item(0)?;
    input.end()?;
    Ok(item)
}

/// Reads the whole of `bytes` as one value.
///
/// # Errors
/// On anything but what [`super::encode_value`] writes.
pub fn decode_value(bytes: &[u8]) -> Result<AttributeValue, CodecError> {
    let mut input = Input { bytes };
    let value = input.value(0)?;
    input.end()?;
    Ok(value)
}

impl<'a> Input<'a> {
    fn text(&mut self) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.blob()?).map_err(|_| CodecError::NotUtf8)
    }

    fn item(&mut self, nesting: usize) -> Result<Item, CodecError> {
        let count = self.count()?;
        let mut previous: Option<&str> = None;
        let mut entries = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            let name = self.text()?;
            if previous.is_some_and(|before| before >= name) {
                return Err(CodecError::Malformed("attribute names out of order"));
            }
            previous = Some(name);
            entries.push((name.to_string(), self.value(nesting)?));
        }
        // Already in order: the map is built in one pass.
        Ok(entries.into_iter().collect())
    }

    fn members<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.count()?;
        let mut members = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            members.push(one(self)?);
        }
        Ok(members)
    }

    fn value(&mut self, nesting: usize) -> Result<AttributeValue, CodecError> {
        let tag = self.byte()?;
        if matches!(tag, tag::MAP | tag::LIST) && nesting >= MAX_STORED_NESTING {
            return Err(CodecError::Malformed("nested too deep"));
        }
        Ok(match tag {
            tag::STRING => AttributeValue::S(self.text()?.to_string()),
            tag::NUMBER => AttributeValue::N(self.number()?),
            tag::BINARY => AttributeValue::B(Bytes::copy_from_slice(self.blob()?)),
            tag::FALSE => AttributeValue::Bool(false),
            tag::TRUE => AttributeValue::Bool(true),
            tag::NULL => AttributeValue::Null,
            tag::MAP => AttributeValue::M(self.item(nesting + 1)?),
            tag::LIST => AttributeValue::L(self.members(|input| input.value(nesting + 1))?),
            tag::STRING_SET => AttributeValue::Ss(self.members(|input| Ok(input.text()?.to_string()))?),
            tag::NUMBER_SET => AttributeValue::Ns(self.members(Input::number)?),
            tag::BINARY_SET => {
                AttributeValue::Bs(self.members(|input| Ok(Bytes::copy_from_slice(input.blob()?)))?)
            }
            unknown => return Err(CodecError::UnknownTag(unknown)),
        })
    }
}
