// From a batch's columns to the function `fold` of a projection, and back to columns.
//
// Guarantees:
// - The documents are those of folding one event after the other.
// - An event that is rejected leaves its document as it was, whatever the fold had done to it; the
//   later events of its key are left to the host.
// - Nothing is kept from one call to the next but what `configure` keeps.

#include "projectionist.h"

#include <stdlib.h>
#include <string.h>

// What the component model's canonical ABI makes of wit/plugin.wit: records and lists as they lie
// in memory.

struct list {
  void *start;
  size_t length;
};

struct column {
  struct list bytes, ends, missing;
};

struct batch {
  struct list topic;
  uint32_t partition;
  struct list offsets, timestamps_ms;
  struct column keys, values;
  struct list headers;
};

struct view {
  struct list name;
  uint8_t ownership;
};

struct descriptor {
  struct list name, version, description;
  uint8_t encoding;
  struct list views, headers, config_schema;
};

struct reject {
  uint32_t event;
  struct list reason;
};

struct output {
  uint8_t is_err;
  struct list events, views;
  struct column ids, documents;
  struct list messages, rejects;
};

struct configured {
  uint8_t is_err;
  struct list error;
};

#define IMPORT(interface, name) \
  __attribute__((import_module("projectionist:plugin/" interface "@0.1.0"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#define PROJECTION "projectionist:plugin/projection@0.1.0#"

IMPORT("documents", "get-many")
void host_get_many(uint32_t view, const void *bytes, size_t bytes_length, const void *ends,
                   size_t ends_length, const void *missing, size_t missing_length,
                   struct column *answer);
IMPORT("host", "log") void host_log(uint32_t level, const char *message, size_t length);

// Which contract this module keeps to.
__asm__(
    ".section \".custom_section.component-type\",\"\",@\n"
    ".incbin \"wit/projection-plugin.bin\"\n");

// Memory of one call, the host's arguments included: taken piece by piece, given back at once.

struct chunk {
  struct chunk *next;
  size_t used, size;
};
static struct chunk *chunks;

#define CHUNK_BYTES (256 << 10)

void *take(size_t size) {
  size = (size + 7) & ~(size_t)7;
  if (chunks == NULL || chunks->size - chunks->used < size) {
    size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
    struct chunk *chunk = malloc(sizeof *chunk + 8 + room);
    if (chunk == NULL) __builtin_trap();
    *chunk = (struct chunk){chunks, 0, room};
    chunks = chunk;
  }
  size_t head = (sizeof *chunks + 7) & ~(size_t)7;
  void *start = (char *)chunks + head + chunks->used;
  chunks->used += size;
  return start;
}

static void *take_zeros(size_t size) { return memset(take(size), 0, size); }

static void give_all_back(void) {
  while (chunks != NULL) {
    struct chunk *next = chunks->next;
    free(chunks);
    chunks = next;
  }
}

EXPORT("cabi_realloc") void *realloc_for_host(void *old, size_t old_size, size_t align, size_t size) {
  (void)align;  // Nothing is aligned to more than eight bytes, as all is here.
  void *start = take(size);
  if (old_size > 0) memcpy(start, old, old_size < size ? old_size : size);
  return start;
}

// A column that is being written. Its room is known before: one item for each event at most.

static struct list list_for(size_t items, size_t size) { return (struct list){take(items * size), 0}; }

static void push_number(struct list *list, uint32_t number) {
  ((uint32_t *)list->start)[list->length++] = number;
}

static struct list text_list(const char *text) {
  return (struct list){(void *)text, text == NULL ? 0 : strlen(text)};
}

// A walk through a column that is read.
struct walk {
  const struct column *column;
  size_t next, missing_seen;
  const char *start;
};

static struct walk walk(const struct column *column) {
  return (struct walk){column, 0, 0, column->bytes.start};
}

// The next item; its start is NULL where it is missing.
static struct slice next_item(struct walk *walk) {
  const struct column *column = walk->column;
  const char *end = (const char *)column->bytes.start + ((uint32_t *)column->ends.start)[walk->next];
  struct slice item = {walk->start, (size_t)(end - walk->start)};
  const uint32_t *missing = column->missing.start;
  if (walk->missing_seen < column->missing.length && missing[walk->missing_seen] == walk->next) {
    walk->missing_seen++;
    item.start = NULL;
  } else if (item.start == NULL) {
    item.start = "";  // An empty item of an empty column.
  }
  walk->next++;
  walk->start = end;
  return item;
}

// A document in the course of a batch.
struct slot {
  struct slice key;
  void *document;
  bool existed, exists, is_shaped, is_rejected;
  uint32_t shaped_by;
};

// Slots by their keys: open addressing, half empty.
struct slots {
  struct slot *all;
  size_t count;
  uint32_t *table;  // an index and one; 0 is free
  uint32_t mask;
};

static struct slots slots_for(size_t events) {
  uint32_t size = 16;
  while (size < 2 * events) size *= 2;
  return (struct slots){take(events * sizeof(struct slot)), 0,
                        take_zeros(size * sizeof(uint32_t)), size - 1};
}

static uint32_t slot_of(struct slots *slots, struct slice key) {
  uint32_t hash = 2166136261u;  // FNV-1a
  for (size_t i = 0; i < key.length; i++) hash = (hash ^ (unsigned char)key.start[i]) * 16777619u;
  for (uint32_t at = (hash ^ hash >> 15) & slots->mask;; at = (at + 1) & slots->mask) {
    if (slots->table[at] == 0) {
      slots->all[slots->count] = (struct slot){.key = key};
      slots->table[at] = (uint32_t)++slots->count;
      return slots->table[at] - 1;
    }
    struct slice other = slots->all[slots->table[at] - 1].key;
    if (other.length == key.length && memcmp(other.start, key.start, key.length) == 0)
      return slots->table[at] - 1;
  }
}

static void reject(struct output *output, uint32_t event, struct out reason) {
  struct reject *rejects = output->rejects.start;
  rejects[output->rejects.length++] = (struct reject){event, {reason.bytes, reason.length}};
}

static void reject_because(struct output *output, uint32_t event, const char *text) {
  struct out reason = {0};
  add(&reason, text);
  reject(output, event, reason);
}

// Asks for the documents of all slots at once.
static void load(struct slots *slots) {
  struct out ids = {0};
  struct list ends = list_for(slots->count, sizeof(uint32_t));
  for (size_t i = 0; i < slots->count; i++) {
    add_slice(&ids, slots->all[i].key);
    push_number(&ends, (uint32_t)ids.length);
  }
  struct column stored;
  host_get_many(0, ids.bytes, ids.length, ends.start, ends.length, NULL, 0, &stored);
  char *documents = take_zeros(slots->count * projection.document_size);
  struct walk walk_stored = walk(&stored);
  for (size_t i = 0; i < slots->count; i++) {
    struct slot *slot = &slots->all[i];
    struct slice body = next_item(&walk_stored);
    slot->document = documents + i * projection.document_size;
    slot->existed = slot->exists = body.start != NULL;
    // The first event of the key is to say so.
    if (slot->exists && !projection.read(slot->document, body)) slot->document = NULL;
  }
}

static void fold(struct slot *slot, const struct event *event, uint32_t index, void *scratch,
                 struct output *output) {
  if (slot->document == NULL) {
    slot->is_rejected = true;
    reject_because(output, index,
                   "the stored document is not what this projection reads; a new shape of document "
                   "needs a new version of the view");
    return;
  }
  // A copy, so that an event that is rejected has changed nothing.
  memcpy(scratch, slot->document, projection.document_size);
  struct out because = {0};
  enum folded folded = projection.fold(scratch, slot->exists, event, &because);
  if (folded == IGNORE) return;
  if (folded == REJECT) {
    slot->is_rejected = true;
    reject(output, index, because);
    return;
  }
  slot->exists = folded == STORE;
  slot->is_shaped = true;
  slot->shaped_by = index;
  if (slot->exists) {
    memcpy(slot->document, scratch, projection.document_size);
  } else {
    memset(slot->document, 0, projection.document_size);
  }
}

// One write for each document that was folded, except where none existed and none shall.
static void write_all(struct slots *slots, struct output *output) {
  struct out ids = {0}, documents = {0};
  for (size_t i = 0; i < slots->count; i++) {
    struct slot *slot = &slots->all[i];
    if (!slot->is_shaped || (!slot->exists && !slot->existed)) continue;
    push_number(&output->events, slot->shaped_by);
    push_number(&output->views, 0);
    add_slice(&ids, slot->key);
    push_number(&output->ids.ends, (uint32_t)ids.length);
    if (slot->exists) {
      projection.write(slot->document, &documents);
    } else {
      push_number(&output->documents.missing, (uint32_t)output->documents.ends.length);
    }
    push_number(&output->documents.ends, (uint32_t)documents.length);
  }
  output->ids.bytes = (struct list){ids.bytes, ids.length};
  output->documents.bytes = (struct list){documents.bytes, documents.length};
}

EXPORT(PROJECTION "project") struct output *project(const struct batch *batch) {
  size_t events = batch->offsets.length;
  struct output *output = take_zeros(sizeof *output);
  struct list *lists[] = {&output->events,        &output->views,
                          &output->ids.ends,      &output->documents.ends,
                          &output->documents.missing};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    *lists[i] = list_for(events, sizeof(uint32_t));
  output->rejects = list_for(events, sizeof(struct reject));

  struct slots slots = slots_for(events);
  uint32_t *slot_at = take(events * sizeof(uint32_t));
  struct walk keys = walk(&batch->keys);
  for (uint32_t index = 0; index < events; index++) {
    struct slice key = next_item(&keys);
    // Without a key an event belongs to no document.
    slot_at[index] = key.start == NULL ? UINT32_MAX : slot_of(&slots, key);
  }
  if (slots.count > 0) load(&slots);

  size_t headers = batch->headers.length;
  struct walk *header_walks = take(headers * sizeof(struct walk));
  struct slice *header_values = take(headers * sizeof(struct slice));
  for (size_t i = 0; i < headers; i++)
    header_walks[i] = walk((const struct column *)batch->headers.start + i);
  void *scratch = take(projection.document_size);
  struct walk values = walk(&batch->values);
  for (uint32_t index = 0; index < events; index++) {
    struct slice value = next_item(&values);
    for (size_t i = 0; i < headers; i++) header_values[i] = next_item(&header_walks[i]);
    struct slot *slot = slot_at[index] == UINT32_MAX ? NULL : &slots.all[slot_at[index]];
    if (slot == NULL || slot->is_rejected) continue;
    if (!is_utf8(slot->key)) {
      slot->is_rejected = true;
      reject_because(output, index, "the key is not UTF-8");
      continue;
    }
    struct event event = {
        .key = slot->key,
        .value = value,
        .is_tombstone = value.start == NULL,
        .topic = {batch->topic.start, batch->topic.length},
        .partition = batch->partition,
        .offset = ((const uint64_t *)batch->offsets.start)[index],
        .timestamp_ms = ((const int64_t *)batch->timestamps_ms.start)[index],
        .headers = header_values,
    };
    fold(slot, &event, index, scratch, output);
  }
  write_all(&slots, output);
  return output;
}

EXPORT("cabi_post_" PROJECTION "project") void project_post(struct output *output) {
  (void)output;
  give_all_back();
}

EXPORT(PROJECTION "describe") struct descriptor *describe(void) {
  size_t headers = 0;
  while (projection.headers != NULL && projection.headers[headers] != NULL) headers++;
  struct list *names = take(headers * sizeof *names);
  for (size_t i = 0; i < headers; i++) names[i] = text_list(projection.headers[i]);
  struct view *view = take_zeros(sizeof *view);
  view->name = text_list(projection.view);
  struct descriptor *answer = take_zeros(sizeof *answer);
  answer->name = text_list(projection.name);
  answer->version = text_list(projection.version);
  answer->description = text_list(projection.description);
  answer->views = (struct list){view, 1};
  answer->headers = (struct list){names, headers};
  answer->config_schema = text_list(projection.config_schema);
  return answer;
}

EXPORT("cabi_post_" PROJECTION "describe") void describe_post(struct descriptor *answer) {
  (void)answer;
  give_all_back();
}

EXPORT(PROJECTION "configure") struct configured *configure(const char *text, size_t length) {
  struct slice config = {text, length};
  const char *error = NULL;
  if (projection.configure != NULL) {
    error = projection.configure(config);
  } else {
    struct fields fields = fields_of(config);
    if (next_field(&fields) || (length > 0 && !fields.is_whole)) error = "it takes no configuration";
  }
  struct configured *answer = take_zeros(sizeof *answer);
  answer->is_err = error != NULL;
  answer->error = text_list(error);
  return answer;
}

EXPORT("cabi_post_" PROJECTION "configure") void configure_post(struct configured *answer) {
  (void)answer;
  give_all_back();
}

void log_line(const char *message) { host_log(2, message, strlen(message)); }
