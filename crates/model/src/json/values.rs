//! Reads attribute values: items, keys and expression values.
//!
//! DynamoDB first deserialises the whole body (wrong JSON types are `SerializationException`s, at once) and
//! validates later, at a moment that differs between operations. So what is wrong with a well-formed value is
//! kept beside the values, for the operation's validator to report in its turn.
//!
//! The members of a set are sorted as they are read: numbers by value, strings by their UTF-8 bytes, binary
//! values by their bytes. AWS promises no order ("The order of the values within a set is not preserved":
//! developer guide, Supported data types and naming rules, Sets). Sorted is what DynamoDB Local gives back,
//! and what people's tests expect.

use super::reader::Reader;
use crate::limits::{MAX_ATTRIBUTE_NAME_BYTES, MAX_NESTING};
use crate::{ApiError, AttributeValue, Item, Number, NumberError};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A map of attribute values as it was sent, with the first thing wrong with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// The attributes. What stands for a wrong one is unspecified.
    pub items: Item,
    /// The first wrong attribute and what to say of it.
    pub problem: Option<(String, ApiError)>,
}

impl Values {
    /// The attributes, or the problem as it is told of items and keys.
    ///
    /// # Errors
    /// A `ValidationException` if one of the values is wrong.
    pub fn check(&self) -> Result<&Item, ApiError> {
        match &self.problem {
            Some((_, error)) => Err(error.clone()),
            None => Ok(&self.items),
        }
    }

    /// The attributes, or the problem worded as for the parameter `parameter` (`ExpressionAttributeValues`).
    ///
    /// # Errors
    /// A `ValidationException` naming the first wrong value.
    pub fn into_checked(self, parameter: &str) -> Result<Item, ApiError> {
        match &self.problem {
            Some((name, error)) => Err(ApiError::validation(format!(
                "{parameter} contains invalid value: {} for key {name}",
                error.message
            ))),
            None => Ok(self.items),
        }
    }
}

const EMPTY: &str = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
const SEVERAL: &str = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes";
const NESTED: &str = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit";
const NULL_MEMBER: &str = "The supplied Item contains a null AttributeValue";
const ATTRIBUTE_VALUE: &str = "com.amazonaws.dynamodb.v20120810.AttributeValue";

/// Reads an item or key: a map of attribute values that itself counts as a level of nesting.
///
/// # Errors
/// `SerializationException` when the JSON has another shape.
pub fn read_values(reader: &mut Reader<'_>) -> Result<Values, ApiError> {
    read_at_level(reader, 1)
}

/// Reads expression values: attribute values that stand alone, each nested as deep as an item may be.
///
/// # Errors
/// `SerializationException` when the JSON has another shape.
pub fn read_expression_values(reader: &mut Reader<'_>) -> Result<Values, ApiError> {
    read_at_level(reader, 0)
}

fn read_at_level(reader: &mut Reader<'_>, level: usize) -> Result<Values, ApiError> {
    let mut values = Values::default();
    let Values { items, problem } = &mut values;
    // Whether others than the first wrong one are wrong too.
    let mut others = false;
    reader.map(ATTRIBUTE_VALUE, |reader, name| {
        let mut context = Context { problem: None };
        // Those of expression values are placeholders, which have a check of their own.
        if level > 0 {
            context.name(&name);
        }
        let value = context.value(reader, level)?;
        if !others && problem.as_ref().is_some_and(|(wrong, _)| *wrong == name) {
            // It is there again, and the last one counts.
            *problem = None;
        }
        match (&problem, context.problem) {
            (None, Some(error)) => *problem = Some((name.to_string(), error)),
            (Some(_), Some(_)) => others = true,
            (_, None) => {}
        }
        items.insert(name.into_owned(), value);
        Ok(())
    })?;
    Ok(values)
}

/// Reads one attribute value that stands alone; the second part is what is wrong with it.
///
/// # Errors
/// `SerializationException` when the JSON has another shape.
pub(crate) fn read_value(reader: &mut Reader<'_>) -> Result<(AttributeValue, Option<ApiError>), ApiError> {
    let mut context = Context { problem: None };
    let value = context.value(reader, 0)?;
    Ok((value, context.problem))
}

/// The state of reading one value with all that it contains.
struct Context {
    problem: Option<ApiError>,
}

impl Context {
    fn report(&mut self, message: impl Into<String>) {
        if self.problem.is_none() {
            self.problem = Some(ApiError::validation(message));
        }
    }

    /// Checks the name of an attribute: developer guide, "Supported data types and naming rules".
    fn name(&mut self, name: &str) {
        match name.len() {
            0 => self.report("Empty attribute name"),
            1..=MAX_ATTRIBUTE_NAME_BYTES => {}
            _ => self.report("Attribute name is too large, must be less than 65536 bytes"),
        }
    }

