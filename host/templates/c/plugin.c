// One document for each account: how many payments it made, and their sum.

#include "projectionist.h"

// A document. Its id is the account: the event's key.
struct account {
  int64_t payments, cents;
};

static bool read(void *document, struct slice json) {
  struct account *account = document;
  struct fields fields = fields_of(json);
  while (next_field(&fields)) {
    if (is(fields.name, "payments")) {
      if (!read_int(fields.value, &account->payments)) return false;
    } else if (is(fields.name, "cents")) {
      if (!read_int(fields.value, &account->cents)) return false;
    }
  }
  return fields.is_whole;
}

static void write(const void *document, struct out *out) {
  const struct account *account = document;
  open_object(out);
  write_int(out, "payments", account->payments);
  write_int(out, "cents", account->cents);
  close_object(out);
}

static enum folded fold(void *document, bool exists, const struct event *event,
                        struct out *because) {
  (void)exists;                             // A new account is all zeros, which is right.
  if (event->is_tombstone) return DELETE;  // A tombstone closes the account.

  int64_t cents = 0;
  bool has_cents = false;
  struct fields fields = fields_of(event->value);
  while (next_field(&fields)) {
    if (is(fields.name, "cents")) has_cents = read_int(fields.value, &cents);
  }
  if (!fields.is_whole || !has_cents) {
    add(because, "the value is no JSON object with a whole number \"cents\"");
    return REJECT;
  }
  struct account *account = document;
  account->payments += 1;
  account->cents += cents;
  return STORE;
}

const struct projection projection = {
    .name = "{{name}}",
    .version = "0.1.0",
    .description = "How many payments each account made, and their sum.",
    .view = "{{name}}",
    .document_size = sizeof(struct account),
    .read = read,
    .write = write,
    .fold = fold,
};
