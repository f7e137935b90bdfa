//! Tests of the whole language, by stage.
