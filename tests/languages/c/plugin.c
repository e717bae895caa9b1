// Prints as an event says: for the tests of the kit.

#include <stdio.h>

#include "projectionist.h"

struct probe {
  int64_t lines;
};

static bool read_probe(void *document, struct slice json) {
  struct probe *probe = document;
  struct fields fields = fields_of(json);
  while (next_field(&fields)) {
    if (is(fields.name, "lines") && !read_int(fields.value, &probe->lines)) return false;
  }
  return fields.is_whole;
}

static void write_probe(const void *document, struct out *out) {
  const struct probe *probe = document;
  open_object(out);
  write_int(out, "lines", probe->lines);
  close_object(out);
}

static enum folded fold(void *document, bool exists, const struct event *event,
                        struct out *because) {
  (void)exists;
  struct probe *probe = document;
  if (!read_probe(probe, event->value)) {
    add(because, "the value has no \"lines\"");
    return REJECT;
  }
  for (int64_t line = 0; line < probe->lines; line++) {
    printf("line %lld of %lld\n", (long long)line, (long long)probe->lines);
  }
  fprintf(stderr, "printed\n");
  printf("without an end");
  fflush(stdout);
  log_line("logged");
  return STORE;
}

const struct projection projection = {
    .name = "probe",
    .version = "0.1.0",
    .description = "",
    .view = "probe",
    .document_size = sizeof(struct probe),
    .read = read_probe,
    .write = write_probe,
    .fold = fold,
};
