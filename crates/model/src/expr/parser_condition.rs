//! Condition, filter and key condition expressions, and projections.
//!
//! ```text
//! condition := condition OR condition | condition AND condition | NOT condition | '(' condition ')'
//!            | operand comparator operand | operand BETWEEN operand AND operand | operand IN '(' operand, … ')' | function
//! operand   := path | :value | function | '(' operand ')'
//! ```
//!
//! `NOT` binds tighter than `AND`, `AND` tighter than `OR`, both to the left. A parenthesis may open a
//! condition or an operand, and which one is known only later, so the parser keeps what is open on a stack of
//! its own and decides when the content is complete. The error is always at the first token that no
//! continuation of the text could make right.

use super::ExpressionKind;
use super::ast::{ConditionTree, Node, NodeId, ParsedCondition, ParsedProjection, ProjectionTree};
use super::condition::Comparator;
use super::lexer::TokenKind;
use super::parser::{Call, Parser, Position};
use crate::ApiError;
use std::sync::Arc;

/// What stands open to the left of the cursor.
enum Open {
    Paren,
    Not,
    And(NodeId),
    Or(NodeId),
}

/// What has just been completed to the left of the cursor.
#[derive(Clone, Copy)]
enum Complete<'t> {
    /// A path, a value, or either in parentheses: only an operand.
    Operand(NodeId),
    /// A function call, perhaps in parentheses: an operand or a condition, whichever fits what follows.
    Call(NodeId, Call<'t>),
    Condition(NodeId),
}

impl ParsedCondition {
    /// Parses a condition, filter or key condition expression.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's text for the first fault of size, syntax, parentheses, reserved
    /// words, functions or indexes.
    pub fn parse(kind: ExpressionKind, text: &str) -> Result<Self, ApiError> {
        let mut parser = Parser::new(kind, text)?;
        let root = condition(&mut parser)?;
        parser.finish()?;
        Ok(ParsedCondition(Arc::new(ConditionTree { kind, length: text.len(), nodes: parser.nodes, root })))
    }
}

impl ParsedProjection {
    /// Parses a projection expression: document paths, separated by commas.
    ///
    /// # Errors
    /// As [`ParsedCondition::parse`].
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut parser = Parser::new(ExpressionKind::Projection, text)?;
        let mut paths = vec![parser.path()?];
        while parser.peek() == TokenKind::Comma {
            parser.advance();
            paths.push(parser.path()?);
        }
        parser.expect(TokenKind::End)?;
        parser.finish()?;
        Ok(ParsedProjection(Arc::new(ProjectionTree { length: text.len(), paths })))
    }
}

fn comparator(token: TokenKind) -> Option<Comparator> {
    Some(match token {
        TokenKind::Equal => Comparator::Equal,
        TokenKind::NotEqual => Comparator::NotEqual,
        TokenKind::Less => Comparator::Less,
        TokenKind::LessOrEqual => Comparator::LessOrEqual,
        TokenKind::Greater => Comparator::Greater,
        TokenKind::GreaterOrEqual => Comparator::GreaterOrEqual,
        _ => return None,
    })
}

fn condition(parser: &mut Parser<'_>) -> Result<NodeId, ApiError> {
    let mut open: Vec<Open> = Vec::new();
    loop {
        // Something must start here.
        let mut complete = match parser.peek() {
            TokenKind::Not => {
                parser.advance();
                open.push(Open::Not);
                continue;
            }
            TokenKind::LeftParen => {
                parser.advance();
                open.push(Open::Paren);
                continue;
            }
            _ => match parser.peek_call() {
                // Whether the call may stand here is checked below, when what follows has shown what it is.
                Some(call) => Complete::Call(parser.first_operand()?, call),
                None => Complete::Operand(parser.first_operand()?),
            },
        };
        // Close what it closes, until the text demands that something else starts.
        loop {
            let root = match complete {
                Complete::Operand(node) => match operand_continues(parser, node)? {
                    Some(condition) => condition,
                    None => {
                        // Only a parenthesis directly around an operand can be closed now.
                        if parser.peek() == TokenKind::RightParen && matches!(open.last(), Some(Open::Paren))
                        {
                            open.pop();
                            parser.advance();
                            complete = Complete::Operand(parser.push_paren(node));
                            continue;
                        }
                        return Err(parser.unexpected());
                    }
                },
                Complete::Call(node, call) => {
                    let next = parser.peek();
                    if next == TokenKind::RightParen && matches!(open.last(), Some(Open::Paren)) {
                        open.pop();
                        parser.advance();
                        complete = Complete::Call(parser.push_paren(node), call);
                        continue;
                    }
                    if !matches!(open.last(), Some(Open::Paren)) {
                        parser.check_parens()?;
                    }
                    let is_operand =
                        comparator(next).is_some() || matches!(next, TokenKind::Between | TokenKind::In);
                    let position = if is_operand { Position::Operand } else { Position::Condition };
                    parser.check_call(call, position);
                    operand_continues(parser, node)?.unwrap_or(node)
                }
                Complete::Condition(node) => node,
            };
            match (open.pop(), parser.peek()) {
                (Some(Open::Not), _) => complete = Complete::Condition(parser.push(Node::Not(root))),
                (Some(Open::And(left)), _) => {
                    complete = Complete::Condition(parser.push(Node::And(left, root)));
                }
                (below, TokenKind::And) => {
                    open.extend(below);
                    parser.advance();
                    open.push(Open::And(root));
                    break;
                }
                (Some(Open::Or(left)), _) => {
                    complete = Complete::Condition(parser.push(Node::Or(left, root)));
                }
                (below, TokenKind::Or) => {
                    open.extend(below);
                    parser.advance();
                    open.push(Open::Or(root));
                    break;
                }
                (Some(Open::Paren), TokenKind::RightParen) => {
                    parser.advance();
                    complete = Complete::Condition(parser.push_paren(root));
                    parser.check_parens()?;
                }
                (None, TokenKind::End) => return Ok(root),
                _ => return Err(parser.unexpected()),
            }
        }
    }
}

/// If the text goes on with a comparison of which `left` is the first operand, parses it.
fn operand_continues(parser: &mut Parser<'_>, left: NodeId) -> Result<Option<NodeId>, ApiError> {
    let next = parser.peek();
    let node = if let Some(comparator) = comparator(next) {
        parser.advance();
        parser.check_parens()?;
        let right = parser.operand()?;
        Node::Compare(comparator, left, right)
    } else if next == TokenKind::Between {
        parser.advance();
        parser.check_parens()?;
        let low = parser.operand()?;
        parser.expect(TokenKind::And)?;
        let high = parser.operand()?;
        Node::Between(left, low, high)
    } else if next == TokenKind::In {
        parser.advance();
        parser.check_parens()?;
        parser.expect(TokenKind::LeftParen)?;
        let mut list = vec![parser.operand()?];
        while parser.peek() == TokenKind::Comma {
            parser.advance();
            list.push(parser.operand()?);
        }
        parser.expect(TokenKind::RightParen)?;
        Node::In(left, list)
    } else {
        return Ok(None);
    };
    Ok(Some(parser.push(node)))
}
