//! Operations of features that Torc does not have. The answer is the one that DynamoDB gives while the
//! feature is disabled, or when the requested thing does not exist.

use super::{Context, settings};
use serde_json::{Value, json};
use torc_cluster::topology::TableStatus;
use torc_model::ops::{FeatureRequest, Resource};
use torc_model::schema::{TableReference, TableSchema, parse_table_reference};
use torc_model::{ApiError, ErrorCode};

/// Answers an operation; `None` if it is not one of these.
pub(super) async fn handle(
    context: &Context<'_>,
    operation: &str,
    body: &[u8],
) -> Option<Result<Vec<u8>, ApiError>> {
    let request = match FeatureRequest::parse(operation, body)? {
        Ok(request) => request,
        Err(error) => return Some(Err(error)),
    };
    let answer = answer(context, operation, &request).await;
    Some(answer.map(|body| if body.is_null() { Vec::new() } else { body.to_string().into_bytes() }))
}

async fn answer(context: &Context<'_>, operation: &str, request: &FeatureRequest) -> Result<Value, ApiError> {
    let text = |name: &str| request.text(name);
    match operation {
        "DescribeLimits" => Ok(json!({
            "AccountMaxReadCapacityUnits": 80_000,
            "AccountMaxWriteCapacityUnits": 80_000,
            "TableMaxReadCapacityUnits": 40_000,
            "TableMaxWriteCapacityUnits": 40_000,
        })),
        // The address that the client came to: it must not be sent anywhere else.
        "DescribeEndpoints" => {
            Ok(json!({"Endpoints": [{"Address": context.host, "CachePeriodInMinutes": 1440}]}))
        }
        "ListBackups" => Ok(json!({"BackupSummaries": []})),
        "ListContributorInsights" => Ok(json!({"ContributorInsightsSummaries": []})),
        "ListExports" => Ok(json!({"ExportSummaries": []})),
        "ListGlobalTables" => Ok(json!({"GlobalTables": []})),
        "ListImports" => Ok(json!({"ImportSummaryList": []})),
        "DescribeBackup" | "DeleteBackup" | "RestoreTableFromBackup" => {
            Err(ApiError::new(ErrorCode::BackupNotFound, format!("Backup not found: {}", text("BackupArn"))))
        }
        "DescribeExport" => {
            Err(ApiError::new(ErrorCode::ExportNotFound, format!("Export not found: {}", text("ExportArn"))))
        }
        "DescribeImport" => {
            Err(ApiError::new(ErrorCode::ImportNotFound, format!("Import not found: {}", text("ImportArn"))))
        }
        "ImportTable" => Err(absent("ImportTable, which reads from S3")),
        "DescribeGlobalTable"
        | "DescribeGlobalTableSettings"
        | "UpdateGlobalTable"
        | "UpdateGlobalTableSettings" => Err(ApiError::new(
            ErrorCode::GlobalTableNotFound,
            format!(
                "Global table not found: Global table with name: '{}' does not exist.",
                text("GlobalTableName")
            ),
        )),
        "GetResourcePolicy" | "PutResourcePolicy" | "DeleteResourcePolicy" => {
            policy(context, operation, request).await
        }
        "CreateGlobalTable" => {
            backup_table(context, text("GlobalTableName")).await?;
            Err(absent("global tables"))
        }
        "RestoreTableToPointInTime" => restore(context, request).await,
        "ExportTableToPointInTime" => {
            let name = table_of(text("TableArn"));
            backup_table(context, &name).await?;
            Err(no_recovery(&name))
        }
        _ => of_table(context, operation, request).await,
    }
}

/// The operations about one table.
async fn of_table(
    context: &Context<'_>,
    operation: &str,
    request: &FeatureRequest,
) -> Result<Value, ApiError> {
    let name = request.text("TableName");
    match operation {
        "CreateBackup" => {
            backup_table(context, name).await?;
            return Err(no_backups(name));
        }
        "DescribeContinuousBackups" | "UpdateContinuousBackups" => {
            backup_table(context, name).await?;
            if request.recovery_enabled {
                return Err(no_backups(name));
            }
            return Ok(json!({"ContinuousBackupsDescription": {
                "ContinuousBackupsStatus": "ENABLED",
                "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
            }}));
        }
        _ => {}
    }
    let table = context.any_table(name).await?.ok_or_else(|| ApiError::table_not_found(name))?;
    let status = table.table.as_table().map_or(TableStatus::Active, |spec| spec.status);
    match operation {
        "DescribeContributorInsights" | "UpdateContributorInsights" => {
            let index = request.text("IndexName");
            if request.has("IndexName") && table.schema.index(index).is_none() {
                return Err(ApiError::new(
                    ErrorCode::ResourceNotFound,
                    format!("Requested resource not found: Index: {index} not found"),
                ));
            }
            if request.text("ContributorInsightsAction") == "ENABLE" {
                return Err(absent("contributor insights"));
            }
            let mut out = json!({"TableName": name, "ContributorInsightsStatus": "DISABLED"});
            if let Some(members) = out.as_object_mut().filter(|_| request.has("IndexName")) {
                members.insert("IndexName".into(), json!(index));
            }
            Ok(out)
        }
        "DescribeKinesisStreamingDestination" => {
            Ok(json!({"TableName": name, "KinesisDataStreamDestinations": []}))
        }
        "DescribeTableReplicaAutoScaling" => Ok(json!({"TableAutoScalingDescription": {
            "TableName": name,
            "TableStatus": status.as_str(),
            "Replicas": [],
        }})),
        "EnableKinesisStreamingDestination" => Err(absent("streaming to Kinesis")),
        "DisableKinesisStreamingDestination" | "UpdateKinesisStreamingDestination" => Err(ApiError::new(
            ErrorCode::ResourceNotFound,
            format!(
                "Requested resource not found: Table: {name} does not stream to {}",
                request.text("StreamArn")
            ),
        )),
        _ => Err(absent(operation)),
    }
}

