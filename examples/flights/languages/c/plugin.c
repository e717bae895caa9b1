// One document for each aircraft: what it flew, how late it was, where it is.

#include <string.h>

#include "projectionist.h"

// As long as the name of an airport may be.
typedef char airport[16];

// A document. Its id is the tail number: the event's key.
struct aircraft {
  int64_t legs, cancelled_legs, air_miles, delay_minutes, worst_delay_minutes;
  airport last_origin, last_airport;  // empty where there is none
  int64_t repositioned, base_changes;
};

static bool read_airport(struct slice json, char *name) {
  return read_null(json) || read_text(json, name, sizeof(airport));
}

static bool read(void *document, struct slice json) {
  struct aircraft *aircraft = document;
  struct fields fields = fields_of(json);
  bool is_right = true;
  while (is_right && next_field(&fields)) {
    struct slice name = fields.name, value = fields.value;
    if (is(name, "legs")) is_right = read_int(value, &aircraft->legs);
    else if (is(name, "cancelled_legs")) is_right = read_int(value, &aircraft->cancelled_legs);
    else if (is(name, "air_miles")) is_right = read_int(value, &aircraft->air_miles);
    else if (is(name, "delay_minutes")) is_right = read_int(value, &aircraft->delay_minutes);
    else if (is(name, "worst_delay_minutes"))
      is_right = read_int(value, &aircraft->worst_delay_minutes);
    else if (is(name, "last_origin")) is_right = read_airport(value, aircraft->last_origin);
    else if (is(name, "last_airport")) is_right = read_airport(value, aircraft->last_airport);
    else if (is(name, "repositioned")) is_right = read_int(value, &aircraft->repositioned);
    else if (is(name, "base_changes")) is_right = read_int(value, &aircraft->base_changes);
  }
  return is_right && fields.is_whole;
}

static void write_airport(struct out *out, const char *name, const char *airport) {
  if (airport[0] == '\0') write_null(out, name);
  else write_text(out, name, airport);
}

static void write(const void *document, struct out *out) {
  const struct aircraft *aircraft = document;
  open_object(out);
  write_int(out, "legs", aircraft->legs);
  write_int(out, "cancelled_legs", aircraft->cancelled_legs);
  write_int(out, "air_miles", aircraft->air_miles);
  write_int(out, "delay_minutes", aircraft->delay_minutes);
  write_int(out, "worst_delay_minutes", aircraft->worst_delay_minutes);
  write_airport(out, "last_origin", aircraft->last_origin);
  write_airport(out, "last_airport", aircraft->last_airport);
  write_int(out, "repositioned", aircraft->repositioned);
  write_int(out, "base_changes", aircraft->base_changes);
  close_object(out);
}

struct departure {
  bool is_cancelled;
  int64_t delay;  // minutes
  airport origin, dest;
  int64_t distance;  // miles
};

static bool read_departure(struct slice json, struct departure *departure) {
  *departure = (struct departure){.is_cancelled = true, .distance = -1};
  struct fields fields = fields_of(json);
  bool is_right = true;
  while (is_right && next_field(&fields)) {
    struct slice name = fields.name, value = fields.value;
    if (is(name, "dep_time")) departure->is_cancelled = read_null(value);
    else if (is(name, "dep_delay"))
      is_right = read_null(value) || read_int(value, &departure->delay);
    else if (is(name, "origin")) is_right = read_text(value, departure->origin, sizeof(airport));
    else if (is(name, "dest")) is_right = read_text(value, departure->dest, sizeof(airport));
    else if (is(name, "distance")) is_right = read_int(value, &departure->distance);
  }
  return is_right && fields.is_whole && departure->origin[0] != '\0' &&
         departure->dest[0] != '\0' && departure->distance >= 0;
}

static enum folded fold(void *document, bool exists, const struct event *event,
                        struct out *because) {
  (void)exists;  // A new aircraft is all zeros, which is right.
  if (event->is_tombstone) return DELETE;
  struct departure departure;
  if (!read_departure(event->value, &departure)) {
    add(because, "a departure has an origin, a destination and a distance");
    return REJECT;
  }
  struct aircraft *aircraft = document;
  if (departure.is_cancelled) {
    aircraft->cancelled_legs += 1;
    return STORE;
  }
  int64_t delay = departure.delay > 0 ? departure.delay : 0;
  aircraft->legs += 1;
  aircraft->air_miles += departure.distance;
  aircraft->delay_minutes += delay;
  if (aircraft->worst_delay_minutes < delay) aircraft->worst_delay_minutes = delay;
  const char *last_airport = aircraft->last_airport, *last_origin = aircraft->last_origin;
  if (last_airport[0] != '\0' && strcmp(last_airport, departure.origin) != 0)
    aircraft->repositioned += 1;
  if (last_origin[0] != '\0' && strcmp(last_origin, departure.origin) != 0)
    aircraft->base_changes += 1;
  memcpy(aircraft->last_origin, departure.origin, sizeof(airport));
  memcpy(aircraft->last_airport, departure.dest, sizeof(airport));
  return STORE;
}

const struct projection projection = {
    .name = "aircraft",
    .version = "0.1.0",
    .description = "Where each aircraft is and what it has flown: one document for each tail number.",
    .view = "aircraft",
    .document_size = sizeof(struct aircraft),
    .read = read,
    .write = write,
    .fold = fold,
};
