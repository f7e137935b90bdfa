// ElectroDB against URL: node electro.mjs URL. Prints "ok" last.
import assert from "node:assert/strict";
import { CreateTableCommand, DeleteTableCommand, DynamoDBClient, waitUntilTableExists } from "@aws-sdk/client-dynamodb";
import { Entity, Service } from "electrodb";

const client = new DynamoDBClient({
  endpoint: process.argv[2],
  region: "us-east-1",
  credentials: { accessKeyId: "local", secretAccessKey: "local" },
});
const table = "Electro";
await client.send(
  new CreateTableCommand({
    TableName: table,
    AttributeDefinitions: ["pk", "sk", "lsi1sk", "gsi1pk", "gsi1sk"].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
    KeySchema: [
      { AttributeName: "pk", KeyType: "HASH" },
      { AttributeName: "sk", KeyType: "RANGE" },
    ],
    LocalSecondaryIndexes: [
      {
        IndexName: "lsi1",
        KeySchema: [
          { AttributeName: "pk", KeyType: "HASH" },
          { AttributeName: "lsi1sk", KeyType: "RANGE" },
        ],
        Projection: { ProjectionType: "ALL" },
      },
    ],
    GlobalSecondaryIndexes: [
      {
        IndexName: "gsi1",
        KeySchema: [
          { AttributeName: "gsi1pk", KeyType: "HASH" },
          { AttributeName: "gsi1sk", KeyType: "RANGE" },
        ],
        Projection: { ProjectionType: "ALL" },
      },
    ],
    BillingMode: "PAY_PER_REQUEST",
  }),
);
await waitUntilTableExists({ client, maxWaitTime: 30, minDelay: 1, maxDelay: 1 }, { TableName: table });

const Task = new Entity(
  {
    model: { entity: "task", version: "1", service: "work" },
    attributes: {
      team: { type: "string", required: true },
      task: { type: "string", required: true },
      status: { type: ["open", "closed"], default: "open" },
      due: { type: "string", required: true },
      points: { type: "number", default: 0 },
      tags: { type: "set", items: "string" },
      notes: { type: "list", items: { type: "map", properties: { by: { type: "string" }, text: { type: "string" } } } },
    },
    indexes: {
      tasks: { pk: { field: "pk", composite: ["team"] }, sk: { field: "sk", composite: ["task"] } },
      due: { index: "lsi1", pk: { field: "pk", composite: ["team"] }, sk: { field: "lsi1sk", composite: ["due", "task"] } },
      byStatus: { index: "gsi1", pk: { field: "gsi1pk", composite: ["status"] }, sk: { field: "gsi1sk", composite: ["due", "task"] } },
    },
  },
  { client, table },
);
const Member = new Entity(
  {
    model: { entity: "member", version: "1", service: "work" },
    attributes: { team: { type: "string", required: true }, name: { type: "string", required: true } },
    indexes: { members: { collection: "everything", pk: { field: "pk", composite: ["team"] }, sk: { field: "sk", composite: ["name"] } } },
  },
  { client, table },
);

await Task.create({ team: "core", task: "t1", due: "2026-01-02", tags: ["a", "b"], notes: [{ by: "x", text: "first" }] }).go();
await assert.rejects(Task.create({ team: "core", task: "t1", due: "2026-01-02" }).go(), (error) => {
  assert.match(error.message, /conditional request failed/i);
  assert.equal(error.cause?.name ?? error.name, "ConditionalCheckFailedException");
  return true;
});
const many = Array.from({ length: 30 }, (_, n) => ({ team: "core", task: `m${String(n).padStart(2, "0")}`, due: `2026-02-${String((n % 28) + 1).padStart(2, "0")}` }));
const { unprocessed } = await Task.put(many).go();
assert.equal(unprocessed.length, 0);
const one = await Task.get({ team: "core", task: "t1" }).go({ consistent: true });
assert.deepEqual([one.data.status, one.data.notes, [...one.data.tags].sort()], ["open", [{ by: "x", text: "first" }], ["a", "b"]]);
const page = await Task.query.tasks({ team: "core" }).begins({ task: "m1" }).go({ limit: 4, consistent: true });
assert.deepEqual(page.data.map((task) => task.task), ["m10", "m11", "m12", "m13"]);
const rest = await Task.query.tasks({ team: "core" }).begins({ task: "m1" }).go({ cursor: page.cursor, pages: "all", consistent: true });
assert.deepEqual(rest.data.map((task) => task.task), ["m14", "m15", "m16", "m17", "m18", "m19"]);
const due = await Task.query
  .due({ team: "core" })
  .between({ due: "2026-01-01" }, { due: "2026-02-03" })
  .where(({ task }, { ne }) => ne(task, "m28"))
  .go({ order: "desc", consistent: true });
assert.deepEqual(due.data.map((task) => task.task), ["m29", "m01", "m00", "t1"]);
// A global index follows its table a moment later.
for (let tries = 0; ; tries++) {
  const open = await Task.query.byStatus({ status: "open" }).gte({ due: "2026-02-27" }).go({ pages: "all", limit: 2 });
  if (open.data.length < 2 && tries < 100) {
    await new Promise((done) => setTimeout(done, 100));
    continue;
  }
  assert.deepEqual(open.data.map((task) => task.task), ["m26", "m27"]);
  break;
}
const patched = await Task.patch({ team: "core", task: "t1" })
  .add({ points: 5, tags: ["c"] })
  .append({ notes: [{ by: "y", text: "second" }] })
  .set({ status: "closed" })
  .where(({ status }, { eq }) => eq(status, "open"))
  .go({ response: "all_new" });
assert.deepEqual([patched.data.points, patched.data.status, patched.data.notes.length, patched.data.tags.length], [5, "closed", 2, 3]);
await assert.rejects(Task.patch({ team: "core", task: "none" }).set({ points: 1 }).go(), /conditional request failed/i);
await Member.upsert({ team: "core", name: "ann" }).go();
assert.equal(new Service({ Member }).entities.Member, Member);
assert.deepEqual((await Member.query.members({ team: "core" }).go({ consistent: true })).data, [{ team: "core", name: "ann" }]);
const scanned = await Task.scan.where(({ points }, { gt }) => gt(points, 1)).go({ pages: "all", consistent: true });
assert.deepEqual(scanned.data.map((task) => task.task), ["t1"]);
await Task.delete({ team: "core", task: "t1" }).go();
assert.equal((await Task.get({ team: "core", task: "t1" }).go({ consistent: true })).data, null);
await client.send(new DeleteTableCommand({ TableName: table }));
console.log("ok");
