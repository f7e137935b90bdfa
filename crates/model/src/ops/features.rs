//! Operations of features that Torc does not have: backups, global tables, exports, imports and the like.
//! Their requests are checked as DynamoDB checks them, so that a client gets errors about its own mistakes
//! first. The api layer decides the answer.
//!
//! One table describes all of them: each operation is a few strings and numbers.

use super::constraints::{Constraints, control_table};
use super::params::read_body;
use crate::ApiError;
use crate::json::{Kind, Reader};
use std::collections::BTreeMap;

/// What a parameter may be.
#[derive(Clone, Copy)]
enum Rule {
    /// The name of a table of a control operation; always required.
    Table,
    /// The name or ARN of a table, or of an index.
    Name,
    /// A string of so many characters.
    Text(usize, usize),
    /// A whole number in a range.
    Integer(i64, i64),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// True or false.
    Boolean,
    /// A structure or list, or a time: looked at for being there alone.
    Any,
}
use Rule::{Any, Boolean, Integer, Name, OneOf, Table, Text};

/// Name, whether it must be there, and what it may be.
type Parameter = (&'static str, bool, Rule);

const ARN: Rule = Text(37, 1024);
const TABLE_ARN: Rule = Text(1, 1024);
const RESOURCE: Rule = Text(1, 1283);
const BILLING: Rule = OneOf(&["PROVISIONED", "PAY_PER_REQUEST"]);
const TABLE: Parameter = ("TableName", true, Table);
const UNBOUNDED: Rule = Text(0, usize::MAX);

const OPERATIONS: &[(&str, &[Parameter])] = &[
    ("CreateBackup", &[TABLE, ("BackupName", true, Name)]),
    ("CreateGlobalTable", &[("GlobalTableName", true, Name), ("ReplicationGroup", true, Any)]),
    ("DeleteBackup", &[("BackupArn", true, ARN)]),
    ("DeleteResourcePolicy", &[("ResourceArn", true, RESOURCE), ("ExpectedRevisionId", false, Text(1, 255))]),
    ("DescribeBackup", &[("BackupArn", true, ARN)]),
    ("DescribeContinuousBackups", &[TABLE]),
    ("DescribeContributorInsights", &[TABLE, ("IndexName", false, Name)]),
    ("DescribeEndpoints", &[]),
    ("DescribeExport", &[("ExportArn", true, ARN)]),
    ("DescribeGlobalTable", &[("GlobalTableName", true, Name)]),
    ("DescribeGlobalTableSettings", &[("GlobalTableName", true, Name)]),
    ("DescribeImport", &[("ImportArn", true, ARN)]),
    ("DescribeKinesisStreamingDestination", &[TABLE]),
    ("DescribeLimits", &[]),
    ("DescribeTableReplicaAutoScaling", &[TABLE]),
    ("DisableKinesisStreamingDestination", &[TABLE, ("StreamArn", true, ARN)]),
    ("EnableKinesisStreamingDestination", &[TABLE, ("StreamArn", true, ARN)]),
    (
        "ExportTableToPointInTime",
        &[
            ("TableArn", true, TABLE_ARN),
            ("S3Bucket", true, Text(0, 255)),
            ("S3Prefix", false, Text(0, 1024)),
            ("S3SseAlgorithm", false, OneOf(&["AES256", "KMS"])),
            ("S3SseKmsKeyId", false, Text(1, 2048)),
            ("ExportFormat", false, OneOf(&["DYNAMODB_JSON", "ION"])),
            ("ExportType", false, OneOf(&["FULL_EXPORT", "INCREMENTAL_EXPORT"])),
        ],
    ),
    ("GetResourcePolicy", &[("ResourceArn", true, RESOURCE)]),
    (
        "ImportTable",
        &[
            ("S3BucketSource", true, Any),
            ("InputFormat", true, OneOf(&["DYNAMODB_JSON", "ION", "CSV"])),
            ("InputCompressionType", false, OneOf(&["GZIP", "ZSTD", "NONE"])),
            ("TableCreationParameters", true, Any),
        ],
    ),
    (
        "ListBackups",
        &[
            ("TableName", false, Name),
            ("Limit", false, Integer(1, 100)),
            ("ExclusiveStartBackupArn", false, ARN),
            ("BackupType", false, OneOf(&["USER", "SYSTEM", "AWS_BACKUP", "ALL"])),
        ],
    ),
    (
        "ListContributorInsights",
        &[
            ("TableName", false, Name),
            ("NextToken", false, UNBOUNDED),
            ("MaxResults", false, Integer(i64::MIN, 100)),
        ],
    ),
    (
        "ListExports",
        &[
            ("TableArn", false, TABLE_ARN),
            ("MaxResults", false, Integer(1, 25)),
            ("NextToken", false, UNBOUNDED),
        ],
    ),
    (
        "ListGlobalTables",
        &[
            ("ExclusiveStartGlobalTableName", false, Name),
            ("Limit", false, Integer(1, i64::MAX)),
            ("RegionName", false, UNBOUNDED),
        ],
    ),
    (
        "ListImports",
        &[
            ("TableArn", false, TABLE_ARN),
            ("PageSize", false, Integer(1, 25)),
            ("NextToken", false, Text(112, 1024)),
        ],
    ),
    (
        "PutResourcePolicy",
        &[
            ("ResourceArn", true, RESOURCE),
            ("Policy", true, UNBOUNDED),
            ("ExpectedRevisionId", false, Text(1, 255)),
            ("ConfirmRemoveSelfResourceAccess", false, Boolean),
        ],
    ),
    (
        "RestoreTableFromBackup",
        &[("TargetTableName", true, Name), ("BackupArn", true, ARN), ("BillingModeOverride", false, BILLING)],
    ),
    (
        "RestoreTableToPointInTime",
        &[
            ("SourceTableArn", false, TABLE_ARN),
            ("SourceTableName", false, Name),
            ("TargetTableName", true, Name),
            ("UseLatestRestorableTime", false, Boolean),
            ("BillingModeOverride", false, BILLING),
        ],
    ),
    ("UpdateContinuousBackups", &[TABLE, ("PointInTimeRecoverySpecification", true, Any)]),
    (
        "UpdateContributorInsights",
        &[
            TABLE,
            ("IndexName", false, Name),
            ("ContributorInsightsAction", true, OneOf(&["ENABLE", "DISABLE"])),
            ("ContributorInsightsMode", false, OneOf(&["ACCESSED_AND_THROTTLED_KEYS", "THROTTLED_KEYS"])),
        ],
    ),
    ("UpdateGlobalTable", &[("GlobalTableName", true, Name), ("ReplicaUpdates", true, Any)]),
    (
        "UpdateGlobalTableSettings",
        &[
            ("GlobalTableName", true, Name),
            ("GlobalTableBillingMode", false, BILLING),
            ("GlobalTableProvisionedWriteCapacityUnits", false, Integer(1, i64::MAX)),
        ],
    ),
    ("UpdateKinesisStreamingDestination", &[TABLE, ("StreamArn", true, ARN)]),
    ("UpdateTableReplicaAutoScaling", &[TABLE]),
];

/// A checked request of an operation of the table above.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureRequest {
    text: BTreeMap<&'static str, String>,
    numbers: BTreeMap<&'static str, i64>,
    present: Vec<&'static str>,
    /// `Enabled` of the structure `PointInTimeRecoverySpecification`.
    pub recovery_enabled: bool,
}

