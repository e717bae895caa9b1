package projectionist

import "encoding/json"

// Record is an event for FoldAll. An empty value is a tombstone.
type Record struct {
	Key, Value  string
	TimestampMs int64
	Headers     map[string]string
}

// FoldAll folds events as one batch, without a host and without Wasm. It gives the documents by
// their ids, and the rejected events.
func FoldAll[V, D any](projection *Projection[V, D], records []Record) (map[string]*D, []Reject) {
	batch := batch{topic: "test", headers: make([]column, len(projection.Headers))}
	for index, record := range records {
		batch.offsets = append(batch.offsets, uint64(index))
		batch.timestampsMs = append(batch.timestampsMs, record.TimestampMs)
		batch.keys.push([]byte(record.Key))
		batch.values.push(optional(record.Value, record.Value != ""))
		for number, name := range projection.Headers {
			value, ok := record.Headers[name]
			batch.headers[number].push(optional(value, ok))
		}
	}
	out := projection.project(&batch, func(ids *column) column {
		var nothing column
		for range ids.ends {
			nothing.push(nil)
		}
		return nothing
	})
	documents := make(map[string]*D)
	for index := range out.events {
		body := out.documents.item(index)
		if body == nil {
			continue
		}
		document := new(D)
		if err := json.Unmarshal(body, document); err != nil {
			panic(err)
		}
		documents[string(out.ids.item(index))] = document
	}
	return documents, out.rejects
}

func optional(text string, exists bool) []byte {
	if !exists {
		return nil
	}
	return append([]byte{}, text...)
}
