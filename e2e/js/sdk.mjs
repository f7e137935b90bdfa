// The JavaScript SDK v3, both clients, against URL: node sdk.mjs URL. Prints "ok" last.
import assert from "node:assert/strict";
import {
  ConditionalCheckFailedException,
  CreateTableCommand,
  DeleteItemCommand,
  DeleteTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  DynamoDBServiceException,
  GetItemCommand,
  PutItemCommand,
  ResourceInUseException,
  ResourceNotFoundException,
  UpdateItemCommand,
  UpdateTableCommand,
  paginateQuery,
  paginateScan,
  waitUntilTableExists,
  waitUntilTableNotExists,
} from "@aws-sdk/client-dynamodb";
import {
  BatchGetCommand,
  BatchWriteCommand,
  DeleteCommand,
  DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  QueryCommand,
  UpdateCommand,
  paginateQuery as paginateFound,
  paginateScan as paginateDocuments,
} from "@aws-sdk/lib-dynamodb";

const endpoint = process.argv[2];
const client = new DynamoDBClient({
  endpoint,
  region: "us-east-1",
  credentials: { accessKeyId: "local", secretAccessKey: "local" },
});
const patience = { client, maxWaitTime: 30, minDelay: 1, maxDelay: 1 };

function table(TableName) {
  return {
    TableName,
    AttributeDefinitions: [
      { AttributeName: "pk", AttributeType: "S" },
      { AttributeName: "sk", AttributeType: "N" },
      { AttributeName: "rank", AttributeType: "N" },
    ],
    KeySchema: [
      { AttributeName: "pk", KeyType: "HASH" },
      { AttributeName: "sk", KeyType: "RANGE" },
    ],
    LocalSecondaryIndexes: [
      {
        IndexName: "ByRank",
        KeySchema: [
          { AttributeName: "pk", KeyType: "HASH" },
          { AttributeName: "rank", KeyType: "RANGE" },
        ],
        Projection: { ProjectionType: "ALL" },
      },
    ],
    BillingMode: "PAY_PER_REQUEST",
  };
}

async function plainClient() {
  const TableName = "JsClient";
  await client.send(new CreateTableCommand(table(TableName)));
  await waitUntilTableExists(patience, { TableName });
  await assert.rejects(client.send(new CreateTableCommand(table(TableName))), ResourceInUseException);
  const Item = {
    pk: { S: "a" },
    sk: { N: "1" },
    rank: { N: "10" },
    bytes: { B: new Uint8Array([0, 255, 7]) },
    deep: { M: { list: { L: [{ NULL: true }, { BOOL: true }, { NS: ["1", "2"] }] } } },
  };
  await client.send(new PutItemCommand({ TableName, Item }));
  for (let n = 2; n <= 12; n++) {
    await client.send(new PutItemCommand({ TableName, Item: { pk: { S: "a" }, sk: { N: `${n}` }, rank: { N: `${-n}` } } }));
  }
  const Key = { pk: Item.pk, sk: Item.sk };
  const got = await client.send(new GetItemCommand({ TableName, Key, ConsistentRead: true }));
  got.Item.deep.M.list.L[2].NS.sort();
  assert.deepEqual(got.Item, Item);
  const failed = await client
    .send(
      new UpdateItemCommand({
        TableName,
        Key,
        UpdateExpression: "SET #r = :r",
        ConditionExpression: "#r < :low",
        ExpressionAttributeNames: { "#r": "rank" },
        ExpressionAttributeValues: { ":r": { N: "1" }, ":low": { N: "5" } },
        ReturnValuesOnConditionCheckFailure: "ALL_OLD",
      }),
    )
    .catch((error) => error);
  assert.ok(failed instanceof ConditionalCheckFailedException, `${failed}`);
  assert.deepEqual(failed.Item.rank, { N: "10" });
  assert.equal(failed.$metadata.httpStatusCode, 400);
  const ranks = [];
  for await (const page of paginateQuery(
    { client, pageSize: 4 },
    {
      TableName,
      IndexName: "ByRank",
      ConsistentRead: true,
      KeyConditionExpression: "pk = :p AND #r BETWEEN :a AND :b",
      ExpressionAttributeNames: { "#r": "rank" },
      ExpressionAttributeValues: { ":p": { S: "a" }, ":a": { N: "-9" }, ":b": { N: "10" } },
    },
  )) {
    ranks.push(...page.Items.map((item) => Number(item.rank.N)));
  }
  assert.deepEqual(ranks, [-9, -8, -7, -6, -5, -4, -3, -2, 10]);
  let scanned = 0;
  for await (const page of paginateScan({ client, pageSize: 5 }, { TableName, ConsistentRead: true })) scanned += page.Count;
  assert.equal(scanned, 12);
  const old = await client.send(new DeleteItemCommand({ TableName, Key, ReturnValues: "ALL_OLD" }));
  assert.deepEqual(old.Attributes.bytes, Item.bytes);
  const invalid = await client.send(new GetItemCommand({ TableName, Key: { pk: Item.pk } })).catch((error) => error);
  assert.ok(invalid instanceof DynamoDBServiceException && invalid.name === "ValidationException", `${invalid}`);
  await client.send(new DeleteTableCommand({ TableName }));
  await waitUntilTableNotExists(patience, { TableName });
  await assert.rejects(client.send(new DescribeTableCommand({ TableName })), ResourceNotFoundException);
}

