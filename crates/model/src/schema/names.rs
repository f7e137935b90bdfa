//! Names of tables and indexes, and table ARNs used as names.

/// Shortest name of a table or index, characters.
pub const MIN_NAME: usize = 3;
/// Longest name of a table or index, characters.
pub const MAX_NAME: usize = 255;

/// True for three to 255 of `a-z A-Z 0-9 _ - .`.
pub fn is_valid_name(name: &str) -> bool {
    (MIN_NAME..=MAX_NAME).contains(&name.len()) && has_name_characters(name)
}

/// True for one or more of `a-z A-Z 0-9 _ - .`.
pub(crate) fn has_name_characters(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// How a request names a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableReference<'a> {
    /// By name, not checked.
    Name(&'a str),
    /// By ARN: the name in it.
    Arn(&'a str),
    /// By something that starts as an ARN and is none of a table.
    BadArn,
}

/// Tells names from ARNs (`arn:aws:dynamodb:region:account:table/name`). Region and account are not looked
/// at: there is one of each.
pub fn parse_table_reference(text: &str) -> TableReference<'_> {
    let Some(rest) = text.strip_prefix("arn:") else { return TableReference::Name(text) };
    let mut parts = rest.splitn(5, ':');
    let [_partition, Some(service), _region, _account, Some(resource)] =
        std::array::from_fn(|_| parts.next())
    else {
        return TableReference::BadArn;
    };
    match resource.strip_prefix("table/") {
        Some(name) if service == "dynamodb" && is_valid_name(name) => TableReference::Arn(name),
        _ => TableReference::BadArn,
    }
}