    /// Reads a value that is inside `level` containers, the item included.
    fn value(&mut self, reader: &mut Reader<'_>, level: usize) -> Result<AttributeValue, ApiError> {
        if reader.null()? {
            self.report(if level <= 1 { EMPTY } else { NULL_MEMBER });
            return Ok(AttributeValue::Null);
        }
        let mut value: Option<AttributeValue> = None;
        let mut types = 0;
        let outer = self.problem.take();
        reader.structure("AttributeValue", |reader, name| {
            // The same type twice is one type: the last one counts, as for any repeated name.
            let again = value.as_ref().is_some_and(|seen| seen.type_name() == name);
            if again {
                self.problem = None;
            }
            let read = match name {
                "S" => AttributeValue::S(reader.string()?.into_owned()),
                "N" => AttributeValue::N(self.number(&reader.string()?)),
                "B" => AttributeValue::B(Bytes::from(reader.blob()?)),
                "BOOL" => AttributeValue::Bool(reader.boolean()?),
                "NULL" => {
                    if !reader.boolean()? {
                        self.report(
                            "One or more parameter values were invalid: Null attribute value types must have the value of true",
                        );
                    }
                    AttributeValue::Null
                }
                "M" | "L" if level >= MAX_NESTING => {
                    // Not read, so that depth costs nothing; its syntax is still checked.
                    self.report(NESTED);
                    reader.skip()?;
                    AttributeValue::Null
                }
                "M" => self.map(reader, level)?,
                "L" => self.list(reader, level)?,
                "SS" => self.strings(reader)?,
                "NS" => self.numbers(reader)?,
                "BS" => self.blobs(reader)?,
                _ => return reader.skip(),
            };
            types += usize::from(!again);
            value = Some(read);
            Ok(())
        })?;
        match types {
            0 => self.report(EMPTY),
            1 => {}
            _ => self.report(SEVERAL),
        }
        self.problem = outer.or(self.problem.take());
        Ok(value.unwrap_or(AttributeValue::Null))
    }

    fn number(&mut self, text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|error: NumberError| {
            self.report(error.to_string());
            Number::ZERO
        })
    }

    fn map(&mut self, reader: &mut Reader<'_>, level: usize) -> Result<AttributeValue, ApiError> {
        let mut map = BTreeMap::new();
        reader.map(ATTRIBUTE_VALUE, |reader, name| {
            self.name(&name);
            let value = self.value(reader, level + 1)?;
            map.insert(name.into_owned(), value);
            Ok(())
        })?;
        Ok(AttributeValue::M(map))
    }

    fn list(&mut self, reader: &mut Reader<'_>, level: usize) -> Result<AttributeValue, ApiError> {
        let mut list = Vec::new();
        reader.list(|reader| {
            list.push(self.value(reader, level + 1)?);
            Ok(())
        })?;
        Ok(AttributeValue::L(list))
    }

    fn strings(&mut self, reader: &mut Reader<'_>) -> Result<AttributeValue, ApiError> {
        let mut members = Vec::new();
        reader.list(|reader| {
            if reader.null()? {
                self.report(
                    "One or more parameter values were invalid: An string set may not have a null string as a member",
                );
            } else {
                members.push(reader.string()?.into_owned());
            }
            Ok(())
        })?;
        if members.is_empty() {
            self.report("One or more parameter values were invalid: An string set  may not be empty");
        } else if has_repeats(&members) {
            self.report(format!(
                "One or more parameter values were invalid: Input collection [{}] contains duplicates.",
                members.join(", ")
            ));
        }
        members.sort_unstable();
        Ok(AttributeValue::Ss(members))
    }

    fn numbers(&mut self, reader: &mut Reader<'_>) -> Result<AttributeValue, ApiError> {
        let mut members = Vec::new();
        reader.list(|reader| {
            if reader.null()? {
                self.report(
                    "One or more parameter values were invalid: An number set may not have a null string as a member",
                );
            } else {
                members.push(self.number(&reader.string()?));
            }
            Ok(())
        })?;
        if members.is_empty() {
            self.report("One or more parameter values were invalid: An number set  may not be empty");
        } else if has_repeats(&members) {
            self.report("Input collection contains duplicates");
        }
        members.sort_unstable();
        Ok(AttributeValue::Ns(members))
    }

    fn blobs(&mut self, reader: &mut Reader<'_>) -> Result<AttributeValue, ApiError> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let mut members: Vec<Bytes> = Vec::new();
        reader.list(|reader| {
            if reader.null()? {
                self.report(
                    "One or more parameter values were invalid: Binary sets may not contain null values",
                );
            } else {
                members.push(Bytes::from(reader.blob()?));
            }
            Ok(())
        })?;
        if members.is_empty() {
            self.report("One or more parameter values were invalid: Binary sets should not be empty");
        } else if has_repeats(&members) {
            let spelled: Vec<String> = members.iter().map(|bytes| STANDARD.encode(bytes)).collect();
            self.report(format!(
                "One or more parameter values were invalid: Input collection [{}]of type BS contains duplicates.",
                spelled.join(", ")
            ));
        }
        members.sort_unstable();
        Ok(AttributeValue::Bs(members))
    }
}

/// By sorting, which no choice of members can make slow.
fn has_repeats<T: Ord>(members: &[T]) -> bool {
    let mut sorted: Vec<&T> = members.iter().collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}
