//! A pull reader over a request body. Syntax is RFC 8259's, strictly; wrong types give DynamoDB's
//! `SerializationException` texts.

use super::scan::plain_prefix;
use crate::{ApiError, ErrorCode};
use std::borrow::Cow;

/// What the next value of the input is, from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true`.
    True,
    /// `false`.
    False,
    /// A number; whether it has a fraction or exponent is known only once read.
    Number,
    /// A string.
    String,
    /// `[`.
    Array,
    /// `{`.
    Object,
}

/// Reads one JSON text from front to back.
///
/// Every method that fails leaves the reader at an unspecified place; give up on the whole input then.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The body is not JSON. DynamoDB gives no message.
#[cold]
fn syntax() -> ApiError {
    ApiError::new(ErrorCode::Serialization, "")
}

#[cold]
fn mistyped(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Serialization, message)
}

const UNEXPECTED_OBJECT: &str = "Start of structure or map found where not expected";

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space, not consumed.
    fn peek_byte(&mut self) -> Result<u8, ApiError> {
        self.skip_space();
        self.bytes.get(self.at).copied().ok_or_else(syntax)
    }

    fn expect(&mut self, byte: u8) -> Result<(), ApiError> {
        if self.peek_byte()? != byte {
            return Err(syntax());
        }
        self.at += 1;
        Ok(())
    }

    /// The kind of the next value.
    ///
    /// # Errors
    /// When no value starts here.
    pub fn peek(&mut self) -> Result<Kind, ApiError> {
        Ok(match self.peek_byte()? {
            b'n' => Kind::Null,
            b't' => Kind::True,
            b'f' => Kind::False,
            b'"' => Kind::String,
            b'[' => Kind::Array,
            b'{' => Kind::Object,
            b'-' | b'0'..=b'9' => Kind::Number,
            _ => return Err(syntax()),
        })
    }

    /// Succeeds at the end of the input, white space aside.
    ///
    /// # Errors
    /// When anything follows.
    pub fn finish(&mut self) -> Result<(), ApiError> {
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(syntax()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), ApiError> {
        self.skip_space();
        if !self.bytes[self.at..].starts_with(word) {
            return Err(syntax());
        }
        self.at += word.len();
        Ok(())
    }

    /// Consumes `null` if it is next.
    ///
    /// # Errors
    /// On a syntax error.
    pub fn null(&mut self) -> Result<bool, ApiError> {
        if self.peek()? != Kind::Null {
            return Ok(false);
        }
        self.word(b"null")?;
        Ok(true)
    }

    /// A string that is known to be next.
    fn raw_string(&mut self) -> Result<Cow<'a, str>, ApiError> {
        self.expect(b'"')?;
        let start = self.at;
        self.at += plain_prefix(&self.bytes[start..]);
        match self.bytes.get(self.at) {
            Some(b'"') => {
                let text = std::str::from_utf8(&self.bytes[start..self.at]).map_err(|_| syntax())?;
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => self.escaped_string(start).map(Cow::Owned),
            _ => Err(syntax()),
        }
    }

    /// The rest of a string from its first backslash on.
    fn escaped_string(&mut self, start: usize) -> Result<String, ApiError> {
        let mut out = Vec::with_capacity(self.at - start + 64);
        let mut run = start;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    out.extend_from_slice(&self.bytes[run..self.at]);
                    self.at += 1;
                    return String::from_utf8(out).map_err(|_| syntax());
                }
                Some(b'\\') => {
                    out.extend_from_slice(&self.bytes[run..self.at]);
                    self.at += 1;
                    let ch = self.escape()?;
                    out.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes());
                    run = self.at;
                }
                Some(0x20..) => self.at += plain_prefix(&self.bytes[self.at..]),
                _ => return Err(syntax()),
            }
        }
    }

    /// The character of an escape, after its backslash.
    fn escape(&mut self) -> Result<char, ApiError> {
        let byte = self.bytes.get(self.at).copied().ok_or_else(syntax)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex4()?;
                if !(0xd800..0xdc00).contains(&high) {
                    // A low surrogate alone has no character; it becomes the replacement character.
                    return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                if self.bytes[self.at..].starts_with(b"\\u") {
                    let mark = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = mark;
                }
                char::REPLACEMENT_CHARACTER
            }
            _ => return Err(syntax()),
        })
    }

    fn hex4(&mut self) -> Result<u32, ApiError> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or_else(syntax)?;
        let mut value = 0;
        for digit in digits {
            value = value * 16 + (*digit as char).to_digit(16).ok_or_else(syntax)?;
        }
        self.at += 4;
        Ok(value)
    }

    /// The text of a number that is known to be next.
    fn raw_number(&mut self) -> Result<&'a str, ApiError> {
        self.skip_space();
        let start = self.at;
        let digits = |reader: &mut Self| {
            let from = reader.at;
            while let Some(b'0'..=b'9') = reader.bytes.get(reader.at) {
                reader.at += 1;
            }
            reader.at - from
        };
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let leading_zero = self.bytes.get(self.at) == Some(&b'0');
        let whole = digits(self);
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(syntax());
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if digits(self) == 0 {
                return Err(syntax());
            }
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            if digits(self) == 0 {
                return Err(syntax());
            }
        }
        std::str::from_utf8(&self.bytes[start..self.at]).map_err(|_| syntax())
    }

    /// Skips the next value, whatever it is, without recursion.
    ///
    /// # Errors
    /// On a syntax error.
    pub fn skip(&mut self) -> Result<(), ApiError> {
        // One entry for each open container: true for an object.
        let mut open: Vec<bool> = Vec::new();
        loop {
            let mut opened = false;
            match self.peek()? {
                Kind::Null => self.word(b"null")?,
                Kind::True => self.word(b"true")?,
                Kind::False => self.word(b"false")?,
                Kind::Number => {
                    self.raw_number()?;
                }
                Kind::String => {
                    self.raw_string()?;
                }
                kind => {
                    self.at += 1;
                    open.push(kind == Kind::Object);
                    opened = true;
                }
            }
            // Close what ends here; stop before the next value.
            loop {
                let Some(&object) = open.last() else { return Ok(()) };
                let close = if object { b'}' } else { b']' };
                let byte = self.peek_byte()?;
                if byte == close {
                    self.at += 1;
                    open.pop();
                    opened = false;
                    continue;
                }
                if !opened {
                    self.expect(b',')?;
                }
                if object {
                    self.raw_string()?;
                    self.expect(b':')?;
                }
                break;
            }
        }
    }

    /// Calls `member` with each name of an object that is known to be next; it must consume the value.
    fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        self.expect(b'{')?;
        if self.peek_byte()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            let name = self.raw_string()?;
            self.expect(b':')?;
            member(self, name)?;
            match self.peek_byte()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(syntax()),
            }
        }
    }

    /// A structure: calls `member` for each member that is not null. `member` must consume the value; give it
    /// to [`Reader::skip`] when its name is unknown.
    ///
    /// # Errors
    /// `SerializationException` when the value is no object; `class` is the structure's name in the service
    /// model.
    pub fn structure(
        &mut self,
        class: &str,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        match self.peek()? {
            Kind::Object => self.members(|reader, name| {
                if reader.null()? {
                    return Ok(());
                }
                member(reader, &name)
            }),
            Kind::Array => Err(mistyped(format!(
                "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.{class}"
            ))),
            _ => Err(mistyped("Unexpected value type in payload")),
        }
    }

    /// A map: calls `member` for each entry, null or not. `class` is the Java type of the values.
    ///
    /// # Errors
    /// `SerializationException` when the value is no object.
    pub fn map(
        &mut self,
        class: &str,
        member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        match self.peek()? {
            Kind::Object => self.members(member),
            Kind::Array => Err(mistyped(format!(
                "Unrecognized collection type java.util.Map<java.lang.String, {class}>"
            ))),
            _ => Err(mistyped("Unexpected field type")),
        }
    }

    /// A list: calls `element` for each element, null or not.
    ///
    /// # Errors
    /// `SerializationException` when the value is no array.
    pub fn list(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        match self.peek()? {
            Kind::Array => self.at += 1,
            Kind::Object => return Err(mistyped(UNEXPECTED_OBJECT)),
            _ => return Err(mistyped("Unexpected field type")),
        }
        if self.peek_byte()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            match self.peek_byte()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(syntax()),
            }
        }
    }

    /// The error for a value of the wrong kind where a scalar of Java type `java.lang.{class}` belongs.
    fn wrong_scalar(&mut self, kind: Kind, class: &str) -> ApiError {
        // Half a word or an open string is a syntax error first.
        if matches!(kind, Kind::True | Kind::False | Kind::Null | Kind::String)
            && let Err(error) = self.skip()
        {
            return error;
        }
        let token = match kind {
            Kind::Object => return mistyped(UNEXPECTED_OBJECT),
            Kind::Array => return mistyped(format!("Unrecognized collection type class java.lang.{class}")),
            Kind::Null => "NULL_VALUE",
            Kind::True => "TRUE_VALUE",
            Kind::False => "FALSE_VALUE",
            Kind::String => "STRING_VALUE",
            Kind::Number => match self.raw_number() {
                Ok(text) if text.contains(['.', 'e', 'E']) => "DECIMAL_VALUE",
                Ok(_) => "NUMBER_VALUE",
                Err(error) => return error,
            },
        };
        mistyped(format!("{token} cannot be converted to {class}"))
    }

    /// A string.
    ///
    /// # Errors
    /// `SerializationException` for any other kind.
    pub fn string(&mut self) -> Result<Cow<'a, str>, ApiError> {
        match self.peek()? {
            Kind::String => self.raw_string(),
            kind => Err(self.wrong_scalar(kind, "String")),
        }
    }

    /// A Boolean. Like DynamoDB's parser, takes the strings `true`, `yes`, `false` and `no` in any case too.
    ///
    /// # Errors
    /// `SerializationException` for anything else.
    pub fn boolean(&mut self) -> Result<bool, ApiError> {
        match self.peek()? {
            Kind::True => self.word(b"true").map(|()| true),
            Kind::False => self.word(b"false").map(|()| false),
            Kind::String => {
                let text = self.raw_string()?;
                if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("yes") {
                    Ok(true)
                } else if text.eq_ignore_ascii_case("false") || text.eq_ignore_ascii_case("no") {
                    Ok(false)
                } else {
                    Err(mistyped("Unexpected token received from parser"))
                }
            }
            kind => Err(self.wrong_scalar(kind, "Boolean")),
        }
    }

    /// An integer of Java type `class` (`Integer` or `Long`). A fraction is cut off; a value out of range is
    /// brought to the nearest bound, for the validator to refuse.
    ///
    /// # Errors
    /// `SerializationException` for any other kind.
    pub fn integer(&mut self, class: &str) -> Result<i64, ApiError> {
        let kind = self.peek()?;
        if kind != Kind::Number {
            return Err(self.wrong_scalar(kind, class));
        }
        let text = self.raw_number()?;
        let (low, high) = if class == "Integer" {
            (i64::from(i32::MIN), i64::from(i32::MAX))
        } else {
            (i64::MIN, i64::MAX)
        };
        // `as` from a float saturates, which is what is wanted of exponents and of digits past 64 bits.
        let value = text.parse::<i64>().unwrap_or_else(|_| text.parse::<f64>().unwrap_or(0.0) as i64);
        Ok(value.clamp(low, high))
    }

    /// A list of strings; a null element is an empty one, which no list of names takes.
    ///
    /// # Errors
    /// `SerializationException` when it is anything else.
    pub fn strings(&mut self) -> Result<Vec<String>, ApiError> {
        let mut out = Vec::new();
        self.list(|reader| {
            out.push(if reader.null()? { String::new() } else { reader.string()?.into_owned() });
            Ok(())
        })?;
        Ok(out)
    }

    /// A base-64 string, decoded.
    ///
    /// # Errors
    /// `SerializationException` for any other kind, and for what is not canonical base 64.
    pub fn blob(&mut self) -> Result<Vec<u8>, ApiError> {
        use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
        match self.peek()? {
            Kind::String => {}
            Kind::Object => return Err(mistyped(UNEXPECTED_OBJECT)),
            Kind::Array => return Err(mistyped("Unrecognized collection type class java.nio.ByteBuffer")),
            _ => return Err(mistyped("only base-64-encoded strings are convertible to bytes")),
        }
        let text = self.raw_string()?;
        if !text.len().is_multiple_of(4) {
            return Err(mistyped(format!(
                "Base64 encoded length is expected a multiple of 4 bytes but found: {}",
                text.len()
            )));
        }
        STANDARD.decode(text.as_bytes()).map_err(|error| match error {
            DecodeError::InvalidByte(_, byte) if byte != b'=' => {
                mistyped(format!("Invalid base64 character: '{}'", byte as char))
            }
            _ => mistyped("Invalid last non-pad Base64 character dectected"),
        })
    }
}
