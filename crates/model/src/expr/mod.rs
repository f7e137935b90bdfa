//! Expressions: condition, filter, key condition, projection and update. Parsed by hand-written recursive descent, because exact
//! messages and their order are the contract; evaluated against an [`crate::Item`].
