import assert from "node:assert/strict";
import { test } from "node:test";
import { foldAll } from "./testing.js";
import { projection } from "./plugin.js";

test("payments add up", () => {
  const { documents, rejected } = foldAll(projection, [
    { key: "a-1", value: { cents: 250 } },
    { key: "a-2", value: { cents: 900 } },
    { key: "a-1", value: { cents: 900 } },
    { key: "a-2" },
  ]);
  assert.deepEqual(documents, { "a-1": { payments: 2, cents: 1150 } });
  assert.deepEqual(rejected, []);
});

test("a payment without an amount is rejected", () => {
  const { documents, rejected } = foldAll(projection, [
    { key: "a-1", value: { cents: 250 } },
    { key: "a-1", value: { shop: "bakery" } },
  ]);
  assert.deepEqual(documents, { "a-1": { payments: 1, cents: 250 } });
  assert.equal(rejected[0].event, 1);
  assert.match(rejected[0].reason, /"cents" is undefined/);
});
