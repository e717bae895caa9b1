// Does what an event's `do` says, right and wrong: for the tests of the kit.

import { DELETE, Reject, define, log } from "./projectionist.js";

let calls = 0;

const deeds = {
  // Right.
  add: (document, { n }, self) => ({ sum: self.plus(document?.sum ?? 0, n) }),
  delete: () => DELETE,
  print: (document, { lines }) => {
    for (let line = 0; line < lines; line++) {
      console.log("line", line, { of: lines });
    }
    console.error(new Error("printed"));
    log.warn("logged");
    return { lines };
  },
  // Wrong: what is kept is no JSON.
  set: (document, { n }) => ({ seen: (document?.seen ?? new Set()).add(n) }),
  date: (document) => ({ hour: document ? document.at.getHours() : 0, at: new Date(0) }),
  nan: (document, { n }) => ({ sum: (document ? document.sum : NaN) + n }),
  undefined: (document) => ({ had: document !== null && "gone" in document, gone: undefined }),
  variable: (document) => ({ ...document, calls: ++calls }),
  // Wrong: no document.
  promise: async () => ({ n: 1 }),
  map: () => new Map([["n", 1]]),
  reject: () => {
    throw new Reject("as asked");
  },
};

export const projection = define({
  name: "probe",
  version: "0.1.0",
  view: "probe",

  plus(one, other) {
    return one + other;
  },

  fold(document, event) {
    return deeds[event.value.do](document, event.value, this);
  },
});
