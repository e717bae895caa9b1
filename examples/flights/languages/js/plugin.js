// One document for each aircraft: what it flew, how late it was, where it is.

import { DELETE, Reject, define } from "./projectionist.js";

export const projection = define({
  name: "aircraft",
  version: "0.1.0",
  description: "Where each aircraft is and what it has flown: one document for each tail number.",
  view: "aircraft",

  fold(aircraft, event) {
    if (event.isTombstone) {
      return DELETE;
    }
    const { dep_time, dep_delay, origin, dest, distance } = event.value ?? {};
    if (typeof origin !== "string" || typeof dest !== "string" || !Number.isInteger(distance)) {
      throw new Reject("a departure has an origin, a destination and a distance");
    }
    aircraft ??= {
      legs: 0,
      cancelled_legs: 0,
      air_miles: 0,
      delay_minutes: 0,
      worst_delay_minutes: 0,
      last_origin: null,
      last_airport: null,
      repositioned: 0,
      base_changes: 0,
    };
    if (dep_time === null || dep_time === undefined) {
      aircraft.cancelled_legs += 1;
      return aircraft;
    }
    const delay = Math.max(dep_delay ?? 0, 0);
    aircraft.legs += 1;
    aircraft.air_miles += distance;
    aircraft.delay_minutes += delay;
    aircraft.worst_delay_minutes = Math.max(aircraft.worst_delay_minutes, delay);
    if (aircraft.last_airport !== null && aircraft.last_airport !== origin) {
      aircraft.repositioned += 1;
    }
    if (aircraft.last_origin !== null && aircraft.last_origin !== origin) {
      aircraft.base_changes += 1;
    }
    aircraft.last_origin = origin;
    aircraft.last_airport = dest;
    return aircraft;
  },
});
