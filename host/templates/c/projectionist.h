// A projection in C: what its author fills in (`projection`), and what helps with it.
//
// A document is a plain struct without pointers, read from and written to JSON by the author's own
// two functions. `projectionist.c` brings the host's columns to them, and back.

#ifndef PROJECTIONIST_H
#define PROJECTIONIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes that belong to someone else; no NUL behind them.
struct slice {
  const char *start;
  size_t length;
};

// What a fold says of its event.
enum folded {
  STORE,   // the document is as it shall be
  DELETE,  // no document shall exist any more
  IGNORE,  // the document stays as it was
  REJECT,  // the event cannot be folded, now or ever; say why with `because`
};

// Bytes that an answer to the host is made of; they live until the call is over.
struct out {
  char *bytes;
  size_t length, capacity;
};

struct event {
  struct slice key;
  // JSON; empty for a tombstone.
  struct slice value;
  bool is_tombstone;
  struct slice topic;
  uint32_t partition;
  uint64_t offset;
  int64_t timestamp_ms;
  // One for each of the projection's headers; where there is none its start is NULL.
  const struct slice *headers;
};

struct projection {
  const char *name, *version, *description, *view;
  // Names of the headers that it reads, NULL behind the last; NULL for none.
  const char *const *headers;
  // JSON Schema of the configuration; NULL for none.
  const char *config_schema;
  // Takes the configuration, or gives what is wrong with it. Where it is NULL, any is an error.
  const char *(*configure)(struct slice config);
  // The size of a document; a new one is all zeros.
  size_t document_size;
  bool (*read)(void *document, struct slice json);
  void (*write)(const void *document, struct out *out);
  // `exists` is false where the document is new.
  enum folded (*fold)(void *document, bool exists, const struct event *event, struct out *because);
};

// Defined by the author.
extern const struct projection projection;

// A line in the plugin's log, as "info".
void log_line(const char *message);

// Memory that lives until the call is over.
void *take(size_t size);

// Adds to an answer, or to the reason of a reject.
void add(struct out *out, const char *text);
void add_slice(struct out *out, struct slice slice);

bool is_utf8(struct slice text);

// Reading JSON. Each function is false where the text is not what it reads.

// Walks the fields of an object:
//
//   struct fields fields = fields_of(json);
//   while (next_field(&fields)) { if (is(fields.name, "n")) … fields.value … }
//   return fields.is_whole;
struct fields {
  struct slice name;   // as it stands between its quotes
  struct slice value;  // JSON
  bool is_whole;       // after the last one: the text was an object to its end
  const char *at, *end;
};
struct fields fields_of(struct slice json);
bool next_field(struct fields *fields);
bool is(struct slice slice, const char *text);

bool read_null(struct slice json);
// A whole number.
bool read_int(struct slice json, int64_t *number);
bool read_double(struct slice json, double *number);
// A string, with a NUL behind it; one that has a NUL within or does not fit is refused.
bool read_text(struct slice json, char *text, size_t size);

// Writing an object: `open`, fields, `close`.

void open_object(struct out *out);
void write_int(struct out *out, const char *name, int64_t number);
void write_double(struct out *out, const char *name, double number);
void write_text(struct out *out, const char *name, const char *text);
void write_null(struct out *out, const char *name);
void close_object(struct out *out);

#endif
