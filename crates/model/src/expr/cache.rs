//! A cache of parsed expressions by their text. Clients send the same few texts repeatedly, and the result of
//! parsing depends on the text alone.
//!
//! [`crate::ops`] calls it in place of the parsers. Each thread has its own cache, so nothing is locked. It
//! is bounded in number and in bytes of text. Errors are not cached, so wrong expressions evict nothing.
//!
//! Finding an expression of a hundred bytes costs about a thirtieth of parsing it, two to three microseconds
//! less per request (2026-11-22, `cargo run --release -p torc-model --example expression_cost`).

use super::ExpressionKind;
use super::ast::{ParsedCondition, ParsedProjection, ParsedUpdate};
use crate::ApiError;
use crate::limits::{MAX_CACHED_EXPRESSION_BYTES, MAX_CACHED_EXPRESSIONS};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The least recently used half goes at once: what is asked for moves to the young generation, and when that
/// is full it becomes the old one, whose remaining entries are dropped.
#[derive(Debug)]
struct TextCache<T> {
    young: BTreeMap<Box<str>, T>,
    old: BTreeMap<Box<str>, T>,
    /// Of the texts in `young`.
    bytes: usize,
}

impl<T> Default for TextCache<T> {
    fn default() -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new(), bytes: 0 }
    }
}

impl<T: Clone> TextCache<T> {
    fn get_or(&mut self, text: &str, parse: impl FnOnce(&str) -> Result<T, ApiError>) -> Result<T, ApiError> {
        if let Some(found) = self.young.get(text) {
            return Ok(found.clone());
        }
        let parsed = match self.old.remove(text) {
            Some(found) => found,
            None => parse(text)?,
        };
        if self.young.len() >= MAX_CACHED_EXPRESSIONS || self.bytes + text.len() > MAX_CACHED_EXPRESSION_BYTES
        {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += text.len();
        self.young.insert(text.into(), parsed.clone());
        Ok(parsed)
    }
}

#[derive(Default)]
struct Caches {
    condition: TextCache<ParsedCondition>,
    filter: TextCache<ParsedCondition>,
    key_condition: TextCache<ParsedCondition>,
    projection: TextCache<ParsedProjection>,
    update: TextCache<ParsedUpdate>,
}

thread_local! {
    static CACHES: RefCell<Caches> = RefCell::default();
}

impl ParsedCondition {
    /// As [`ParsedCondition::parse`], unless this thread has parsed the text before.
    ///
    /// # Errors
    /// As [`ParsedCondition::parse`].
    pub fn cached(kind: ExpressionKind, text: &str) -> Result<Self, ApiError> {
        CACHES.with_borrow_mut(|caches| {
            let cache = match kind {
                ExpressionKind::Filter => &mut caches.filter,
                ExpressionKind::KeyCondition => &mut caches.key_condition,
                _ => &mut caches.condition,
            };
            cache.get_or(text, |text| Self::parse(kind, text))
        })
    }
}

impl ParsedProjection {
    /// As [`ParsedProjection::parse`], unless this thread has parsed the text before.
    ///
    /// # Errors
    /// As [`ParsedProjection::parse`].
    pub fn cached(text: &str) -> Result<Self, ApiError> {
        CACHES.with_borrow_mut(|caches| caches.projection.get_or(text, Self::parse))
    }
}

impl ParsedUpdate {
    /// As [`ParsedUpdate::parse`], unless this thread has parsed the text before.
    ///
    /// # Errors
    /// As [`ParsedUpdate::parse`].
    pub fn cached(text: &str) -> Result<Self, ApiError> {
        CACHES.with_borrow_mut(|caches| caches.update.get_or(text, Self::parse))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_once_and_faults_each_time() {
        let (mut cache, mut parsed) = (TextCache::default(), 0);
        for _ in 0..3 {
            let length = cache.get_or("abc", |text| {
                parsed += 1;
                Ok(text.len())
            });
            assert_eq!(length, Ok(3));
        }
        assert_eq!(parsed, 1);
        for _ in 0..2 {
            let fault = cache.get_or("x", |_| Err::<usize, _>(ApiError::validation("no")));
            assert_eq!(fault, Err(ApiError::validation("no")));
        }
        assert_eq!(cache.young.len(), 1);
    }

    #[test]
    fn what_is_used_stays_and_both_bounds_hold() {
        let mut cache = TextCache::default();
        let (mut parsed, mut favourite) = (0, 0);
        for round in 0..4 * MAX_CACHED_EXPRESSIONS {
            // Some are long enough for the bound in bytes to come first.
            let text = format!("{round}{}", "x".repeat(if round % 3 == 0 { 500 } else { 0 }));
            cache
                .get_or(&text, |_| {
                    parsed += 1;
                    Ok(round)
                })
                .unwrap();
            cache
                .get_or("favourite", |_| {
                    favourite += 1;
                    Ok(0)
                })
                .unwrap();
            for generation in [&cache.young, &cache.old] {
                assert!(generation.len() <= MAX_CACHED_EXPRESSIONS);
                assert!(
                    generation.keys().map(|text| text.len()).sum::<usize>() <= MAX_CACHED_EXPRESSION_BYTES
                );
            }
        }
        assert_eq!((parsed, favourite), (4 * MAX_CACHED_EXPRESSIONS, 1));
    }

    #[test]
    fn kinds_are_kept_apart() {
        for _ in 0..2 {
            for kind in [ExpressionKind::Condition, ExpressionKind::Filter, ExpressionKind::KeyCondition] {
                assert_eq!(ParsedCondition::cached(kind, "a = :a"), ParsedCondition::parse(kind, "a = :a"));
                assert_eq!(ParsedCondition::cached(kind, "a ="), ParsedCondition::parse(kind, "a ="));
            }
            assert_eq!(ParsedProjection::cached("a, b"), ParsedProjection::parse("a, b"));
            assert_eq!(ParsedUpdate::cached("REMOVE a, b"), ParsedUpdate::parse("REMOVE a, b"));
        }
    }
}
