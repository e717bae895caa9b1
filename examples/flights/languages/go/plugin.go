// One document for each aircraft: what it flew, how late it was, where it is.
package main

import (
	"errors"

	"aircraft/projectionist"
)

// Departure is the part of an event that this projection reads.
type Departure struct {
	// Local time as the number HHMM; absent where the flight was cancelled.
	DepTime *uint32 `json:"dep_time"`
	// Minutes; negative where it left early.
	DepDelay int64  `json:"dep_delay"`
	Origin   string `json:"origin"`
	Dest     string `json:"dest"`
	// Miles.
	Distance *uint64 `json:"distance"`
}

// Aircraft is a document. Its id is the tail number.
type Aircraft struct {
	Legs              uint64  `json:"legs"`
	CancelledLegs     uint64  `json:"cancelled_legs"`
	AirMiles          uint64  `json:"air_miles"`
	DelayMinutes      int64   `json:"delay_minutes"`
	WorstDelayMinutes int64   `json:"worst_delay_minutes"`
	LastOrigin        *string `json:"last_origin"`
	LastAirport       *string `json:"last_airport"`
	Repositioned      uint64  `json:"repositioned"`
	BaseChanges       uint64  `json:"base_changes"`
}

var fleet = projectionist.Projection[Departure, Aircraft]{
	Name:        "aircraft",
	Version:     "0.1.0",
	Description: "Where each aircraft is and what it has flown: one document for each tail number.",
	View:        "aircraft",
	Fold:        fold,
}

func fold(aircraft *Aircraft, event *projectionist.Event[Departure]) (*Aircraft, error) {
	if event.IsTombstone {
		return nil, nil
	}
	departure := &event.Value
	if departure.Origin == "" || departure.Dest == "" || departure.Distance == nil {
		return nil, errors.New("a departure has an origin, a destination and a distance")
	}
	if aircraft == nil {
		aircraft = &Aircraft{}
	}
	if departure.DepTime == nil {
		aircraft.CancelledLegs++
		return aircraft, nil
	}
	delay := max(departure.DepDelay, 0)
	aircraft.Legs++
	aircraft.AirMiles += *departure.Distance
	aircraft.DelayMinutes += delay
	aircraft.WorstDelayMinutes = max(aircraft.WorstDelayMinutes, delay)
	if aircraft.LastAirport != nil && *aircraft.LastAirport != departure.Origin {
		aircraft.Repositioned++
	}
	if aircraft.LastOrigin != nil && *aircraft.LastOrigin != departure.Origin {
		aircraft.BaseChanges++
	}
	aircraft.LastOrigin, aircraft.LastAirport = &departure.Origin, &departure.Dest
	return aircraft, nil
}

func init() {
	projectionist.Export(&fleet)
}

// A plugin is called function by function; the compiler asks for a main all the same.
func main() {}
