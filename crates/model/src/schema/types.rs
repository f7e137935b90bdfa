//! The parts of a table's schema.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ScalarType {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
}

impl ScalarType {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            ScalarType::S => "S",
            ScalarType::N => "N",
            ScalarType::B => "B",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "S" => Some(ScalarType::S),
            "N" => Some(ScalarType::N),
            "B" => Some(ScalarType::B),
            _ => None,
        }
    }

    /// True if `value` is of this type.
    pub fn admits(self, value: &crate::AttributeValue) -> bool {
        self.name() == value.type_name()
    }
}

/// `AttributeDefinition`: an attribute that is part of some key, with its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeDefinition {
    /// The attribute.
    pub name: String,
    /// Its type.
    pub kind: ScalarType,
}

/// An attribute of a key, with its type.
pub type KeyAttribute = AttributeDefinition;

/// The key of a table or index. A table has one partition attribute and at most one sort attribute; a global
/// index may have several of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDefinition {
    /// `HASH` attributes, at least one.
    pub partition: Vec<KeyAttribute>,
    /// `RANGE` attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<KeyAttribute>,
}

impl KeyDefinition {
    /// All attributes, partition before sort.
    pub fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        self.partition.iter().chain(&self.sort)
    }

    /// How many attributes there are.
    pub fn len(&self) -> usize {
        self.partition.len() + self.sort.len()
    }

    /// Never true of a schema that was validated.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if `name` is one of the attributes.
    pub fn contains(&self, name: &str) -> bool {
        self.attributes().any(|attribute| attribute.name == name)
    }
}

/// `ProjectionType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProjectionType {
    /// The whole item.
    #[serde(rename = "ALL")]
    All,
    /// Keys of index and table.
    #[serde(rename = "KEYS_ONLY")]
    KeysOnly,
    /// Keys, and the attributes named.
    #[serde(rename = "INCLUDE")]
    Include,
}

impl ProjectionType {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            ProjectionType::All => "ALL",
            ProjectionType::KeysOnly => "KEYS_ONLY",
            ProjectionType::Include => "INCLUDE",
        }
    }
}

/// What an index copies of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Projection {
    /// How much.
    pub kind: ProjectionType,
    /// The attributes of [`ProjectionType::Include`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub non_key_attributes: Vec<String>,
}

/// `ProvisionedThroughput`, units a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throughput {
    /// Read units.
    pub read: u64,
    /// Write units.
    pub write: u64,
}

/// `OnDemandThroughput`: ceilings of an on-demand table or index; `None` is no ceiling (−1 in a request).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemandThroughput {
    /// Read units a second.
    pub max_read: Option<u64>,
    /// Write units a second.
    pub max_write: Option<u64>,
}

/// `WarmThroughput`: what a table or index can take at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmThroughput {
    /// Read units a second.
    pub read: u64,
    /// Write units a second.
    pub write: u64,
}

/// A local secondary index: same partition key, another sort key, written with the item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalIndex {
    /// Its name.
    pub name: String,
    /// The id its rows are stored under; 0 until the topology assigns one.
    #[serde(default)]
    pub id: u64,
    /// Its key.
    pub key: KeyDefinition,
    /// What it copies.
    pub projection: Projection,
}

/// A global secondary index: any key, kept up from the change log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalIndex {
    /// Its name.
    pub name: String,
    /// The id its rows are stored under. Not stored here: the topology has it, and fills it in.
    #[serde(skip)]
    pub id: u64,
    /// Its state. Not stored here either.
    #[serde(skip)]
    pub state: IndexState,
    /// Its key.
    pub key: KeyDefinition,
    /// What it copies.
    pub projection: Projection,
    /// Of a provisioned table.
    #[serde(default)]
    pub throughput: Option<Throughput>,
    /// Of an on-demand table.
    #[serde(default)]
    pub on_demand: Option<OnDemandThroughput>,
    /// When it was set.
    #[serde(default)]
    pub warm: Option<WarmThroughput>,
    /// When its throughput changed.
    #[serde(default, skip_serializing_if = "SettingTimes::is_empty")]
    pub times: SettingTimes,
}