async fn restore(context: &Context<'_>, request: &FeatureRequest) -> Result<Value, ApiError> {
    let source = match request.text("SourceTableName") {
        "" => table_of(request.text("SourceTableArn")),
        name => name.to_string(),
    };
    if source.is_empty() {
        return Err(ApiError::validation("One of SourceTableName or SourceTableArn must be specified"));
    }
    backup_table(context, &source).await?;
    let target = request.text("TargetTableName");
    if context.any_table(target).await?.is_some() {
        return Err(ApiError::new(ErrorCode::TableAlreadyExists, format!("Table already exists: {target}")));
    }
    Err(no_recovery(&source))
}

/// Policies are kept with the table and given back. Torc has no identities to which they could apply.
async fn policy(context: &Context<'_>, operation: &str, request: &FeatureRequest) -> Result<Value, ApiError> {
    let resource = Resource::of(request.text("ResourceArn"))?;
    let revision = |policy: &str| crc32fast::hash(policy.as_bytes()).to_string();
    let none = || {
        ApiError::new(
            ErrorCode::PolicyNotFound,
            format!(
                "Resource-based policy not found for the provided ResourceArn: Requested policy for ResourceArn: {} not found",
                resource.arn
            ),
        )
    };
    let expected = request.text("ExpectedRevisionId");
    let matches = |current: Option<&String>| match (expected, current) {
        ("", _) | ("NO_POLICY", None) => true,
        (expected, Some(policy)) => revision(policy) == expected,
        _ => false,
    };
    let absent = || resource.not_found(&context.dynamodb.account, operation);
    let found = context.any_table(&resource.table).await?.ok_or_else(absent)?;
    if operation == "GetResourcePolicy" {
        let policy = found.schema.resource_policy.as_ref().ok_or_else(none)?;
        return Ok(json!({"Policy": policy, "RevisionId": revision(policy)}));
    }
    let wanted = (operation == "PutResourcePolicy").then(|| request.text("Policy").to_string());
    if wanted.as_ref().is_some_and(|policy| serde_json::from_str::<Value>(policy).is_err()) {
        return Err(ApiError::validation("Invalid policy document: The policy is not valid JSON"));
    }
    let before = found.schema.resource_policy.as_deref().map(revision);
    settings::change(context, &resource.table, absent, |old| {
        if !matches(old.resource_policy.as_ref()) {
            return Err(none());
        }
        Ok(TableSchema { resource_policy: wanted.clone(), ..old.clone() })
    })
    .await?;
    Ok(match wanted.as_deref().map(revision).or(before) {
        Some(id) => json!({"RevisionId": id}),
        None => json!({}),
    })
}

/// Refuses, in the words of backups, a table that does not exist.
async fn backup_table(context: &Context<'_>, name: &str) -> Result<(), ApiError> {
    match context.any_table(name).await? {
        Some(_) => Ok(()),
        None => Err(ApiError::new(ErrorCode::TableNotFound, format!("Table not found: {name}"))),
    }
}

fn table_of(reference: &str) -> String {
    match parse_table_reference(reference) {
        TableReference::Arn(name) | TableReference::Name(name) => name.to_string(),
        TableReference::BadArn => String::new(),
    }
}

fn no_backups(table: &str) -> ApiError {
    ApiError::new(
        ErrorCode::ContinuousBackupsUnavailable,
        format!("Backups have not been enabled for this table: {table}"),
    )
}

fn no_recovery(table: &str) -> ApiError {
    ApiError::new(
        ErrorCode::PointInTimeRecoveryUnavailable,
        format!("Point in time recovery is not enabled for table '{table}'"),
    )
}

fn absent(what: &str) -> ApiError {
    ApiError::validation(format!("Torc does not have {what}"))
}
