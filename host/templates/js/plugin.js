// One document for each account: how many payments it made, and their sum.

import { DELETE, Reject, define } from "./projectionist.js";

export const projection = define({
  name: "{{name}}",
  version: "0.1.0",
  description: "How many payments each account made, and their sum.",
  view: "{{name}}",

  // `account` is the document, null where none exists; its id is the event's key.
  fold(account, event) {
    if (event.isTombstone) {
      return DELETE; // A tombstone closes the account.
    }
    const cents = event.value?.cents;
    if (!Number.isSafeInteger(cents)) {
      throw new Reject(`"cents" is ${JSON.stringify(cents)}, not a whole number`);
    }
    account ??= { payments: 0, cents: 0 };
    account.payments += 1;
    account.cents += cents;
    return account;
  },
});
