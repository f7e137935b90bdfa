//! What Torc does with every operation and every parameter of DynamoDB's service model (API version
//! 2012-08-10).
//!
//! `cargo xtask compat` writes this table to `COMPAT.md`, and a test fails if the two differ. A change that
//! makes Torc do more for an operation also changes the operation's line here.

/// What becomes of an operation or parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As documented by AWS.
    Served,
    /// Served in part.
    Partly(&'static str),
    /// Checked, kept and described, without the effect.
    Kept(&'static str),
    /// The feature is not implemented. The answer is the one that DynamoDB gives while the feature is
    /// disabled.
    NotEnabled(&'static str),
    /// Refused.
    Refused(&'static str),
    /// Accepted and ignored.
    Ignored,
}
use State::{Ignored, Kept, NotEnabled, Partly, Refused, Served};

/// An operation.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub state: State,
    /// Its parameters, by name.
    pub parameters: &'static [(&'static str, State)],
}

const fn operation(
    name: &'static str,
    state: State,
    parameters: &'static [(&'static str, State)],
) -> Operation {
    Operation { name, state, parameters }
}

/// All of them, by name.
pub const OPERATIONS: &[Operation] = &[
    operation(
        "BatchExecuteStatement",
        Refused("UnknownOperationException"),
        &[
            ("ReturnConsumedCapacity", Refused("the whole operation is refused")),
            ("Statements", Refused("the whole operation is refused")),
        ],
    ),
    operation("BatchGetItem", Served, &[("RequestItems", Served), ("ReturnConsumedCapacity", Served)]),
    operation(
        "BatchWriteItem",
        Served,
        &[
            ("RequestItems", Served),
            ("ReturnConsumedCapacity", Served),
            ("ReturnItemCollectionMetrics", Partly("sizes are not counted: always 0 to 1 GB")),
        ],
    ),
    operation(
        "CreateBackup",
        NotEnabled("ContinuousBackupsUnavailableException"),
        &[("BackupName", Kept("checked")), ("TableName", Kept("checked"))],
    ),
    operation(
        "CreateGlobalTable",
        NotEnabled("ValidationException"),
        &[("GlobalTableName", Kept("checked")), ("ReplicationGroup", Kept("checked"))],
    ),
    operation(
        "CreateTable",
        Served,
        &[
            ("AttributeDefinitions", Served),
            ("BillingMode", Served),
            ("DeletionProtectionEnabled", Served),
            ("GlobalSecondaryIndexes", Served),
            ("GlobalTableSettingsReplicationMode", Ignored),
            ("GlobalTableSourceArn", Ignored),
            ("KeySchema", Served),
            ("LocalSecondaryIndexes", Served),
            ("OnDemandThroughput", Kept("no throttling")),
            ("ProvisionedThroughput", Kept("no throttling")),
            ("ResourcePolicy", Kept("given back; not enforced")),
            ("SSESpecification", Kept("described; the disk is not encrypted by it")),
            ("StreamSpecification", Kept("the stream itself is not there yet")),
            ("TableClass", Kept("described")),
            ("TableName", Served),
            ("Tags", Served),
            ("WarmThroughput", Kept("described as ready")),
        ],
    ),
    operation("DeleteBackup", NotEnabled("BackupNotFoundException"), &[("BackupArn", Kept("checked"))]),
    operation(
        "DeleteItem",
        Served,
        &[
            ("ConditionExpression", Served),
            ("ConditionalOperator", Served),
            ("Expected", Served),
            ("ExpressionAttributeNames", Served),
            ("ExpressionAttributeValues", Served),
            ("Key", Served),
            ("ReturnConsumedCapacity", Served),
            ("ReturnItemCollectionMetrics", Partly("sizes are not counted: always 0 to 1 GB")),
            ("ReturnValues", Served),
            ("ReturnValuesOnConditionCheckFailure", Served),
            ("TableName", Served),
        ],
    ),
    operation(
        "DeleteResourcePolicy",
        Kept("removes what was put"),
        &[("ExpectedRevisionId", Served), ("ResourceArn", Served)],
    ),
    operation("DeleteTable", Served, &[("TableName", Served)]),
    operation("DescribeBackup", NotEnabled("BackupNotFoundException"), &[("BackupArn", Kept("checked"))]),
    operation(
        "DescribeContinuousBackups",
        NotEnabled("point-in-time recovery is disabled"),
        &[("TableName", Kept("checked"))],
    ),
    operation(
        "DescribeContributorInsights",
        NotEnabled("disabled"),
        &[("IndexName", Kept("checked")), ("TableName", Kept("checked"))],
    ),
    operation("DescribeEndpoints", Served, &[]),
    operation("DescribeExport", NotEnabled("ExportNotFoundException"), &[("ExportArn", Kept("checked"))]),
    operation(
        "DescribeGlobalTable",
        NotEnabled("GlobalTableNotFoundException"),
        &[("GlobalTableName", Kept("checked"))],
    ),
    operation(
        "DescribeGlobalTableSettings",
        NotEnabled("GlobalTableNotFoundException"),
        &[("GlobalTableName", Kept("checked"))],
    ),
    operation("DescribeImport", NotEnabled("ImportNotFoundException"), &[("ImportArn", Kept("checked"))]),
    operation(
        "DescribeKinesisStreamingDestination",
        NotEnabled("an empty list"),
        &[("TableName", Kept("checked"))],
    ),
    operation("DescribeLimits", Served, &[]),
    operation("DescribeTable", Served, &[("TableName", Served)]),
    operation(
        "DescribeTableReplicaAutoScaling",
        NotEnabled("no replicas"),
        &[("TableName", Kept("checked"))],
    ),
    operation("DescribeTimeToLive", Served, &[("TableName", Served)]),
    operation(
        "DisableKinesisStreamingDestination",
        NotEnabled("ResourceNotFoundException"),
        &[
            ("EnableKinesisStreamingConfiguration", Ignored),
            ("StreamArn", Kept("checked")),
            ("TableName", Kept("checked")),
        ],
    ),
    operation(
        "EnableKinesisStreamingDestination",
        NotEnabled("ValidationException"),
        &[
            ("EnableKinesisStreamingConfiguration", Ignored),
            ("StreamArn", Kept("checked")),
            ("TableName", Kept("checked")),
        ],
    ),
    operation(
        "ExecuteStatement",
        Refused("UnknownOperationException"),
        &[
            ("ConsistentRead", Refused("the whole operation is refused")),
            ("Limit", Refused("the whole operation is refused")),
            ("NextToken", Refused("the whole operation is refused")),
            ("Parameters", Refused("the whole operation is refused")),
            ("ReturnConsumedCapacity", Refused("the whole operation is refused")),
            ("ReturnValuesOnConditionCheckFailure", Refused("the whole operation is refused")),
            ("Statement", Refused("the whole operation is refused")),
        ],
    ),
    operation(
        "ExecuteTransaction",
        Refused("UnknownOperationException"),
        &[
            ("ClientRequestToken", Refused("the whole operation is refused")),
            ("ReturnConsumedCapacity", Refused("the whole operation is refused")),
            ("TransactStatements", Refused("the whole operation is refused")),
        ],
    ),
    operation(
        "ExportTableToPointInTime",
        NotEnabled("PointInTimeRecoveryUnavailableException"),
        &[
            ("ClientToken", Ignored),
            ("ExportFormat", Kept("checked")),
            ("ExportTime", Ignored),
            ("ExportType", Kept("checked")),
            ("IncrementalExportSpecification", Ignored),
            ("S3Bucket", Kept("checked")),
            ("S3BucketOwner", Ignored),
            ("S3Prefix", Kept("checked")),
            ("S3SseAlgorithm", Kept("checked")),
            ("S3SseKmsKeyId", Kept("checked")),
            ("TableArn", Kept("checked")),
        ],
    ),
    operation(
        "GetItem",
        Served,
        &[
            ("AttributesToGet", Served),
            ("ConsistentRead", Served),
            ("ExpressionAttributeNames", Served),
            ("Key", Served),
            ("ProjectionExpression", Served),
            ("ReturnConsumedCapacity", Served),
            ("TableName", Served),
        ],
    ),
    operation("GetResourcePolicy", Kept("gives back what was put"), &[("ResourceArn", Served)]),
    operation(
        "ImportTable",
        NotEnabled("ValidationException"),
        &[
            ("ClientToken", Ignored),
            ("InputCompressionType", Kept("checked")),
            ("InputFormat", Kept("checked")),
            ("InputFormatOptions", Ignored),
            ("S3BucketSource", Kept("checked")),
            ("TableCreationParameters", Kept("checked")),
        ],
    ),
    operation(
        "ListBackups",
        NotEnabled("an empty list"),
        &[
            ("BackupType", Kept("checked")),
            ("ExclusiveStartBackupArn", Kept("checked")),
            ("Limit", Kept("checked")),
            ("TableName", Kept("checked")),
            ("TimeRangeLowerBound", Ignored),
            ("TimeRangeUpperBound", Ignored),
        ],
    ),
    operation(
        "ListContributorInsights",
        NotEnabled("an empty list"),
        &[("MaxResults", Kept("checked")), ("NextToken", Kept("checked")), ("TableName", Kept("checked"))],
    ),
    operation(
        "ListExports",
        NotEnabled("an empty list"),
        &[("MaxResults", Kept("checked")), ("NextToken", Kept("checked")), ("TableArn", Kept("checked"))],
    ),
    operation(
        "ListGlobalTables",
        NotEnabled("an empty list"),
        &[
            ("ExclusiveStartGlobalTableName", Kept("checked")),
            ("Limit", Kept("checked")),
            ("RegionName", Kept("checked")),
        ],
    ),
    operation(
        "ListImports",
        NotEnabled("an empty list"),
        &[("NextToken", Kept("checked")), ("PageSize", Kept("checked")), ("TableArn", Kept("checked"))],
    ),
    operation("ListTables", Served, &[("ExclusiveStartTableName", Served), ("Limit", Served)]),
    operation("ListTagsOfResource", Served, &[("NextToken", Served), ("ResourceArn", Served)]),
    operation(
        "PutItem",
        Served,
        &[
            ("ConditionExpression", Served),
            ("ConditionalOperator", Served),
            ("Expected", Served),
            ("ExpressionAttributeNames", Served),
            ("ExpressionAttributeValues", Served),
            ("Item", Served),
            ("ReturnConsumedCapacity", Served),
            ("ReturnItemCollectionMetrics", Partly("sizes are not counted: always 0 to 1 GB")),
            ("ReturnValues", Served),
            ("ReturnValuesOnConditionCheckFailure", Served),
            ("TableName", Served),
        ],
    ),
    operation(
        "PutResourcePolicy",
        Kept("kept and given back; there are no identities to apply it to"),
        &[
            ("ConfirmRemoveSelfResourceAccess", Served),
            ("ExpectedRevisionId", Served),
            ("Policy", Served),
            ("ResourceArn", Served),
        ],
    ),
    operation(
        "Query",
        Served,
        &[
            ("AttributesToGet", Served),
            ("ConditionalOperator", Served),
            ("ConsistentRead", Served),
            ("ExclusiveStartKey", Served),
            ("ExpressionAttributeNames", Served),
            ("ExpressionAttributeValues", Served),
            ("FilterExpression", Served),
            ("IndexName", Served),
            ("KeyConditionExpression", Served),
            ("KeyConditions", Served),
            ("Limit", Served),
            ("ProjectionExpression", Served),
            ("QueryFilter", Served),
            ("ReturnConsumedCapacity", Served),
            ("ScanIndexForward", Served),
            ("Select", Served),
            ("TableName", Served),
        ],
    ),
    operation(
        "RestoreTableFromBackup",
        NotEnabled("BackupNotFoundException"),
        &[
            ("BackupArn", Kept("checked")),
            ("BillingModeOverride", Kept("checked")),
            ("GlobalSecondaryIndexOverride", Ignored),
            ("LocalSecondaryIndexOverride", Ignored),
            ("OnDemandThroughputOverride", Ignored),
            ("ProvisionedThroughputOverride", Ignored),
            ("SSESpecificationOverride", Ignored),
            ("TargetTableName", Kept("checked")),
        ],
    ),
    operation(
        "RestoreTableToPointInTime",
        NotEnabled("PointInTimeRecoveryUnavailableException"),
        &[
            ("BillingModeOverride", Kept("checked")),
            ("GlobalSecondaryIndexOverride", Ignored),
            ("LocalSecondaryIndexOverride", Ignored),
            ("OnDemandThroughputOverride", Ignored),
            ("ProvisionedThroughputOverride", Ignored),
            ("RestoreDateTime", Ignored),
            ("SSESpecificationOverride", Ignored),
            ("SourceTableArn", Kept("checked")),
            ("SourceTableName", Kept("checked")),
            ("TargetTableName", Kept("checked")),
            ("UseLatestRestorableTime", Kept("checked")),
        ],
    ),
    operation(
        "Scan",
        Served,
        &[
            ("AttributesToGet", Served),
            ("ConditionalOperator", Served),
            ("ConsistentRead", Served),
            ("ExclusiveStartKey", Served),
            ("ExpressionAttributeNames", Served),
            ("ExpressionAttributeValues", Served),
            ("FilterExpression", Served),
            ("IndexName", Served),
            ("Limit", Served),
            ("ProjectionExpression", Served),
            ("ReturnConsumedCapacity", Served),
            ("ScanFilter", Served),
            ("Segment", Served),
            ("Select", Served),
            ("TableName", Served),
            ("TotalSegments", Served),
        ],
    ),
    operation("TagResource", Served, &[("ResourceArn", Served), ("Tags", Served)]),
    operation(
        "TransactGetItems",
        Refused("UnknownOperationException"),
        &[
            ("ReturnConsumedCapacity", Refused("the whole operation is refused")),
            ("TransactItems", Refused("the whole operation is refused")),
        ],
    ),
    operation(
        "TransactWriteItems",
        Refused("UnknownOperationException"),
        &[
            ("ClientRequestToken", Refused("the whole operation is refused")),
            ("ReturnConsumedCapacity", Refused("the whole operation is refused")),
            ("ReturnItemCollectionMetrics", Refused("the whole operation is refused")),
            ("TransactItems", Refused("the whole operation is refused")),
        ],
    ),
    operation("UntagResource", Served, &[("ResourceArn", Served), ("TagKeys", Served)]),
    operation(
        "UpdateContinuousBackups",
        NotEnabled("ContinuousBackupsUnavailableException when it is to be enabled"),
        &[("PointInTimeRecoverySpecification", Kept("checked")), ("TableName", Kept("checked"))],
    ),
    operation(
        "UpdateContributorInsights",
        NotEnabled("ValidationException when they are to be enabled"),
        &[
            ("ContributorInsightsAction", Kept("checked")),
            ("ContributorInsightsMode", Kept("checked")),
            ("IndexName", Kept("checked")),
            ("TableName", Kept("checked")),
        ],
    ),
    operation(
        "UpdateGlobalTable",
        NotEnabled("GlobalTableNotFoundException"),
        &[("GlobalTableName", Kept("checked")), ("ReplicaUpdates", Kept("checked"))],
    ),
    operation(
        "UpdateGlobalTableSettings",
        NotEnabled("GlobalTableNotFoundException"),
        &[
            ("GlobalTableBillingMode", Kept("checked")),
            ("GlobalTableGlobalSecondaryIndexSettingsUpdate", Ignored),
            ("GlobalTableName", Kept("checked")),
            ("GlobalTableProvisionedWriteCapacityAutoScalingSettingsUpdate", Ignored),
            ("GlobalTableProvisionedWriteCapacityUnits", Kept("checked")),
            ("ReplicaSettingsUpdate", Ignored),
        ],
    ),
    operation(
        "UpdateItem",
        Served,
        &[
            ("AttributeUpdates", Served),
            ("ConditionExpression", Served),
            ("ConditionalOperator", Served),
            ("Expected", Served),
            ("ExpressionAttributeNames", Served),
            ("ExpressionAttributeValues", Served),
            ("Key", Served),
            ("ReturnConsumedCapacity", Served),
            ("ReturnItemCollectionMetrics", Partly("sizes are not counted: always 0 to 1 GB")),
            ("ReturnValues", Served),
            ("ReturnValuesOnConditionCheckFailure", Served),
            ("TableName", Served),
            ("UpdateExpression", Served),
        ],
    ),
    operation(
        "UpdateKinesisStreamingDestination",
        NotEnabled("ResourceNotFoundException"),
        &[
            ("StreamArn", Kept("checked")),
            ("TableName", Kept("checked")),
            ("UpdateKinesisStreamingConfiguration", Ignored),
        ],
    ),
    operation(
        "UpdateTable",
        Served,
        &[
            ("AttributeDefinitions", Served),
            ("BillingMode", Served),
            ("DeletionProtectionEnabled", Served),
            ("GlobalSecondaryIndexUpdates", Served),
            ("GlobalTableSettingsReplicationMode", Ignored),
            ("GlobalTableWitnessUpdates", Ignored),
            ("MultiRegionConsistency", Ignored),
            ("OnDemandThroughput", Kept("no throttling")),
            ("ProvisionedThroughput", Kept("no throttling")),
            ("ReplicaUpdates", Refused("ValidationException")),
            ("SSESpecification", Kept("described; the disk is not encrypted by it")),
            ("StreamSpecification", Kept("the stream itself is not there yet")),
            ("TableClass", Kept("described")),
            ("TableName", Served),
            ("WarmThroughput", Kept("described as ready")),
        ],
    ),
    operation(
        "UpdateTableReplicaAutoScaling",
        NotEnabled("ValidationException"),
        &[
            ("GlobalSecondaryIndexUpdates", Ignored),
            ("ProvisionedWriteCapacityAutoScalingUpdate", Ignored),
            ("ReplicaUpdates", Ignored),
            ("TableName", Kept("checked")),
        ],
    ),
    operation(
        "UpdateTimeToLive",
        Kept("kept and described; nothing expires yet"),
        &[("TableName", Served), ("TimeToLiveSpecification", Served)],
    ),
];