async function documentClient() {
  const TableName = "JsDocuments";
  const documents = DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
  await client.send(new CreateTableCommand(table(TableName)));
  await waitUntilTableExists(patience, { TableName });
  const item = {
    pk: "d",
    sk: 1,
    rank: 3.5,
    names: new Set(["x", "y"]),
    nested: { list: [1, "two", null, { three: true }], empty: "", none: undefined },
    big: 12345678901234567890n,
  };
  await documents.send(new PutCommand({ TableName, Item: item, ConditionExpression: "attribute_not_exists(pk)" }));
  await assert.rejects(
    documents.send(new PutCommand({ TableName, Item: item, ConditionExpression: "attribute_not_exists(pk)" })),
    ConditionalCheckFailedException,
  );
  const { Item } = await documents.send(new GetCommand({ TableName, Key: { pk: "d", sk: 1 }, ConsistentRead: true }));
  delete item.nested.none;
  assert.deepEqual({ ...Item, big: BigInt(Item.big) }, item);
  const puts = Array.from({ length: 25 }, (_, n) => ({ PutRequest: { Item: { pk: "many", sk: n, rank: 100 - n } } }));
  const batch = await documents.send(new BatchWriteCommand({ RequestItems: { [TableName]: puts } }));
  assert.deepEqual(batch.UnprocessedItems, {});
  const Keys = puts.map(({ PutRequest }) => ({ pk: "many", sk: PutRequest.Item.sk }));
  const read = await documents.send(new BatchGetCommand({ RequestItems: { [TableName]: { Keys, ConsistentRead: true } } }));
  assert.equal(read.Responses[TableName].length, 25);
  const updated = await documents.send(
    new UpdateCommand({
      TableName,
      Key: { pk: "d", sk: 1 },
      UpdateExpression: "SET nested.#l[1] = :v, hits = if_not_exists(hits, :zero) + :one DELETE #n :gone",
      ExpressionAttributeNames: { "#l": "list", "#n": "names" },
      ExpressionAttributeValues: { ":v": { deep: [1] }, ":zero": 0, ":one": 1, ":gone": new Set(["x"]) },
      ReturnValues: "ALL_NEW",
    }),
  );
  assert.deepEqual(updated.Attributes.nested.list[1], { deep: [1] });
  assert.deepEqual([updated.Attributes.hits, updated.Attributes.names], [1, new Set(["y"])]);
  const found = await documents.send(
    new QueryCommand({
      TableName,
      IndexName: "ByRank",
      ConsistentRead: true,
      KeyConditionExpression: "pk = :p AND #r > :r",
      FilterExpression: "sk <> :s",
      ExpressionAttributeNames: { "#r": "rank" },
      ExpressionAttributeValues: { ":p": "many", ":r": 95, ":s": 2 },
    }),
  );
  assert.deepEqual(found.Items.map((one) => one.rank), [96, 97, 99, 100]);
  let count = 0;
  for await (const page of paginateDocuments({ client: documents, pageSize: 7 }, { TableName, ConsistentRead: true })) count += page.Items.length;
  assert.equal(count, 26);
  await documents.send(new DeleteCommand({ TableName, Key: { pk: "d", sk: 1 } }));
  assert.equal((await documents.send(new GetCommand({ TableName, Key: { pk: "d", sk: 1 }, ConsistentRead: true }))).Item, undefined);
  await client.send(new DeleteTableCommand({ TableName }));
}

