//! As the plugin `aircraft` of the example `flights`.

use aircraft::{Aircraft, Departure};

use super::Fold;

pub struct Fleet;

impl Fold for Fleet {
    type Event<'a> = Departure<'a>;
    type Document = Aircraft;

    fn ids<'a>(key: &'a str, _: &'a Departure<'_>) -> (&'a str, Option<&'a str>) {
        (key, None)
    }

    fn fold(&self, departure: &Departure<'_>, _: &str, aircraft: &mut Aircraft) {
        aircraft.depart(departure);
    }
}
