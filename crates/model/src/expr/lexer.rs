//! From text to tokens. This never fails: a character that starts no token becomes a token of its own. No
//! grammar accepts such a token, so the parser reports it when it reaches it.

use super::ExpressionKind;
use crate::ApiError;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A bare attribute or function name: a letter, then letters, digits and `_`.
    Identifier,
    /// `#name`.
    NamePlaceholder,
    /// `:value`.
    ValuePlaceholder,
    /// Digits without a leading zero.
    Index,
    And,
    Or,
    Not,
    Between,
    In,
    Set,
    Remove,
    Add,
    Delete,
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    Comma,
    Dot,
    Plus,
    Minus,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// A character that belongs to no token.
    Unknown,
    /// The end of the text, always the last token.
    End,
}

/// A token and its bytes in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

/// Cuts `text` into tokens. The last one is [`TokenKind::End`], zero bytes long.
pub(super) fn lex(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            at += 1;
            continue;
        }
        let (kind, length) = next_token(text, at, byte);
        tokens.push(Token { kind, start: at, end: at + length });
        at += length;
    }
    tokens.push(Token { kind: TokenKind::End, start: text.len(), end: text.len() });
    tokens
}

fn next_token(text: &str, at: usize, first: u8) -> (TokenKind, usize) {
    let rest = &text.as_bytes()[at..];
    let word_length =
        |from: usize| rest[from..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    let second = rest.get(1).copied();
    match first {
        b'a'..=b'z' | b'A'..=b'Z' => {
            let length = word_length(0);
            (keyword(&rest[..length]).unwrap_or(TokenKind::Identifier), length)
        }
        b'#' | b':' if word_length(1) > 0 => {
            let kind = if first == b'#' { TokenKind::NamePlaceholder } else { TokenKind::ValuePlaceholder };
            (kind, 1 + word_length(1))
        }
        b'0' => (TokenKind::Index, 1),
        b'1'..=b'9' => (TokenKind::Index, rest.iter().take_while(|b| b.is_ascii_digit()).count()),
        b'(' => (TokenKind::LeftParen, 1),
        b')' => (TokenKind::RightParen, 1),
        b'[' => (TokenKind::LeftBracket, 1),
        b']' => (TokenKind::RightBracket, 1),
        b',' => (TokenKind::Comma, 1),
        b'.' => (TokenKind::Dot, 1),
        b'+' => (TokenKind::Plus, 1),
        b'-' => (TokenKind::Minus, 1),
        b'=' => (TokenKind::Equal, 1),
        b'<' if second == Some(b'>') => (TokenKind::NotEqual, 2),
        b'<' if second == Some(b'=') => (TokenKind::LessOrEqual, 2),
        b'<' => (TokenKind::Less, 1),
        b'>' if second == Some(b'=') => (TokenKind::GreaterOrEqual, 2),
        b'>' => (TokenKind::Greater, 1),
        _ => (TokenKind::Unknown, text[at..].chars().next().map_or(1, char::len_utf8)),
    }
}

fn keyword(word: &[u8]) -> Option<TokenKind> {
    let keywords: [(&[u8], TokenKind); 9] = [
        (b"and", TokenKind::And),
        (b"or", TokenKind::Or),
        (b"not", TokenKind::Not),
        (b"between", TokenKind::Between),
        (b"in", TokenKind::In),
        (b"set", TokenKind::Set),
        (b"remove", TokenKind::Remove),
        (b"add", TokenKind::Add),
        (b"delete", TokenKind::Delete),
    ];
    keywords.iter().find(|(text, _)| word.eq_ignore_ascii_case(text)).map(|(_, kind)| *kind)
}

/// The error for the token at `position`: the token itself and, as `near`, everything from the start of the
/// token before it to the end of the token after it.
pub(super) fn syntax_error(kind: ExpressionKind, text: &str, tokens: &[Token], position: usize) -> ApiError {
    let end_of_text = Token { kind: TokenKind::End, start: text.len(), end: text.len() };
    let token = tokens.get(position).copied().unwrap_or(end_of_text);
    let start = match position.checked_sub(1) {
        Some(previous) => tokens.get(previous).map_or(0, |t| t.start),
        None => 0,
    };
    let end = match token.kind {
        TokenKind::End => text.len(),
        _ => tokens.get(position + 1).map_or(text.len(), |t| t.end),
    };
    let shown = if token.kind == TokenKind::End { "<EOF>" } else { &text[token.start..token.end] };
    kind.invalid(format_args!("Syntax error; token: \"{shown}\", near: \"{}\"", &text[start..end]))
}
