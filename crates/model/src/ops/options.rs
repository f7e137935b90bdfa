//! Enumerated parameters that several operations share.

/// `ReturnConsumedCapacity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnConsumedCapacity {
    /// Nothing.
    #[default]
    None,
    /// The sum.
    Total,
    /// The sum, and table and indexes separately.
    Indexes,
}

impl ReturnConsumedCapacity {
    pub(super) const NAMES: [&str; 3] = ["INDEXES", "TOTAL", "NONE"];

    pub(super) fn of(name: Option<&str>) -> Self {
        match name {
            Some("TOTAL") => Self::Total,
            Some("INDEXES") => Self::Indexes,
            _ => Self::None,
        }
    }
}

/// `ReturnValues`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnValues {
    /// Nothing.
    #[default]
    None,
    /// The item before.
    AllOld,
    /// The updated attributes before.
    UpdatedOld,
    /// The item after.
    AllNew,
    /// The updated attributes after.
    UpdatedNew,
}

impl ReturnValues {
    pub(super) const NAMES: [&str; 5] = ["ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"];

    pub(super) fn of(name: Option<&str>) -> Self {
        match name {
            Some("ALL_OLD") => Self::AllOld,
            Some("UPDATED_OLD") => Self::UpdatedOld,
            Some("ALL_NEW") => Self::AllNew,
            Some("UPDATED_NEW") => Self::UpdatedNew,
            _ => Self::None,
        }
    }
}

/// `Select`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// Whole items, fetched from the table where an index does not hold them.
    AllAttributes,
    /// All that the index holds.
    AllProjected,
    /// What the projection names.
    Specific,
    /// The count alone.
    Count,
}

impl Select {
    pub(super) const NAMES: [&str; 4] =
        ["SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"];

    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "ALL_ATTRIBUTES" => Some(Self::AllAttributes),
            "ALL_PROJECTED_ATTRIBUTES" => Some(Self::AllProjected),
            "SPECIFIC_ATTRIBUTES" => Some(Self::Specific),
            "COUNT" => Some(Self::Count),
            _ => None,
        }
    }
}
