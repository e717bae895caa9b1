// Reads and writes JSON, strictly as RFC 8259 has it, in UTF-8.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "projectionist.h"

// Deeper ones are refused, so that no text can exhaust the stack.
#define DEPTH_MAX 128

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
  return at;
}

static bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

static int hex(char byte) {
  if (is_digit(byte)) return byte - '0';
  byte |= 32;
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

// The four digits behind "\u"; -1 where there are none.
static int escaped(const char *at, const char *end) {
  if (end - at < 4) return -1;
  int code = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex(at[i]);
    if (digit < 0) return -1;
    code = code * 16 + digit;
  }
  return code;
}

// How many bytes the UTF-8 character here has; 0 where there is none.
static int utf8_length(const char *at, const char *end) {
  const unsigned char *byte = (const unsigned char *)at;
  size_t left = (size_t)(end - at);
#define CONTINUES(i) (left > (i) && (byte[i] & 0xc0) == 0x80)
  if (byte[0] < 0x80) return 1;
  if (byte[0] >= 0xc2 && byte[0] <= 0xdf) return CONTINUES(1) ? 2 : 0;
  if ((byte[0] & 0xf0) == 0xe0) {
    if (!CONTINUES(1) || !CONTINUES(2)) return 0;
    if (byte[0] == 0xe0 && byte[1] < 0xa0) return 0;
    if (byte[0] == 0xed && byte[1] > 0x9f) return 0;
    return 3;
  }
  if (byte[0] >= 0xf0 && byte[0] <= 0xf4) {
    if (!CONTINUES(1) || !CONTINUES(2) || !CONTINUES(3)) return 0;
    if (byte[0] == 0xf0 && byte[1] < 0x90) return 0;
    if (byte[0] == 0xf4 && byte[1] > 0x8f) return 0;
    return 4;
  }
#undef CONTINUES
  return 0;
}