impl GlobalIndex {
    /// Whether an item has a row in it: it has all attributes of the index's key, of their types, and such
    /// that they can be keys.
    pub fn admits(&self, item: &crate::Item) -> bool {
        self.key.fits(item)
    }
}

/// The state of a global secondary index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexState {
    /// Its partitions are being set up.
    Creating,
    /// The items that were there before it get their rows.
    Backfilling,
    /// Serving.
    #[default]
    Active,
    /// Being deleted: it is described, and nothing else.
    Deleting,
}

/// `BillingMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BillingMode {
    /// Units a second are set.
    #[default]
    #[serde(rename = "PROVISIONED")]
    Provisioned,
    /// On demand.
    #[serde(rename = "PAY_PER_REQUEST")]
    PayPerRequest,
}

impl BillingMode {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            BillingMode::Provisioned => "PROVISIONED",
            BillingMode::PayPerRequest => "PAY_PER_REQUEST",
        }
    }
}

/// `StreamViewType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamViewType {
    /// Keys of the item.
    #[serde(rename = "KEYS_ONLY")]
    KeysOnly,
    /// The item after the write.
    #[serde(rename = "NEW_IMAGE")]
    NewImage,
    /// The item before the write.
    #[serde(rename = "OLD_IMAGE")]
    OldImage,
    /// Both.
    #[serde(rename = "NEW_AND_OLD_IMAGES")]
    NewAndOldImages,
}

impl StreamViewType {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            StreamViewType::KeysOnly => "KEYS_ONLY",
            StreamViewType::NewImage => "NEW_IMAGE",
            StreamViewType::OldImage => "OLD_IMAGE",
            StreamViewType::NewAndOldImages => "NEW_AND_OLD_IMAGES",
        }
    }
}

/// `SSESpecification` with a key of the customer's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SseSpecification {
    /// `SSEType`, `KMS`.
    pub kind: String,
    /// `KMSMasterKeyId`, when one was named.
    #[serde(default)]
    pub key_id: Option<String>,
}

/// `TableClass`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableClass {
    /// The default.
    #[default]
    #[serde(rename = "STANDARD")]
    Standard,
    /// Cheaper storage, dearer access.
    #[serde(rename = "STANDARD_INFREQUENT_ACCESS")]
    InfrequentAccess,
}

impl TableClass {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            TableClass::Standard => "STANDARD",
            TableClass::InfrequentAccess => "STANDARD_INFREQUENT_ACCESS",
        }
    }
}

/// `TimeToLiveSpecification` of a table where it is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeToLive {
    /// The attribute that holds the time of expiry, in seconds since 1970.
    pub attribute: String,
}

/// All that defines a table. Stored as JSON; members added later have defaults, so that older records stay
/// readable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The table's name.
    pub name: String,
    /// `AttributeDefinitions`, in the order of the request.
    pub attributes: Vec<AttributeDefinition>,
    /// The primary key.
    pub key: KeyDefinition,
    /// Local secondary indexes.
    #[serde(default)]
    pub local_indexes: Vec<LocalIndex>,
    /// Global secondary indexes.
    #[serde(default)]
    pub global_indexes: Vec<GlobalIndex>,
    /// How it is billed.
    #[serde(default)]
    pub billing: BillingMode,
    /// Of a provisioned table.
    #[serde(default)]
    pub throughput: Throughput,
    /// Of an on-demand table.
    #[serde(default)]
    pub on_demand: Option<OnDemandThroughput>,
    /// When it was set.
    #[serde(default)]
    pub warm: Option<WarmThroughput>,
    /// `StreamSpecification`, where the stream is on.
    #[serde(default)]
    pub stream: Option<StreamViewType>,
    /// `SSESpecification`, where it names a key.
    #[serde(default)]
    pub sse: Option<SseSpecification>,
    /// `None` when none was ever named, and then not described.
    #[serde(default)]
    pub table_class: Option<TableClass>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether `DeleteTable` is refused.
    #[serde(default)]
    pub deletion_protection: bool,
    /// Where items expire.
    #[serde(default)]
    pub ttl: Option<TimeToLive>,
    /// `ResourcePolicy`, as given.
    #[serde(default)]
    pub resource_policy: Option<String>,
    /// When its settings changed, where that is described.
    #[serde(default, skip_serializing_if = "SettingTimes::is_empty")]
    pub times: SettingTimes,
}