impl State {
    fn describe(self) -> String {
        match self {
            Served => "as documented".into(),
            Partly(how) => format!("in part: {how}"),
            Kept(how) => format!("stored, without effect: {how}"),
            NotEnabled(answer) => format!(
                "Not implemented. The answer is the one that DynamoDB gives while the feature is disabled: {answer}."
            ),
            Refused(how) => format!("refused: {how}"),
            Ignored => "accepted and ignored".into(),
        }
    }
}

/// The page.
pub fn page() -> String {
    let count = |wanted: fn(&State) -> bool| OPERATIONS.iter().filter(|o| wanted(&o.state)).count();
    let mut out = format!(
        "# Compatibility with DynamoDB\n\nWritten by `cargo xtask compat` from `crates/model/src/compat.rs`; do not edit.\n\n{} operations in the service model: \
         {} served, {} stored without effect, {} answered as if their feature were disabled, {} refused.\n",
        OPERATIONS.len(),
        count(|s| matches!(s, Served | Partly(_))),
        count(|s| matches!(s, Kept(_))),
        count(|s| matches!(s, NotEnabled(_))),
        count(|s| matches!(s, Refused(_) | Ignored)),
    );
    for operation in OPERATIONS {
        out.push_str(&format!("\n## {}\n\n{}\n", operation.name, operation.state.describe()));
        if operation.parameters.is_empty() {
            continue;
        }
        out.push_str("\n| parameter | |\n|---|---|\n");
        for (name, state) in operation.parameters {
            out.push_str(&format!("| `{name}` | {} |\n", state.describe()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::FeatureRequest;

    #[test]
    fn the_page_in_the_repository_is_the_one_written_here() {
        assert_eq!(
            include_str!("../../../COMPAT.md"),
            page(),
            "COMPAT.md is out of date: run cargo xtask compat"
        );
    }

    #[test]
    fn operations_that_are_not_enabled_are_those_that_are_answered_so() {
        assert!(OPERATIONS.is_sorted_by_key(|operation| operation.name));
        for operation in OPERATIONS {
            let feature = FeatureRequest::parse(operation.name, b"{}").is_some();
            let is_read = matches!(operation.name, "DescribeLimits" | "DescribeEndpoints");
            let policy = operation.name.ends_with("ResourcePolicy");
            let expected = matches!(operation.state, NotEnabled(_)) || is_read || policy;
            assert_eq!(feature, expected, "{}", operation.name);
            assert!(operation.parameters.is_sorted_by_key(|(name, _)| name), "{}", operation.name);
        }
    }
}