bool is_utf8(struct slice text) {
  for (const char *at = text.start, *end = at + text.length; at < end;) {
    int length = utf8_length(at, end);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

// Each `skip_` gives where the item ends; NULL where there is none.

static const char *skip_string(const char *at, const char *end) {
  if (at == end || *at != '"') return NULL;
  at++;
  while (at < end) {
    unsigned char byte = (unsigned char)*at;
    if (byte == '"') return at + 1;
    if (byte < 0x20) return NULL;
    if (byte == '\\') {
      if (end - at < 2) return NULL;
      if (at[1] == 'u') {
        int code = escaped(at + 2, end);
        if (code < 0 || (code & 0xfc00) == 0xdc00) return NULL;
        at += 6;
        if ((code & 0xfc00) == 0xd800) {
          if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return NULL;
          int low = escaped(at + 2, end);
          if (low < 0 || (low & 0xfc00) != 0xdc00) return NULL;
          at += 6;
        }
      } else if (at[1] != '\0' && strchr("\"\\/bfnrt", at[1]) != NULL) {
        at += 2;
      } else {
        return NULL;
      }
    } else if (byte < 0x80) {
      at++;
    } else {
      int length = utf8_length(at, end);
      if (length == 0) return NULL;
      at += length;
    }
  }
  return NULL;
}

static const char *skip_digits(const char *at, const char *end) {
  const char *start = at;
  while (at < end && is_digit(*at)) at++;
  return at > start ? at : NULL;
}

static const char *skip_number(const char *at, const char *end) {
  if (at < end && *at == '-') at++;
  if (at < end && *at == '0') {
    at++;
  } else if ((at = skip_digits(at, end)) == NULL) {
    return NULL;
  }
  if (at < end && *at == '.' && (at = skip_digits(at + 1, end)) == NULL) return NULL;
  if (at < end && (*at == 'e' || *at == 'E')) {
    at++;
    if (at < end && (*at == '+' || *at == '-')) at++;
    at = skip_digits(at, end);
  }
  return at;
}

static const char *skip_word(const char *at, const char *end, const char *word) {
  size_t length = strlen(word);
  bool found = (size_t)(end - at) >= length && memcmp(at, word, length) == 0;
  return found ? at + length : NULL;
}

static const char *skip_value(const char *at, const char *end, int depth);

static const char *skip_many(const char *at, const char *end, int depth, char close) {
  at = skip_space(at + 1, end);
  if (at < end && *at == close) return at + 1;
  while (at < end) {
    if (close == '}') {
      at = skip_string(at, end);
      if (at == NULL) return NULL;
      at = skip_space(at, end);
      if (at == end || *at != ':') return NULL;
      at = skip_space(at + 1, end);
    }
    at = skip_value(at, end, depth + 1);
    if (at == NULL) return NULL;
    at = skip_space(at, end);
    if (at == end) return NULL;
    if (*at == close) return at + 1;
    if (*at != ',') return NULL;
    at = skip_space(at + 1, end);
  }
  return NULL;
}

static const char *skip_value(const char *at, const char *end, int depth) {
  if (at == end || depth > DEPTH_MAX) return NULL;
  switch (*at) {
    case '"': return skip_string(at, end);
    case '{': return skip_many(at, end, depth, '}');
    case '[': return skip_many(at, end, depth, ']');
    case 't': return skip_word(at, end, "true");
    case 'f': return skip_word(at, end, "false");
    case 'n': return skip_word(at, end, "null");
    default: return skip_number(at, end);
  }
}

struct fields fields_of(struct slice json) {
  struct fields fields = {.at = json.start, .end = json.start + json.length};
  fields.at = skip_space(fields.at, fields.end);
  if (fields.at == fields.end || *fields.at != '{') {
    fields.at = NULL;
    return fields;
  }
  const char *first = skip_space(fields.at + 1, fields.end);
  if (first < fields.end && *first == '}') {
    fields.is_whole = skip_space(first + 1, fields.end) == fields.end;
    fields.at = NULL;
  }
  return fields;
}

bool next_field(struct fields *fields) {
  const char *at = fields->at, *end = fields->end;
  fields->at = NULL;
  if (at == NULL) return false;
  if (*at == '}') {
    fields->is_whole = skip_space(at + 1, end) == end;
    return false;
  }
  // Before the first name stands "{", before the others ",".
  const char *name = skip_space(at + 1, end);
  at = skip_string(name, end);
  if (at == NULL) return false;
  fields->name = (struct slice){name + 1, (size_t)(at - name) - 2};
  at = skip_space(at, end);
  if (at == end || *at != ':') return false;
  const char *value = skip_space(at + 1, end);
  at = skip_value(value, end, 1);
  if (at == NULL) return false;
  fields->value = (struct slice){value, (size_t)(at - value)};
  at = skip_space(at, end);
  if (at == end || (*at != ',' && *at != '}')) return false;
  fields->at = at;
  return true;
}

bool is(struct slice slice, const char *text) {
  return slice.length == strlen(text) && memcmp(slice.start, text, slice.length) == 0;
}

bool read_null(struct slice json) { return is(json, "null"); }

bool read_int(struct slice json, int64_t *number) {
  const char *at = json.start, *end = at + json.length;
  if (skip_number(at, end) != end) return false;
  bool is_negative = *at == '-';
  if (is_negative) at++;
  int64_t value = 0;
  for (; at < end; at++) {
    // Downwards, for there is one more negative number.
    if (!is_digit(*at) || __builtin_mul_overflow(value, 10, &value) ||
        __builtin_sub_overflow(value, *at - '0', &value))
      return false;
  }
  if (!is_negative && __builtin_sub_overflow(0, value, &value)) return false;
  *number = value;
  return true;
}

bool read_double(struct slice json, double *number) {
  char text[64];
  if (json.length >= sizeof text) return false;
  if (skip_number(json.start, json.start + json.length) != json.start + json.length) return false;
  memcpy(text, json.start, json.length);
  text[json.length] = '\0';
  *number = strtod(text, NULL);
  return true;
}

static char *put_character(char *to, unsigned code) {
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *to++ = (char)(0xe0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  } else {
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  }
  return to;
}

bool read_text(struct slice json, char *text, size_t size) {
  const char *at = json.start, *end = at + json.length;
  if (skip_string(at, end) != end) return false;
  end--;
  char *to = text, *limit = text + size;
  for (at++; at < end;) {
    // A character, and the NUL at the end.
    if (limit - to < 5) {
      int length = *at == '\\' ? 4 : utf8_length(at, end);
      if (limit - to < length + 1) return false;
    }
    if (*at != '\\') {
      for (int length = utf8_length(at, end); length > 0; length--) *to++ = *at++;
      continue;
    }
    if (at[1] != 'u') {
      static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
      *to++ = means[strchr(names, at[1]) - names];
      at += 2;
      continue;
    }
    unsigned code = (unsigned)escaped(at + 2, end);
    at += 6;
    if (code >= 0xd800 && code <= 0xdbff) {
      code = 0x10000 + ((code - 0xd800) << 10) + ((unsigned)escaped(at + 2, end) - 0xdc00);
      at += 6;
    }
    if (code == 0) return false;
    to = put_character(to, code);
  }
  *to = '\0';
  return true;
}

static void add_bytes(struct out *out, const char *bytes, size_t length) {
  if (out->capacity - out->length < length) {
    out->capacity = (out->length + length) * 2 + 64;
    char *grown = take(out->capacity);
    if (out->length > 0) memcpy(grown, out->bytes, out->length);
    out->bytes = grown;
  }
  memcpy(out->bytes + out->length, bytes, length);
  out->length += length;
}

void add_slice(struct out *out, struct slice slice) { add_bytes(out, slice.start, slice.length); }

void add(struct out *out, const char *text) { add_bytes(out, text, strlen(text)); }

static void add_string(struct out *out, const char *text) {
  add_bytes(out, "\"", 1);
  for (const char *from = text;; text++) {
    unsigned char byte = (unsigned char)*text;
    if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
    add_bytes(out, from, (size_t)(text - from));
    if (byte == '\0') break;
    char escape[8];
    snprintf(escape, sizeof escape, byte < 0x20 ? "\\u%04x" : "\\%c", byte);
    add(out, escape);
    from = text + 1;
  }
  add_bytes(out, "\"", 1);
}

static void add_name(struct out *out, const char *name) {
  if (out->length > 0 && out->bytes[out->length - 1] != '{') add_bytes(out, ",", 1);
  add_string(out, name);
  add_bytes(out, ":", 1);
}

void open_object(struct out *out) { add_bytes(out, "{", 1); }

void close_object(struct out *out) { add_bytes(out, "}", 1); }

void write_int(struct out *out, const char *name, int64_t number) {
  add_name(out, name);
  char digits[20], *at = digits + sizeof digits;
  uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  do *--at = (char)('0' + rest % 10);
  while ((rest /= 10) > 0);
  if (number < 0) *--at = '-';
  add_bytes(out, at, (size_t)(digits + sizeof digits - at));
}

void write_double(struct out *out, const char *name, double number) {
  add_name(out, name);
  char text[32];
  // The shortest that reads back as the same.
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, number);
    if (strtod(text, NULL) == number) break;
  }
  add(out, text);
}

void write_text(struct out *out, const char *name, const char *text) {
  add_name(out, name);
  add_string(out, text);
}

void write_null(struct out *out, const char *name) {
  add_name(out, name);
  add(out, "null");
}
