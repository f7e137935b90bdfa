//! Update expressions.
//!
//! ```text
//! update := (SET path '=' value, … | REMOVE path, … | ADD path :value, … | DELETE path :value, …)+    each section at most once
//! value  := operand | operand '+' operand | operand '-' operand | '(' value ')'
//! ```

use super::ExpressionKind;
use super::ast::{Node, NodeId, ParsedUpdate, RawAction, Section, UpdateTree};
use super::lexer::TokenKind;
use super::parser::{Parser, Position};
use super::update::Arithmetic;
use crate::ApiError;
use std::sync::Arc;

impl ParsedUpdate {
    /// Parses an update expression.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's text for the first fault of size, syntax, parentheses, repeated
    /// sections, reserved words, functions or indexes.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut parser = Parser::new(ExpressionKind::Update, text)?;
        let mut actions = Vec::new();
        let mut seen = Vec::new();
        loop {
            let section = match parser.peek() {
                TokenKind::Set => Section::Set,
                TokenKind::Remove => Section::Remove,
                TokenKind::Add => Section::Add,
                TokenKind::Delete => Section::Delete,
                TokenKind::End if !seen.is_empty() => break,
                _ => return Err(parser.unexpected()),
            };
            parser.advance();
            loop {
                actions.push(action(&mut parser, section)?);
                if parser.peek() != TokenKind::Comma {
                    break;
                }
                parser.advance();
            }
            if seen.contains(&section) {
                // A section counts once it is complete, so that faults inside it come first.
                let message = format!(
                    "The \"{}\" section can only be used once in an update expression;",
                    section.name()
                );
                parser.defer(parser.offset(), message);
            }
            seen.push(section);
        }
        parser.finish()?;
        Ok(ParsedUpdate(Arc::new(UpdateTree { length: text.len(), nodes: parser.nodes, actions })))
    }
}

fn action(parser: &mut Parser<'_>, section: Section) -> Result<RawAction, ApiError> {
    let path = parser.path()?;
    let value = match section {
        Section::Set => {
            parser.expect(TokenKind::Equal)?;
            Some(set_value(parser)?)
        }
        Section::Remove => None,
        Section::Add | Section::Delete => {
            let name = parser.expect(TokenKind::ValuePlaceholder)?;
            Some(parser.push(Node::Value(name.into())))
        }
    };
    Ok(RawAction { section, path, value })
}

/// The right-hand side of `SET`. A parenthesis may open an operand or a sum; a sum in parentheses is complete
/// and cannot be added to.
fn set_value(parser: &mut Parser<'_>) -> Result<NodeId, ApiError> {
    let mut open = 0_usize;
    while parser.peek() == TokenKind::LeftParen {
        parser.advance();
        open += 1;
    }
    // What follows the call shows whether it is the whole value or an operand of the sum.
    let mut call = parser.peek_call();
    let mut value = parser.first_operand()?;
    parser.check_parens()?;
    let mut is_sum = false;
    loop {
        match parser.peek() {
            TokenKind::RightParen if open > 0 => {
                parser.advance();
                open -= 1;
                value = parser.push_paren(value);
                parser.check_parens()?;
            }
            TokenKind::Plus | TokenKind::Minus if !is_sum => {
                if let Some(call) = call.take() {
                    parser.check_call(call, Position::Operand);
                }
                let operator = match parser.advance() {
                    "+" => Arithmetic::Add,
                    _ => Arithmetic::Subtract,
                };
                let right = parser.operand()?;
                value = parser.push(Node::Arithmetic(operator, value, right));
                is_sum = true;
            }
            _ if open > 0 => return Err(parser.unexpected()),
            _ => {
                if let Some(call) = call {
                    parser.check_call(call, Position::SetValue);
                }
                return Ok(value);
            }
        }
    }
}
