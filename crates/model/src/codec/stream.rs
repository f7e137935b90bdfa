//! Stored bytes to JSON without an item in between: the hot path of `GetItem`, `Query` and `Scan`.

use super::{CodecError, Input, MAX_STORED_NESTING, tag};
use crate::json::{write_base64, write_string_bytes};

/// Appends the JSON of stored attributes. On an error `out` is as it was.
///
/// # Errors
/// On anything but what [`super::encode_item`] writes. Strings are not checked for UTF-8 again: they were
/// when they were stored, and blocks carry checksums.
pub fn item_bytes_to_json(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    whole(bytes, out, |input, out| input.map_to_json(0, out))
}

/// Appends the JSON of one stored value. On an error `out` is as it was.
///
/// # Errors
/// As [`item_bytes_to_json`].
pub fn value_bytes_to_json(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    whole(bytes, out, |input, out| input.value_to_json(0, out))
}

/// The stored bytes of one top-level attribute's value, found without decoding the others.
///
/// # Errors
/// When the attributes before it are malformed.
pub fn find_attribute<'a>(bytes: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, CodecError> {
    let mut input = Input { bytes };
    for _ in 0..input.count()? {
        let found = input.blob()?;
        // Names are in order: past it, it is not there.
        if found > name.as_bytes() {
            return Ok(None);
        }
        let start = input.bytes;
        input.skip_value(0)?;
        if found == name.as_bytes() {
            let length = start.len() - input.bytes.len();
            return Ok(start.get(..length));
        }
    }
    Ok(None)
}

fn whole(
    bytes: &[u8],
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Input<'_>, &mut Vec<u8>) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let start = out.len();
    let mut input = Input { bytes };
    let result = write(&mut input, out).and_then(|()| input.end());
    if result.is_err() {
        out.truncate(start);
    }
    result
}

impl Input<'_> {
    fn map_to_json(&mut self, nesting: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.push(b'{');
        for index in 0..self.count()? {
            if index > 0 {
                out.push(b',');
            }
            write_string_bytes(self.blob()?, out);
            out.push(b':');
            self.value_to_json(nesting, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn list_to_json(
        &mut self,
        out: &mut Vec<u8>,
        mut one: impl FnMut(&mut Self, &mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        out.push(b'[');
        for index in 0..self.count()? {
            if index > 0 {
                out.push(b',');
            }
            one(self, out)?;
        }
        out.push(b']');
        Ok(())
    }

    fn number_to_json(&mut self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let number = self.number()?;
        out.push(b'"');
        number.write_to(out);
        out.push(b'"');
        Ok(())
    }

    fn value_to_json(&mut self, nesting: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let tag = self.byte()?;
        let open: &[u8] = match tag {
            tag::STRING => b"{\"S\":",
            tag::NUMBER => b"{\"N\":",
            tag::BINARY => b"{\"B\":",
            tag::FALSE => b"{\"BOOL\":false",
            tag::TRUE => b"{\"BOOL\":true",
            tag::NULL => b"{\"NULL\":true",
            tag::MAP => b"{\"M\":",
            tag::LIST => b"{\"L\":",
            tag::STRING_SET => b"{\"SS\":",
            tag::NUMBER_SET => b"{\"NS\":",
            tag::BINARY_SET => b"{\"BS\":",
            unknown => return Err(CodecError::UnknownTag(unknown)),
        };
        out.extend_from_slice(open);
        let string = |input: &mut Self, out: &mut Vec<u8>| {
            write_string_bytes(input.blob()?, out);
            Ok(())
        };
        let binary = |input: &mut Self, out: &mut Vec<u8>| {
            write_base64(input.blob()?, out);
            Ok(())
        };
        match tag {
            tag::STRING => string(self, out)?,
            tag::NUMBER => self.number_to_json(out)?,
            tag::BINARY => binary(self, out)?,
            tag::MAP | tag::LIST if nesting >= MAX_STORED_NESTING => {
                return Err(CodecError::Malformed("nested too deep"));
            }
            tag::MAP => self.map_to_json(nesting + 1, out)?,
            tag::LIST => self.list_to_json(out, |input, out| input.value_to_json(nesting + 1, out))?,
            tag::STRING_SET => self.list_to_json(out, string)?,
            tag::NUMBER_SET => self.list_to_json(out, Input::number_to_json)?,
            tag::BINARY_SET => self.list_to_json(out, binary)?,
            _ => {}
        }
        out.push(b'}');
        Ok(())
    }
}
