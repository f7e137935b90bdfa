//! Bound conditions and updates as bytes, for the node that leads the partition. The layout is drawn in
//! `docs/formats/expression.md`.
//!
//! Numbers are LEB128 varints; strings and binaries are a length and their bytes; trees are written parent
//! first.

use super::condition::{AttributeType, Comparator, Condition, ConditionExpr, Operand};
use super::path::{DocumentPath, Element};
use super::update::{Action, Arithmetic, SetOperand, SetValue, Update};
use crate::AttributeValue;
use crate::codec::{decode_value, encode_value};
use std::sync::Arc;

/// The version that this code writes and the only one that it reads.
const VERSION: u8 = 1;
const KIND_CONDITION: u8 = 1;
const KIND_UPDATE: u8 = 2;
/// Deeper trees are refused. What is bound has at most 300 operators, so it is never deeper.
const MAX_DEPTH: usize = 400;

/// Why bytes are not an encoded expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end within the expression.
    #[error("encoded expression is truncated")]
    Truncated,
    /// Bytes follow the expression.
    #[error("encoded expression has trailing bytes")]
    Trailing,
    /// Written by another version.
    #[error("encoded expression has unknown version {0}")]
    Version(u8),
    /// A condition where an update was expected, or the reverse.
    #[error("encoded expression is of another kind")]
    Kind,
    /// A tag, length or value that the format does not have.
    #[error("encoded expression is malformed")]
    Malformed,
    /// Nested deeper than any expression can be.
    #[error("encoded expression is nested too deeply")]
    TooDeep,
}

impl Condition {
    /// The condition as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, KIND_CONDITION];
        put_condition(&mut out, self.expr());
        out
    }

    /// The condition that [`Condition::encode`] wrote.
    ///
    /// # Errors
    /// If `bytes` are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes, KIND_CONDITION)?;
        let expr = reader.condition(0)?;
        reader.finish()?;
        Ok(Condition::new(expr))
    }
}

impl Update {
    /// The update as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, KIND_UPDATE, u8::from(self.is_legacy())];
        put_length(&mut out, self.actions().len());
        for action in self.actions() {
            put_action(&mut out, action);
        }
        out
    }

    /// The update that [`Update::encode`] wrote.
    ///
    /// # Errors
    /// If `bytes` are anything else, or touch the same place twice.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes, KIND_UPDATE)?;
        let is_legacy = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return Err(WireError::Malformed),
        };
        let actions = reader.list(Reader::action)?;
        reader.finish()?;
        Update::of_actions(actions, is_legacy).map_err(|_| WireError::Malformed)
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length as u64;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_path(out: &mut Vec<u8>, path: &DocumentPath) {
    put_bytes(out, path.root().as_bytes());
    put_length(out, path.rest().len());
    for element in path.rest() {
        match element {
            Element::Key(name) => {
                out.push(0);
                put_bytes(out, name.as_bytes());
            }
            Element::Index(index) => {
                out.push(1);
                put_length(out, *index as usize);
            }
        }
    }
}

/// In the encoding of stored values, framed by its length.
fn put_value(out: &mut Vec<u8>, value: &AttributeValue) {
    let mut bytes = Vec::new();
    encode_value(value, &mut bytes);
    put_bytes(out, &bytes);
}

fn put_operand(out: &mut Vec<u8>, operand: &Operand) {
    match operand {
        Operand::Path(path) => {
            out.push(0);
            put_path(out, path);
        }
        Operand::Value(value) => {
            out.push(1);
            put_value(out, value);
        }
        Operand::Size(inner) => {
            out.push(2);
            put_operand(out, inner);
        }
    }
}

