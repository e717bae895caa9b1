// Makes {{file}}.wasm: `npm run build`.

import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const { component } = await componentize({
  sourcePath: "main.js",
  witPath: "wit",
  worldName: "projection-plugin",
  // A plugin has none of these: the host would refuse it.
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
await writeFile("{{file}}.wasm", component);
console.log("{{file}}.wasm");
