//! `aws-sdk-dynamodb` for Rust, unmodified, against URL: creates a table, writes, reads, queries, updates under conditions, meets errors as
//! its own types, deletes. Prints "ok" last.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    KeysAndAttributes, LocalSecondaryIndex, Projection, ProjectionType, PutRequest, ReturnValue,
    ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableStatus, WriteRequest,
};
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Item = HashMap<String, AttributeValue>;

const TABLE: &str = "RustSdk";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).ok_or("usage: torc-e2e-rust-sdk URL")?;
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "e2e"))
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let client = Client::from_conf(config);
    create(&client).await?;
    write_and_read(&client).await?;
    conditions(&client).await?;
    batches_and_pages(&client).await?;
    global_index(&client).await?;
    delete(&client).await?;
    println!("ok");
    Ok(())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn item(pk: &str, sk: i32, rank: i32) -> Item {
    HashMap::from([("pk".into(), text(pk)), ("sk".into(), number(sk)), ("rank".into(), number(rank))])
}

fn key(pk: &str, sk: i32) -> Item {
    HashMap::from([("pk".into(), text(pk)), ("sk".into(), number(sk))])
}

async fn create(client: &Client) -> Result<()> {
    let attribute =
        |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
    let element = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let request = || -> Result<_> {
        Ok(client
            .create_table()
            .table_name(TABLE)
            .attribute_definitions(attribute("pk", ScalarAttributeType::S)?)
            .attribute_definitions(attribute("sk", ScalarAttributeType::N)?)
            .attribute_definitions(attribute("rank", ScalarAttributeType::N)?)
            .key_schema(element("pk", KeyType::Hash)?)
            .key_schema(element("sk", KeyType::Range)?)
            .local_secondary_indexes(
                LocalSecondaryIndex::builder()
                    .index_name("ByRank")
                    .key_schema(element("pk", KeyType::Hash)?)
                    .key_schema(element("rank", KeyType::Range)?)
                    .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
                    .build()?,
            )
            .global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name("Ranked")
                    .key_schema(element("rank", KeyType::Hash)?)
                    .key_schema(element("pk", KeyType::Range)?)
                    .projection(Projection::builder().projection_type(ProjectionType::All).build())
                    .build()?,
            )
            .billing_mode(BillingMode::PayPerRequest))
    };
    request()?.send().await?;
    for _ in 0..300 {
        let described = client.describe_table().table_name(TABLE).send().await?;
        let table = described.table().ok_or("no description")?;
        if table.table_status() == Some(&TableStatus::Active) {
            let again =
                request()?.send().await.expect_err("a table cannot be created twice").into_service_error();
            assert!(again.is_resource_in_use_exception(), "{again:?}");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the table did not become active".into())
}

async fn write_and_read(client: &Client) -> Result<()> {
    let mut full = item("a", 1, 5);
    full.extend([
        ("payload".into(), AttributeValue::B(Blob::new(vec![0, 255, 1]))),
        ("set".into(), AttributeValue::Ns(vec!["1".into()])),
        (
            "deep".into(),
            AttributeValue::M(HashMap::from([(
                "list".into(),
                AttributeValue::L(vec![AttributeValue::Null(true), AttributeValue::Bool(false), text("")]),
            )])),
        ),
    ]);
    client.put_item().table_name(TABLE).set_item(Some(full.clone())).send().await?;
    let read =
        client.get_item().table_name(TABLE).set_key(Some(key("a", 1))).consistent_read(true).send().await?;
    assert_eq!(read.item, Some(full));
    let part = client
        .get_item()
        .table_name(TABLE)
        .set_key(Some(key("a", 1)))
        .consistent_read(true)
        .projection_expression("deep.#l[1]")
        .expression_attribute_names("#l", "list")
        .send()
        .await?;
    let wanted = AttributeValue::M(HashMap::from([(
        "list".into(),
        AttributeValue::L(vec![AttributeValue::Bool(false)]),
    )]));
    assert_eq!(part.item.and_then(|mut item| item.remove("deep")), Some(wanted));
    Ok(())
}

async fn conditions(client: &Client) -> Result<()> {
    let refused = client
        .put_item()
        .table_name(TABLE)
        .set_item(Some(item("a", 1, 0)))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await
        .expect_err("the item is there")
        .into_service_error();
    let PutItemError::ConditionalCheckFailedException(refused) = refused else {
        return Err(format!("another error: {refused:?}").into());
    };
    assert_eq!(refused.item().and_then(|item| item.get("rank")), Some(&number(5)));
    let updated = client
        .update_item()
        .table_name(TABLE)
        .set_key(Some(key("a", 1)))
        .update_expression("SET #r = #r * :two")
        .expression_attribute_names("#r", "rank")
        .expression_attribute_values(":two", number(2))
        .send()
        .await
        .expect_err("there is no multiplication");
    assert_eq!(updated.into_service_error().code(), Some("ValidationException"));
    let updated = client
        .update_item()
        .table_name(TABLE)
        .set_key(Some(key("a", 1)))
        .update_expression("SET #r = #r + :two REMOVE payload")
        .condition_expression("size(payload) = :three AND NOT #r IN (:two, :three)")
        .expression_attribute_names("#r", "rank")
        .expression_attribute_values(":two", number(2))
        .expression_attribute_values(":three", number(3))
        .return_values(ReturnValue::UpdatedNew)
        .send()
        .await?;
    assert_eq!(updated.attributes, Some(HashMap::from([("rank".into(), number(7))])));
    Ok(())
}

async fn batches_and_pages(client: &Client) -> Result<()> {
    let writes: Vec<WriteRequest> = (0..25)
        .map(|n| {
            Ok(WriteRequest::builder()
                .put_request(PutRequest::builder().set_item(Some(item("b", n, 100 - n))).build()?)
                .build())
        })
        .collect::<Result<_>>()?;
    let written = client.batch_write_item().request_items(TABLE, writes).send().await?;
    assert!(written.unprocessed_items().is_none_or(HashMap::is_empty));
    let keys = KeysAndAttributes::builder()
        .set_keys(Some((0..25).map(|n| key("b", n)).collect()))
        .consistent_read(true)
        .build()?;
    let read = client.batch_get_item().request_items(TABLE, keys).send().await?;
    assert_eq!(read.responses().and_then(|tables| tables.get(TABLE)).map(Vec::len), Some(25));
    let mut pages = client
        .query()
        .table_name(TABLE)
        .index_name("ByRank")
        .key_condition_expression("pk = :p AND #r > :r")
        .expression_attribute_names("#r", "rank")
        .expression_attribute_values(":p", text("b"))
        .expression_attribute_values(":r", number(90))
        .consistent_read(true)
        .into_paginator()
        .page_size(4)
        .items()
        .send();
    let mut ranks = Vec::new();
    while let Some(found) = pages.next().await {
        ranks.push(found?.remove("rank"));
    }
    assert_eq!(ranks, (91..=100).map(|rank| Some(number(rank))).collect::<Vec<_>>());
    let mut pages = client.scan().table_name(TABLE).consistent_read(true).limit(7).into_paginator().send();
    let mut scanned = 0;
    while let Some(page) = pages.next().await {
        scanned += page?.count();
    }
    assert_eq!(scanned, 26);
    Ok(())
}

/// A global index follows its table a moment later.
async fn global_index(client: &Client) -> Result<()> {
    for _ in 0..200 {
        let found = client
            .query()
            .table_name(TABLE)
            .index_name("Ranked")
            .key_condition_expression("#r = :r AND begins_with(pk, :p)")
            .expression_attribute_names("#r", "rank")
            .expression_attribute_values(":r", number(93))
            .expression_attribute_values(":p", text("b"))
            .send()
            .await?;
        if found.count() > 0 {
            assert_eq!(found.items(), [item("b", 7, 93)]);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the index did not follow".into())
}

async fn delete(client: &Client) -> Result<()> {
    let old = client
        .delete_item()
        .table_name(TABLE)
        .set_key(Some(key("a", 1)))
        .return_values(ReturnValue::AllOld)
        .send()
        .await?;
    assert_eq!(old.attributes.and_then(|mut item| item.remove("rank")), Some(number(7)));
    client.delete_table().table_name(TABLE).send().await?;
    for _ in 0..300 {
        if let Err(error) = client.describe_table().table_name(TABLE).send().await {
            assert!(error.into_service_error().is_resource_not_found_exception());
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the table is still there".into())
}
