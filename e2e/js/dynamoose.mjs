// Dynamoose against URL: node dynamoose.mjs URL. Prints "ok" last.
import assert from "node:assert/strict";
import { ConditionalCheckFailedException } from "@aws-sdk/client-dynamodb";
import dynamoose from "dynamoose";

dynamoose.aws.ddb.set(
  new dynamoose.aws.ddb.DynamoDB({
    endpoint: process.argv[2],
    region: "us-east-1",
    credentials: { accessKeyId: "local", secretAccessKey: "local" },
  }),
);

const schema = new dynamoose.Schema(
  {
    owner: { type: String, hashKey: true },
    name: { type: String, rangeKey: true },
    age: { type: Number, index: { name: "ByAge", type: "local" } },
    kind: { type: String, index: { name: "OfKind", type: "global", rangeKey: "age" } },
    tags: { type: Set, schema: [String] },
    address: { type: Object, schema: { city: String, lines: { type: Array, schema: [String] } } },
    born: Date,
  },
  { timestamps: true },
);
const Pet = dynamoose.model("Pet", schema);
// Creates the table, waits until it is active, and finds it again unchanged.
new dynamoose.Table("DynamoosePets", [Pet], { waitForActive: { enabled: true, check: { timeout: 30000, frequency: 200 } } });

const born = new Date(1_700_000_000_000);
await Pet.create({ owner: "ann", name: "rex", age: 3, tags: new Set(["dog", "big"]), address: { city: "Lyon", lines: ["1", "2"] }, born });
await assert.rejects(Pet.create({ owner: "ann", name: "rex" }), ConditionalCheckFailedException);
const rex = await Pet.get({ owner: "ann", name: "rex" }, { consistent: true });
assert.deepEqual([rex.age, rex.address.city, rex.address.lines, rex.born.getTime()], [3, "Lyon", ["1", "2"], born.getTime()]);
assert.deepEqual([...rex.tags].sort(), ["big", "dog"]);
await Pet.batchPut(Array.from({ length: 20 }, (_, age) => ({ owner: "bob", name: `cat-${String(age).padStart(2, "0")}`, age })));
// Dynamoose cannot ask for consistent batches: the replicas get a moment.
for (let tries = 0; ; tries++) {
  const batch = await Pet.batchGet([{ owner: "bob", name: "cat-03" }, { owner: "bob", name: "cat-07" }]);
  if (batch.length < 2 && tries < 100) continue;
  assert.deepEqual(batch.map((pet) => pet.age).sort(), [3, 7]);
  break;
}
const old = await Pet.query("owner").eq("bob").where("age").ge(15).using("ByAge").sort("descending").consistent().exec();
assert.deepEqual(old.map((pet) => pet.age), [19, 18, 17, 16, 15]);
await Pet.batchPut(Array.from({ length: 8 }, (_, age) => ({ owner: `o${age}`, name: "fish", kind: "fish", age })));
// A global index follows its table a moment later.
for (let tries = 0; ; tries++) {
  const fish = await Pet.query("kind").eq("fish").where("age").gt(2).using("OfKind").sort("descending").exec();
  if (fish.length < 5 && tries < 100) {
    await new Promise((done) => setTimeout(done, 100));
    continue;
  }
  assert.deepEqual(fish.map((pet) => pet.owner), ["o7", "o6", "o5", "o4", "o3"]);
  break;
}
for (let tries = 0; ; tries++) {
  const { length } = await Pet.scan().using("OfKind").exec();
  if (length === 8) break;
  assert.ok(tries < 100, `${length} of 8 fish`);
  await new Promise((done) => setTimeout(done, 100));
}
const all = await Pet.query("owner").eq("bob").where("name").beginsWith("cat-1").limit(4).consistent().all().exec();
assert.equal(all.length, 10);
const scanned = await Pet.scan().where("tags").contains("dog").consistent().exec();
assert.equal(scanned.length, 1);
const updated = await Pet.update(
  { owner: "ann", name: "rex" },
  { $ADD: { age: 1 }, $SET: { "address": { city: "Nice", lines: [] } }, $REMOVE: ["born"] },
  { condition: new dynamoose.Condition().where("age").eq(3) },
);
assert.deepEqual([updated.age, updated.address.city, updated.born], [4, "Nice", undefined]);
await assert.rejects(
  Pet.update({ owner: "ann", name: "rex" }, { age: 9 }, { condition: new dynamoose.Condition().where("age").eq(3) }),
  ConditionalCheckFailedException,
);
rex.age = 5;
await rex.save();
assert.equal((await Pet.get({ owner: "ann", name: "rex" }, { consistent: true })).age, 5);
await Pet.delete({ owner: "ann", name: "rex" });
assert.equal(await Pet.get({ owner: "ann", name: "rex" }, { consistent: true }), undefined);
await dynamoose.aws.ddb().deleteTable({ TableName: "DynamoosePets" });
console.log("ok");