/// Asks until the answer is as wanted: a global index follows its table a moment later.
async function eventually(ask, wanted) {
  for (let tries = 0; ; tries++) {
    const got = await ask();
    try {
      return assert.deepEqual(got, wanted);
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((done) => setTimeout(done, 100));
    }
  }
}

async function globalIndexes() {
  const TableName = "JsGlobal";
  const documents = DynamoDBDocumentClient.from(client);
  const index = (IndexName, hash, range, Projection) => ({
    IndexName,
    KeySchema: [
      { AttributeName: hash, KeyType: "HASH" },
      { AttributeName: range, KeyType: "RANGE" },
    ],
    Projection,
  });
  await client.send(
    new CreateTableCommand({
      ...table(TableName),
      LocalSecondaryIndexes: undefined,
      GlobalSecondaryIndexes: [index("Ranked", "sk", "rank", { ProjectionType: "INCLUDE", NonKeyAttributes: ["note"] })],
    }),
  );
  await waitUntilTableExists(patience, { TableName });
  for (let rank = 0; rank < 10; rank++) {
    await documents.send(new PutCommand({ TableName, Item: { pk: `p${rank}`, sk: rank % 2, rank, note: "n", extra: "e" } }));
  }
  const odd = { TableName, IndexName: "Ranked", KeyConditionExpression: "sk = :s", ExpressionAttributeValues: { ":s": 1 } };
  const ranks = async () => {
    const found = [];
    for await (const page of paginateFound({ client: documents, pageSize: 2 }, { ...odd })) found.push(...page.Items.map((item) => item.rank));
    return found;
  };
  await eventually(ranks, [1, 3, 5, 7, 9]);
  const last = async () => {
    const { Items, LastEvaluatedKey } = await documents.send(new QueryCommand({ ...odd, Limit: 1, ScanIndexForward: false }));
    return [Items, LastEvaluatedKey];
  };
  await eventually(last, [[{ pk: "p9", sk: 1, rank: 9, note: "n" }], { pk: "p9", sk: 1, rank: 9 }]);
  const refused = await documents.send(new QueryCommand({ ...odd, ProjectionExpression: "extra" })).catch((error) => error);
  assert.match(refused.message, /Global secondary index Ranked does not project \[extra\]/);
  await client.send(
    new UpdateTableCommand({
      TableName,
      AttributeDefinitions: [{ AttributeName: "note", AttributeType: "S" }, ...table(TableName).AttributeDefinitions],
      GlobalSecondaryIndexUpdates: [{ Create: index("Noted", "note", "rank", { ProjectionType: "KEYS_ONLY" }) }],
    }),
  );
  const states = async () => {
    const { Table } = await client.send(new DescribeTableCommand({ TableName }));
    return (Table.GlobalSecondaryIndexes ?? []).map(({ IndexName, IndexStatus }) => `${IndexName} ${IndexStatus}`).sort();
  };
  await eventually(states, ["Noted ACTIVE", "Ranked ACTIVE"]);
  const noted = { TableName, IndexName: "Noted", KeyConditionExpression: "note = :n AND #r < :r", ExpressionAttributeNames: { "#r": "rank" }, ExpressionAttributeValues: { ":n": "n", ":r": 2 } };
  await eventually(async () => (await documents.send(new QueryCommand(noted))).Items, [
    { pk: "p0", sk: 0, rank: 0, note: "n" },
    { pk: "p1", sk: 1, rank: 1, note: "n" },
  ]);
  await client.send(new UpdateTableCommand({ TableName, GlobalSecondaryIndexUpdates: [{ Delete: { IndexName: "Ranked" } }] }));
  await eventually(states, ["Noted ACTIVE"]);
  await client.send(new DeleteTableCommand({ TableName }));
}

await plainClient();
await documentClient();
await globalIndexes();
console.log("ok");
