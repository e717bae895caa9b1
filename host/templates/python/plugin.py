"""One document for each account: how many payments it made, and their sum."""

import json

from projectionist import DELETE, Projection, Reject


class Accounts(Projection):
    name = "{{name}}"
    version = "0.1.0"
    description = "How many payments each account made, and their sum."
    view = "{{name}}"

    # `account` is the document, None where none exists; its id is the event's key.
    def fold(self, account, event):
        if event.is_tombstone:
            return DELETE  # A tombstone closes the account.
        cents = event.value.get("cents") if type(event.value) is dict else None
        if type(cents) is not int:
            raise Reject(f'"cents" is {json.dumps(cents)}, not a whole number')
        if account is None:
            account = {"payments": 0, "cents": 0}
        account["payments"] += 1
        account["cents"] += cents
        return account


projection = Accounts()
