import assert from "node:assert/strict";
import { test } from "node:test";
import { define } from "./projectionist.js";
import * as copy from "./projectionist.js?as-a-bundler-makes-it";
import { foldAll } from "./testing.js";
import { projection } from "./plugin.js";

test("`this` is the projection", () => {
  const { documents } = foldAll(projection, [
    { key: "a", value: { do: "add", n: 2 } },
    { key: "a", value: { do: "add", n: 3 } },
  ]);
  assert.deepEqual(documents, { a: { sum: 5 } });
});

test("what is no plain object is no document", () => {
  for (const [deed, what] of [
    ["promise", /a Promise \(fold cannot be async\)/],
    ["map", /an instance of Map/],
  ]) {
    const { documents, rejected } = foldAll(projection, [{ key: "a", value: { do: deed } }]);
    assert.deepEqual(documents, {});
    assert.match(rejected[0].reason, what);
  }
});

test("a second copy of the kit means the same", () => {
  assert.notEqual(copy.Reject, projection.Reject);
  const bundled = define({
    ...projection,
    fold(document, { value }) {
      if (value === "reject") {
        throw new copy.Reject("as asked");
      }
      return { store: { n: 1 }, ignore: copy.IGNORE, delete: copy.DELETE }[value];
    },
  });
  const { documents, rejected } = foldAll(bundled, [
    { key: "deleted", value: "store" },
    { key: "deleted", value: "delete" },
    { key: "kept", value: "store" },
    { key: "kept", value: "ignore" },
    { key: "rejected", value: "reject" },
  ]);
  assert.deepEqual(documents, { kept: { n: 1 } });
  assert.deepEqual(rejected, [{ event: 4, reason: "as asked" }]);
});
