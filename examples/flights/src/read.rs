//! From the compressed CSV file to events.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use csv::StringRecord;
use flate2::read::GzDecoder;

use crate::departure::{Departure, FlightEvent};

/// How the data set spells a value that there is not.
const NOT_AVAILABLE: &str = "NA";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not the data set of this example", path.display())]
    Csv {
        path: PathBuf,
        #[source]
        source: csv::Error,
    },
}

/// Reads the gzipped CSV file.
///
/// # Errors
/// A file that cannot be opened, or a row (with its number) that is not a departure.
pub fn read(path: &Path) -> Result<Vec<FlightEvent>, Error> {
    let file = File::open(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })?;
    read_csv(GzDecoder::new(file)).map_err(|source| Error::Csv {
        path: path.to_owned(),
        source,
    })
}

/// Reads CSV text with a header row.
///
/// # Errors
/// Text that cannot be read, or a row (with its number) that is not a departure.
pub fn read_csv(csv: impl Read) -> Result<Vec<FlightEvent>, csv::Error> {
    let mut reader = csv::Reader::from_reader(csv);
    let columns = reader.headers()?.clone();
    let mut events = Vec::new();
    for (row, record) in (1..).zip(reader.records()) {
        let value: Departure = without_na(&record?).deserialize(Some(&columns))?;
        events.push(FlightEvent {
            key: value.tailnum.clone(),
            value,
            id: format!("flight-2013-01-{row}"),
        });
    }
    Ok(events)
}

/// An empty field is what serde takes for `None`, and for an error in a column that must be there.
fn without_na(record: &StringRecord) -> StringRecord {
    let mut fields = StringRecord::new();
    for field in record {
        fields.push_field(if field == NOT_AVAILABLE { "" } else { field });
    }
    fields.set_position(record.position().cloned());
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &str = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,\
        sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,\
        minute,time_hour\n";

    fn read_rows(rows: &str) -> Result<Vec<FlightEvent>, csv::Error> {
        read_csv(format!("{COLUMNS}{rows}").as_bytes())
    }

    #[test]
    fn an_event_says_what_its_row_says() {
        let rows = "2013,1,1,544,545,-1,1004,1022,-18,B6,725,N804JB,JFK,BQN,183,1576,5,45,\
                    2013-01-01T10:00:00Z\n\
                    2013,1,2,NA,1545,NA,NA,1910,NA,AA,133,NA,JFK,LAX,NA,2475,15,45,\
                    2013-01-02T20:00:00Z\n";

        let events = read_rows(rows).expect("both rows are departures");

        assert_eq!(events[0].key.as_deref(), Some("N804JB"));
        assert_eq!(events[0].id, "flight-2013-01-1");
        assert_eq!(
            json!(events[0].value),
            json!({
                "year": 2013, "month": 1, "day": 1, "dep_time": 544, "sched_dep_time": 545,
                "dep_delay": -1, "arr_time": 1004, "sched_arr_time": 1022, "arr_delay": -18,
                "carrier": "B6", "flight": 725, "tailnum": "N804JB", "origin": "JFK",
                "dest": "BQN", "air_time": 183, "distance": 1576, "hour": 5, "minute": 45,
                "time_hour": "2013-01-01T10:00:00Z",
            })
        );
        assert_eq!(events[1].key, None);
        assert_eq!(events[1].id, "flight-2013-01-2");
        assert_eq!(
            json!(events[1].value),
            json!({
                "year": 2013, "month": 1, "day": 2, "dep_time": null, "sched_dep_time": 1545,
                "dep_delay": null, "arr_time": null, "sched_arr_time": 1910, "arr_delay": null,
                "carrier": "AA", "flight": 133, "tailnum": null, "origin": "JFK", "dest": "LAX",
                "air_time": null, "distance": 2475, "hour": 15, "minute": 45,
                "time_hour": "2013-01-02T20:00:00Z",
            })
        );
    }

    #[test]
    fn a_row_that_is_no_departure_is_named() {
        let row = "2013,1,1,544,NA,-1,1004,1022,-18,B6,725,N804JB,JFK,BQN,183,1576,5,45,x\n";

        let error = read_rows(row).expect_err("a scheduled time is never missing");

        let text = error.to_string();
        assert!(
            text.contains("line: 2") && text.contains("field 4"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("no/such.csv.gz")).expect_err("there is no such file");

        assert_eq!(error.to_string(), "cannot open no/such.csv.gz");
    }
}
