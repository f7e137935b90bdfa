// Loads items (one DynamoDB JSON object a line) with the unmodified JavaScript SDK v3, reads each back by GetItem and all by Query,
// and prints what it counted as the last line: node load.mjs TABLE FILE URL[,URL..]
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import {
  BatchWriteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  paginateQuery,
} from "@aws-sdk/client-dynamodb";

const [table, file, urls] = process.argv.slice(2);
const items = readFileSync(file, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
const clients = urls.split(",").map(
  (endpoint) =>
    new DynamoDBClient({
      endpoint,
      region: "us-east-1",
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
      maxAttempts: 6,
    }),
);

/** Equal as items: a set has no order. */
function normal(item) {
  return Object.fromEntries(
    Object.entries(item)
      .map(([name, value]) => [name, value.SS ? { SS: [...value.SS].sort() } : value])
      .sort(([left], [right]) => (left < right ? -1 : 1)),
  );
}

function assertEqual(got, wanted, how) {
  if (!got || !isDeepStrictEqual(normal(got), normal(wanted))) {
    throw new Error(`${how}: wanted ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
  }
}

/** Runs `work` over `list` with `width` at a time. */
async function parallel(list, width, work) {
  let next = 0;
  await Promise.all(
    Array.from({ length: width }, async (_, lane) => {
      while (next < list.length) {
        const index = next++;
        await work(list[index], clients[lane % clients.length]);
      }
    }),
  );
}

const batches = [];
for (let start = 0; start < items.length; start += 25) batches.push(items.slice(start, start + 25));

let written = 0;
await parallel(batches, 6, async (batch, client) => {
  let waiting = { [table]: batch.map((Item) => ({ PutRequest: { Item } })) };
  for (let tries = 0; Object.keys(waiting).length > 0; tries++) {
    if (tries === 20) throw new Error("a batch stays unprocessed");
    const answer = await client.send(new BatchWriteItemCommand({ RequestItems: waiting }));
    waiting = answer.UnprocessedItems ?? {};
  }
  written += batch.length;
});

let got = 0;
await parallel(items, 12, async (item, client) => {
  const Key = { Section: item.Section, Name: item.Name };
  const answer = await client.send(new GetItemCommand({ TableName: table, Key, ConsistentRead: true }));
  assertEqual(answer.Item, item, "GetItem");
  got++;
});

const byKey = new Map(items.map((item) => [`${item.Section.S}\n${item.Name.S}`, item]));
let queried = 0;
await parallel([...new Set(items.map((item) => item.Section.S))], 4, async (section, client) => {
  const pages = paginateQuery(
    { client },
    {
      TableName: table,
      KeyConditionExpression: "#s = :s",
      ExpressionAttributeNames: { "#s": "Section" },
      ExpressionAttributeValues: { ":s": { S: section } },
      ConsistentRead: true,
    },
  );
  for await (const page of pages) {
    for (const item of page.Items) {
      assertEqual(item, byKey.get(`${item.Section.S}\n${item.Name.S}`) ?? {}, "Query");
      queried++;
    }
  }
});

console.log(JSON.stringify({ written, got, queried }));