impl FeatureRequest {
    /// Reads and validates the body of an operation; `None` if the operation is not one of these.
    ///
    /// # Errors
    /// The inner result: `SerializationException` or `ValidationException`.
    pub fn parse(operation: &str, body: &[u8]) -> Option<Result<Self, ApiError>> {
        let (_, parameters) = OPERATIONS.iter().find(|(name, _)| *name == operation)?;
        Some(Self::read(operation, parameters, body))
    }

    /// A string parameter, empty if it is absent. That of a table is its name, where the request has an ARN.
    pub fn text(&self, name: &str) -> &str {
        self.text.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether a parameter is there.
    pub fn has(&self, name: &str) -> bool {
        self.text.contains_key(name) || self.present.contains(&name)
    }

    fn read(operation: &str, parameters: &[Parameter], body: &[u8]) -> Result<Self, ApiError> {
        let mut request = Self::default();
        read_body(body, &format!("{operation}Input"), |reader, name| {
            match parameters.iter().find(|(parameter, ..)| *parameter == name) {
                None => reader.skip(),
                Some((name, _, rule)) => request.member(reader, name, *rule),
            }
        })?;
        request.check(parameters)?;
        Ok(request)
    }

    fn member(&mut self, reader: &mut Reader<'_>, name: &'static str, rule: Rule) -> Result<(), ApiError> {
        match rule {
            Table | Name | Text(..) | OneOf(_) => {
                self.text.insert(name, reader.string()?.into_owned());
            }
            Integer(..) => {
                self.numbers.insert(name, reader.integer("Integer")?);
            }
            Boolean => {
                reader.boolean()?;
            }
            Any if name == "PointInTimeRecoverySpecification" && reader.peek()? == Kind::Object => {
                self.present.push(name);
                let mut enabled = None;
                reader.structure("PointInTimeRecoverySpecification", |reader, member| {
                    if member == "PointInTimeRecoveryEnabled" {
                        enabled = Some(reader.boolean()?);
                        return Ok(());
                    }
                    reader.skip()
                })?;
                self.recovery_enabled = enabled.unwrap_or(false);
            }
            Any => {
                self.present.push(name);
                reader.skip()?;
            }
        }
        Ok(())
    }

    fn check(&mut self, parameters: &[Parameter]) -> Result<(), ApiError> {
        if parameters.iter().any(|(_, _, rule)| matches!(rule, Table)) {
            let name = control_table(self.text.get("TableName").map(String::as_str))?;
            self.text.insert("TableName", name);
        }
        let mut c = Constraints::default();
        for (name, required, rule) in parameters {
            let path = path_of(name);
            let text = self.text.get(name).cloned();
            if *required && !self.has(name) {
                c.missing(&path);
            }
            match (rule, text) {
                (Table, Some(text)) => c.name(&text, &path),
                (Name, Some(text)) if text.starts_with("arn:") => {
                    let name_in_arn = c.table(Some(&text), &path);
                    self.text.insert(name, name_in_arn);
                }
                (Name, Some(text)) => c.name(&text, &path),
                (Text(min, max), Some(text)) => c.length(&text, text.chars().count(), &path, *min, *max),
                (OneOf(set), Some(text)) => c.one_of(Some(&text), &path, set),
                (Integer(min, max), _) => c.range(self.numbers.get(name).copied(), &path, *min, *max),
                _ => {}
            }
        }
        c.finish()
    }
}

/// How constraints name a parameter: with a small first letter (of an acronym too, `s3Bucket`).
fn path_of(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}