/// When settings of a table changed: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingTimes {
    /// Billing by request began.
    #[serde(default)]
    pub on_demand: Option<u64>,
    /// Provisioned throughput was last raised.
    #[serde(default)]
    pub increase: Option<u64>,
    /// Provisioned throughput was last lowered.
    #[serde(default)]
    pub decrease: Option<u64>,
    /// How often it was lowered on the day of `decrease` (UTC).
    #[serde(default)]
    pub decreases: u32,
    /// The stream was last enabled.
    #[serde(default)]
    pub stream: Option<u64>,
}

impl SettingTimes {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes a change of throughput.
    pub fn throughput_changed(&mut self, from: Throughput, to: Throughput, now_ms: u64) {
        if to.read > from.read || to.write > from.write {
            self.increase = Some(now_ms);
        }
        if to.read < from.read || to.write < from.write {
            self.decreases = self.decreases_on_day_of(now_ms) + 1;
            self.decrease = Some(now_ms);
        }
    }

    /// How often throughput was lowered on the day of `now_ms`.
    pub fn decreases_on_day_of(&self, now_ms: u64) -> u32 {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let today = self.decrease.is_some_and(|at| at / DAY_MS == now_ms / DAY_MS);
        if today { self.decreases } else { 0 }
    }
}

/// A stored schema that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the stored table schema is not readable: {0}")]
pub struct SchemaError(#[from] serde_json::Error);

/// An index of either kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IndexRef<'a> {
    /// A local one.
    Local(&'a LocalIndex),
    /// A global one.
    Global(&'a GlobalIndex),
}

impl<'a> IndexRef<'a> {
    /// The index's name.
    pub fn name(self) -> &'a str {
        match self {
            IndexRef::Local(index) => &index.name,
            IndexRef::Global(index) => &index.name,
        }
    }

    /// The index's key.
    pub fn key(self) -> &'a KeyDefinition {
        match self {
            IndexRef::Local(index) => &index.key,
            IndexRef::Global(index) => &index.key,
        }
    }

    /// What the index copies.
    pub fn projection(self) -> &'a Projection {
        match self {
            IndexRef::Local(index) => &index.projection,
            IndexRef::Global(index) => &index.projection,
        }
    }

    /// True for an index that is being deleted.
    pub fn is_leaving(self) -> bool {
        matches!(self, IndexRef::Global(index) if index.state == IndexState::Deleting)
    }

    /// True for an index that does not have all its rows yet.
    pub fn is_filling(self) -> bool {
        let filling = [IndexState::Creating, IndexState::Backfilling];
        matches!(self, IndexRef::Global(index) if filling.contains(&index.state))
    }

    /// True for a global index.
    pub fn is_global(self) -> bool {
        matches!(self, IndexRef::Global(_))
    }
}

impl TableSchema {
    /// The stored form.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and lists only: nothing here can fail to serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When the bytes are not what [`TableSchema::to_json`] writes.
    pub fn from_json(bytes: &[u8]) -> Result<Self, SchemaError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The index of that name.
    pub fn index(&self, name: &str) -> Option<IndexRef<'_>> {
        self.indexes().find(|index| index.name() == name)
    }

    /// All indexes, local ones first.
    pub fn indexes(&self) -> impl Iterator<Item = IndexRef<'_>> {
        self.local_indexes.iter().map(IndexRef::Local).chain(self.global_indexes.iter().map(IndexRef::Global))
    }

    /// Whether an index holds an attribute of the items in it.
    pub fn is_projected(&self, index: IndexRef<'_>, name: &str) -> bool {
        let projection = index.projection();
        projection.kind == ProjectionType::All
            || self.key.contains(name)
            || index.key().contains(name)
            || projection.non_key_attributes.iter().any(|attribute| attribute == name)
    }

    /// What an index holds of an item.
    pub fn project(&self, index: IndexRef<'_>, item: &crate::Item) -> crate::Item {
        let held = item.iter().filter(|(name, _)| self.is_projected(index, name));
        held.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The defined type of an attribute.
    pub fn attribute_type(&self, name: &str) -> Option<ScalarType> {
        self.attributes.iter().find(|definition| definition.name == name).map(|definition| definition.kind)
    }
}