fn put_condition(out: &mut Vec<u8>, expr: &ConditionExpr) {
    match expr {
        ConditionExpr::And(list) | ConditionExpr::Or(list) => {
            out.push(if matches!(expr, ConditionExpr::And(_)) { 0 } else { 1 });
            put_length(out, list.len());
            list.iter().for_each(|c| put_condition(out, c));
        }
        ConditionExpr::Not(inner) => {
            out.push(2);
            put_condition(out, inner);
        }
        ConditionExpr::Compare(comparator, left, right) => {
            let position = COMPARATORS.iter().position(|c| c == comparator).unwrap_or(0);
            out.extend([3, position as u8]);
            put_operand(out, left);
            put_operand(out, right);
        }
        ConditionExpr::Between(operand, low, high) => {
            out.push(4);
            [operand, low, high].into_iter().for_each(|o| put_operand(out, o));
        }
        ConditionExpr::In(operand, list) => {
            out.push(5);
            put_operand(out, operand);
            put_length(out, list.len());
            list.iter().for_each(|o| put_operand(out, o));
        }
        ConditionExpr::Exists(path) => {
            out.push(6);
            put_path(out, path);
        }
        ConditionExpr::NotExists(path) => {
            out.push(7);
            put_path(out, path);
        }
        ConditionExpr::HasType(operand, kind) => {
            let position = AttributeType::ALL.iter().position(|t| t == kind).unwrap_or(0);
            out.extend([8, position as u8]);
            put_operand(out, operand);
        }
        ConditionExpr::BeginsWith(operand, prefix) => {
            out.push(9);
            put_operand(out, operand);
            put_operand(out, prefix);
        }
        ConditionExpr::Contains(operand, wanted) => {
            out.push(10);
            put_operand(out, operand);
            put_operand(out, wanted);
        }
    }
}

const COMPARATORS: [Comparator; 6] = [
    Comparator::Equal,
    Comparator::NotEqual,
    Comparator::Less,
    Comparator::LessOrEqual,
    Comparator::Greater,
    Comparator::GreaterOrEqual,
];

fn put_set_operand(out: &mut Vec<u8>, operand: &SetOperand) {
    match operand {
        SetOperand::Path(path) => {
            out.push(0);
            put_path(out, path);
        }
        SetOperand::Value(value) => {
            out.push(1);
            put_value(out, value);
        }
        SetOperand::IfNotExists(path, otherwise) => {
            out.push(2);
            put_path(out, path);
            put_set_operand(out, otherwise);
        }
        SetOperand::ListAppend(left, right) => {
            out.push(3);
            put_set_operand(out, left);
            put_set_operand(out, right);
        }
    }
}

fn put_action(out: &mut Vec<u8>, action: &Action) {
    let tag = match action {
        Action::Set(..) => 0,
        Action::Remove(_) => 1,
        Action::Add(..) => 2,
        Action::Delete(..) => 3,
    };
    out.push(tag);
    put_path(out, action.path());
    match action {
        Action::Set(_, SetValue::Operand(operand)) => {
            out.push(0);
            put_set_operand(out, operand);
        }
        Action::Set(_, SetValue::Arithmetic(operator, left, right)) => {
            out.push(if *operator == Arithmetic::Add { 1 } else { 2 });
            put_set_operand(out, left);
            put_set_operand(out, right);
        }
        Action::Add(_, value) | Action::Delete(_, value) => put_value(out, value),
        Action::Remove(_) => {}
    }
}

struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    fn new(bytes: &'b [u8], kind: u8) -> Result<Self, WireError> {
        let mut reader = Reader { rest: bytes };
        match reader.byte()? {
            VERSION => {}
            other => return Err(WireError::Version(other)),
        }
        if reader.byte()? == kind { Ok(reader) } else { Err(WireError::Kind) }
    }

    fn finish(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        let (first, rest) = self.rest.split_first().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, WireError> {
        let mut number = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(WireError::Malformed)
    }

    /// The length of something of which every element takes at least a byte, so that no length can make us
    /// reserve more than was sent.
    fn length(&mut self) -> Result<usize, WireError> {
        let length = usize::try_from(self.number()?).map_err(|_| WireError::Malformed)?;
        if length <= self.rest.len() { Ok(length) } else { Err(WireError::Truncated) }
    }

    fn bytes(&mut self) -> Result<&'b [u8], WireError> {
        let length = self.length()?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'b str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Malformed)
    }

    fn list<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let length = self.length()?;
        let mut list = Vec::with_capacity(length.min(1024));
        for _ in 0..length {
            list.push(element(self)?);
        }
        Ok(list)
    }

    fn path(&mut self) -> Result<DocumentPath, WireError> {
        let root = self.text()?;
        let rest = self.list(|reader| match reader.byte()? {
            0 => Ok(Element::Key(reader.text()?.into())),
            1 => Ok(Element::Index(u32::try_from(reader.number()?).map_err(|_| WireError::Malformed)?)),
            _ => Err(WireError::Malformed),
        })?;
        // Walks along a path recurse.
        if rest.len() >= crate::limits::MAX_NESTING {
            return Err(WireError::TooDeep);
        }
        Ok(DocumentPath::new(root, rest))
    }

    fn value(&mut self) -> Result<Arc<AttributeValue>, WireError> {
        decode_value(self.bytes()?).map(Arc::new).map_err(|_| WireError::Malformed)
    }

    fn operand(&mut self, depth: usize) -> Result<Operand, WireError> {
        let depth = deeper(depth)?;
        Ok(match self.byte()? {
            0 => Operand::Path(self.path()?),
            1 => Operand::Value(self.value()?),
            2 => Operand::Size(Box::new(self.operand(depth)?)),
            _ => return Err(WireError::Malformed),
        })
    }

    fn condition(&mut self, depth: usize) -> Result<ConditionExpr, WireError> {
        let depth = deeper(depth)?;
        Ok(match self.byte()? {
            0 => ConditionExpr::And(self.list(|reader| reader.condition(depth))?),
            1 => ConditionExpr::Or(self.list(|reader| reader.condition(depth))?),
            2 => ConditionExpr::Not(Box::new(self.condition(depth)?)),
            3 => {
                let comparator = *COMPARATORS.get(usize::from(self.byte()?)).ok_or(WireError::Malformed)?;
                ConditionExpr::Compare(comparator, self.operand(0)?, self.operand(0)?)
            }
            4 => ConditionExpr::Between(self.operand(0)?, self.operand(0)?, self.operand(0)?),
            5 => ConditionExpr::In(self.operand(0)?, self.list(|reader| reader.operand(0))?),
            6 => ConditionExpr::Exists(self.path()?),
            7 => ConditionExpr::NotExists(self.path()?),
            8 => {
                let kind = *AttributeType::ALL.get(usize::from(self.byte()?)).ok_or(WireError::Malformed)?;
                ConditionExpr::HasType(self.operand(0)?, kind)
            }
            9 => ConditionExpr::BeginsWith(self.operand(0)?, self.operand(0)?),
            10 => ConditionExpr::Contains(self.operand(0)?, self.operand(0)?),
            _ => return Err(WireError::Malformed),
        })
    }

    fn set_operand(&mut self, depth: usize) -> Result<SetOperand, WireError> {
        let depth = deeper(depth)?;
        Ok(match self.byte()? {
            0 => SetOperand::Path(self.path()?),
            1 => SetOperand::Value(self.value()?),
            2 => SetOperand::IfNotExists(self.path()?, Box::new(self.set_operand(depth)?)),
            3 => {
                SetOperand::ListAppend(Box::new(self.set_operand(depth)?), Box::new(self.set_operand(depth)?))
            }
            _ => return Err(WireError::Malformed),
        })
    }

    fn action(&mut self) -> Result<Action, WireError> {
        let tag = self.byte()?;
        let path = self.path()?;
        Ok(match tag {
            0 => {
                let value = match self.byte()? {
                    0 => SetValue::Operand(self.set_operand(0)?),
                    1 => SetValue::Arithmetic(Arithmetic::Add, self.set_operand(0)?, self.set_operand(0)?),
                    2 => {
                        SetValue::Arithmetic(Arithmetic::Subtract, self.set_operand(0)?, self.set_operand(0)?)
                    }
                    _ => return Err(WireError::Malformed),
                };
                Action::Set(path, value)
            }
            1 => Action::Remove(path),
            2 => Action::Add(path, self.value()?),
            3 => Action::Delete(path, self.value()?),
            _ => return Err(WireError::Malformed),
        })
    }
}

fn deeper(depth: usize) -> Result<usize, WireError> {
    if depth >= MAX_DEPTH { Err(WireError::TooDeep) } else { Ok(depth + 1) }
}
