"""One document for each aircraft: what it flew, how late it was, where it is."""

from projectionist import DELETE, Projection, Reject

NEW = {
    "legs": 0,
    "cancelled_legs": 0,
    "air_miles": 0,
    "delay_minutes": 0,
    "worst_delay_minutes": 0,
    "last_origin": None,
    "last_airport": None,
    "repositioned": 0,
    "base_changes": 0,
}


class Fleet(Projection):
    name = "aircraft"
    version = "0.1.0"
    description = "Where each aircraft is and what it has flown: one document for each tail number."
    view = "aircraft"

    def fold(self, aircraft, event):
        if event.is_tombstone:
            return DELETE
        departure = event.value
        try:
            origin, dest = departure["origin"], departure["dest"]
            distance = departure["distance"]
        except (KeyError, TypeError):
            raise Reject("a departure has an origin, a destination and a distance")
        if aircraft is None:
            aircraft = dict(NEW)
        if departure.get("dep_time") is None:
            aircraft["cancelled_legs"] += 1
            return aircraft
        delay = max(departure.get("dep_delay") or 0, 0)
        aircraft["legs"] += 1
        aircraft["air_miles"] += distance
        aircraft["delay_minutes"] += delay
        aircraft["worst_delay_minutes"] = max(aircraft["worst_delay_minutes"], delay)
        aircraft["repositioned"] += aircraft["last_airport"] not in (None, origin)
        aircraft["base_changes"] += aircraft["last_origin"] not in (None, origin)
        aircraft["last_origin"] = origin
        aircraft["last_airport"] = dest
        return aircraft


projection = Fleet()
