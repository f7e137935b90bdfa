//! The parts of the parser that the grammars share: the token cursor, document paths, operands, and errors
//! that are reported only once the whole text has proved to be well formed.

use super::ExpressionKind;
use super::ast::{Function, Node, NodeId, RawElement, RawPath};
use super::lexer::{Token, TokenKind, lex, syntax_error};
use super::reserved::is_reserved;
use crate::{ApiError, limits};

/// Where a function call stands, which decides whether it is allowed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// A condition of its own.
    Condition,
    /// An operand of something.
    Operand,
    /// The whole right-hand side of `SET`.
    SetValue,
}

/// A function call as written.
#[derive(Clone, Copy)]
pub(super) struct Call<'t> {
    pub function: Function,
    pub name: &'t str,
    /// Where the name stands in the text.
    pub offset: usize,
}

/// A cursor over the tokens of one expression.
pub(super) struct Parser<'t> {
    pub kind: ExpressionKind,
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    pub nodes: Vec<Node>,
    /// The first error, by place in the text, among those that come after syntax.
    deferred: Option<(usize, String)>,
    redundant_parens: bool,
}

impl<'t> Parser<'t> {
    /// Checks the size and cuts `text` into tokens.
    pub fn new(kind: ExpressionKind, text: &'t str) -> Result<Self, ApiError> {
        if text.is_empty() {
            return Err(kind.invalid("The expression can not be empty;"));
        }
        if text.len() > limits::MAX_EXPRESSION_BYTES {
            let fault = "Expression size has exceeded the maximum allowed size;";
            // Conditions tell their size, as seen at AWS in pynamodb/PynamoDB issue 979; updates do not, as
            // seen in aws/aws-sdk-java-v2 issue
            // 4597. DynamoDB Local does the same, and projections are as updates there. No AWS document has
            //       the texts.
            return Err(match kind {
                ExpressionKind::Update | ExpressionKind::Projection => kind.invalid(fault),
                ExpressionKind::Condition | ExpressionKind::Filter | ExpressionKind::KeyCondition => {
                    kind.invalid(format!("{fault} expression size: {}", text.len()))
                }
            });
        }
        Ok(Self {
            kind,
            text,
            tokens: lex(text),
            at: 0,
            nodes: Vec::new(),
            deferred: None,
            redundant_parens: false,
        })
    }

    pub fn peek(&self) -> TokenKind {
        self.tokens.get(self.at).map_or(TokenKind::End, |t| t.kind)
    }

    pub fn peek_second(&self) -> TokenKind {
        self.tokens.get(self.at + 1).map_or(TokenKind::End, |t| t.kind)
    }

