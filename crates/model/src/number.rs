//! DynamoDB numbers: 38 significant decimal digits, magnitude 1E-130 to 9.99…E+125.

/// An exact decimal. Equality, order and hash are by value, not by spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number;