    /// The byte at which the next token starts.
    pub fn offset(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |t| t.start)
    }

    /// Consumes the next token and returns its text. Stays on the end token.
    pub fn advance(&mut self) -> &'t str {
        match self.tokens.get(self.at) {
            Some(token) => {
                if token.kind != TokenKind::End {
                    self.at += 1;
                }
                &self.text[token.start..token.end]
            }
            None => "",
        }
    }

    /// The syntax error for the next token.
    pub fn unexpected(&self) -> ApiError {
        syntax_error(self.kind, self.text, &self.tokens, self.at)
    }

    pub fn expect(&mut self, kind: TokenKind) -> Result<&'t str, ApiError> {
        if self.peek() == kind { Ok(self.advance()) } else { Err(self.unexpected()) }
    }

    pub fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Reports redundant parentheses to the left of the cursor. DynamoDB does so as soon as it has parsed
    /// them, which is before it meets a syntax error further on, but only once it has looked ahead far enough
    /// to know what they enclose.
    pub fn check_parens(&self) -> Result<(), ApiError> {
        if self.redundant_parens {
            return Err(self.kind.invalid("The expression has redundant parentheses;"));
        }
        Ok(())
    }

    /// Pushes a pair of parentheses, noting those that directly enclose another pair.
    pub fn push_paren(&mut self, inner: NodeId) -> NodeId {
        self.redundant_parens |= matches!(self.nodes.get(inner), Some(Node::Paren(_)));
        self.push(Node::Paren(inner))
    }

    /// Notes an error at byte `offset` that is reported only if the text is well formed and nothing stands
    /// before it.
    pub fn defer(&mut self, offset: usize, message: String) {
        if self.deferred.as_ref().is_none_or(|(first, _)| offset < *first) {
            self.deferred = Some((offset, message));
        }
    }

    /// To be called at the end of the text: the first of the errors that come after syntax.
    pub fn finish(&mut self) -> Result<(), ApiError> {
        self.check_parens()?;
        match self.deferred.take() {
            Some((_, message)) => Err(self.kind.invalid(message)),
            None => Ok(()),
        }
    }

    /// A document path.
    pub fn path(&mut self) -> Result<RawPath, ApiError> {
        let mut path = vec![self.name()?];
        loop {
            match self.peek() {
                TokenKind::Dot => {
                    self.advance();
                    path.push(self.name()?);
                }
                TokenKind::LeftBracket => {
                    self.advance();
                    let offset = self.offset();
                    let digits = self.expect(TokenKind::Index)?;
                    let index = digits.parse::<u32>().ok().filter(|i| *i <= i32::MAX as u32);
                    if index.is_none() {
                        self.defer(
                            offset,
                            format!("List index is not within the allowable range; index: [{digits}]"),
                        );
                    }
                    path.push(RawElement::Index(index.unwrap_or(0)));
                    self.expect(TokenKind::RightBracket)?;
                }
                _ => return Ok(path),
            }
        }
    }

    fn name(&mut self) -> Result<RawElement, ApiError> {
        let offset = self.offset();
        match self.peek() {
            TokenKind::Identifier => {
                let name = self.advance();
                if is_reserved(name) {
                    self.defer(
                        offset,
                        format!("Attribute name is a reserved keyword; reserved keyword: {name}"),
                    );
                }
                Ok(RawElement::Name(name.into()))
            }
            TokenKind::NamePlaceholder => Ok(RawElement::Placeholder(self.advance().into())),
            _ => Err(self.unexpected()),
        }
    }

    /// The function call that starts here, if one does.
    pub fn peek_call(&self) -> Option<Call<'t>> {
        if self.peek() != TokenKind::Identifier || self.peek_second() != TokenKind::LeftParen {
            return None;
        }
        let token = self.tokens.get(self.at)?;
        let name = &self.text[token.start..token.end];
        Some(Call { function: Function::from_name(name), name, offset: token.start })
    }

    /// An operand of something: a path, a value, a function of operands, or one of these in parentheses.
    pub fn operand(&mut self) -> Result<NodeId, ApiError> {
        self.operand_at(true)
    }

    /// An operand where something else could stand. When it is a function call as a whole, the caller checks
    /// whether the call may stand here ([`Self::check_call`]); and it is for the caller to call
    /// [`Self::check_parens`].
    pub fn first_operand(&mut self) -> Result<NodeId, ApiError> {
        self.operand_at(false)
    }

    /// The stack is on the heap, because the text may nest two thousand deep.
    fn operand_at(&mut self, certain: bool) -> Result<NodeId, ApiError> {
        enum Open {
            Paren,
            Call { function: Function, arguments: Vec<NodeId> },
        }
        let mut open: Vec<Open> = Vec::new();
        loop {
            if let Some(call) = self.peek_call() {
                if certain || !open.is_empty() {
                    self.check_call(call, Position::Operand);
                }
                self.advance();
                self.advance();
                open.push(Open::Call { function: call.function, arguments: Vec::new() });
                continue;
            }
            let mut done = match self.peek() {
                TokenKind::LeftParen => {
                    self.advance();
                    open.push(Open::Paren);
                    continue;
                }
                TokenKind::ValuePlaceholder => {
                    let name = self.advance();
                    self.push(Node::Value(name.into()))
                }
                _ => {
                    let path = self.path()?;
                    self.push(Node::Path(path))
                }
            };
            // An operand is complete: close what it closes.
            loop {
                match open.pop() {
                    None => return Ok(done),
                    Some(Open::Paren) => {
                        self.expect(TokenKind::RightParen)?;
                        done = self.push_paren(done);
                        if certain {
                            self.check_parens()?;
                        }
                    }
                    Some(Open::Call { function, mut arguments }) => {
                        arguments.push(done);
                        if self.peek() == TokenKind::Comma {
                            self.advance();
                            open.push(Open::Call { function, arguments });
                            break;
                        }
                        self.expect(TokenKind::RightParen)?;
                        done = self.push(Node::Call(function, arguments));
                    }
                }
            }
        }
    }

    /// Notes the error, if there is one, of this call at this position.
    pub fn check_call(&mut self, call: Call<'_>, position: Position) {
        let Call { function, name, offset } = call;
        let update = self.kind == ExpressionKind::Update;
        let message = if function == Function::Unknown {
            format!("Invalid function name; function: {name}")
        } else if update != function.is_for_update() {
            let place = if update { "an update" } else { "a condition" };
            format!("The function is not allowed in {place} expression; function: {name}")
        } else {
            let fits = match function {
                Function::Size => position == Position::Operand,
                Function::IfNotExists => true,
                Function::ListAppend => position == Position::SetValue,
                _ => position == Position::Condition,
            };
            if fits {
                return;
            }
            format!("The function is not allowed to be used this way in an expression; function: {name}")
        };
        self.defer(offset, message);
    }
}
