// Package projectionist brings a batch's columns to the function Fold of a projection, and back.
//
// All that crosses into a plugin costs, so keys, values and documents come as one byte slice each.
//
// Guarantees:
//   - The documents are those of folding one event after the other.
//   - An event whose fold fails or panics is rejected with the error's text and leaves its document
//     as it was, whatever the fold had done to it; the later events of its key are left to the host.
package projectionist

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"unicode/utf8"
)

// ErrIgnore is what Fold returns, as it is or wrapped, where an event leaves its document as it is.
var ErrIgnore = errors.New("ignored")

// Projection folds events, whose values are JSON for V, into the documents D of one view: one for
// each key.
type Projection[V, D any] struct {
	Name        string
	Version     string
	Description string
	View        string
	// Headers that the projection reads; the host passes no others.
	Headers []string
	// ConfigSchema is a JSON Schema of the configuration.
	ConfigSchema string
	// Configure takes the configuration, a JSON object. Where it is nil, any is an error.
	Configure func(config []byte) error
	// Fold gives the document that is to be stored, nil where none shall exist. The document that
	// it gets, nil where none exists, may be changed. An error rejects the event.
	Fold func(document *D, event *Event[V]) (*D, error)

	values, documents decoder
}

// Event is one event, as Fold sees it.
type Event[V any] struct {
	Key string
	// Value is the zero value for a tombstone.
	Value       V
	IsTombstone bool
	batch       *batch
	index       int
}

// Topic is the one that the event comes from.
func (e *Event[V]) Topic() string { return e.batch.topic }

// Partition of the topic.
func (e *Event[V]) Partition() uint32 { return e.batch.partition }

// Offset in the partition.
func (e *Event[V]) Offset() uint64 { return e.batch.offsets[e.index] }

// TimestampMs is when the event was written, in milliseconds since 1970.
func (e *Event[V]) TimestampMs() int64 { return e.batch.timestampsMs[e.index] }

// Header gives a header that Headers of the projection names; nil where there is none.
func (e *Event[V]) Header(name string) []byte {
	for number, known := range e.batch.headerNames {
		if known == name {
			return e.batch.headers[number].item(e.index)
		}
	}
	return nil
}

// Reject names an event that cannot be folded.
type Reject struct {
	Event  uint32
	Reason string
}

type batch struct {
	topic        string
	partition    uint32
	offsets      []uint64
	timestampsMs []int64
	keys, values column
	headers      []column
	headerNames  []string
}

type output struct {
	events         []uint32
	ids, documents column
	rejects        []Reject
}

// column is many byte strings in one.
type column struct {
	bytes   []byte
	ends    []uint32
	missing []uint32
}

// item is nil where it is missing, and not where it is empty.
func (c *column) item(index int) []byte {
	at := sort.Search(len(c.missing), func(i int) bool { return c.missing[i] >= uint32(index) })
	if at < len(c.missing) && c.missing[at] == uint32(index) {
		return nil
	}
	start := uint32(0)
	if index > 0 {
		start = c.ends[index-1]
	}
	end := c.ends[index]
	if start == end {
		return []byte{}
	}
	return c.bytes[start:end:end]
}

// push adds an item; nil makes a missing one.
func (c *column) push(item []byte) {
	if item == nil {
		c.missing = append(c.missing, uint32(len(c.ends)))
	}
	c.bytes = append(c.bytes, item...)
	c.ends = append(c.ends, uint32(len(c.bytes)))
}

// slot is a document in the course of a batch.
type slot[D any] struct {
	key      string
	stored   []byte
	document *D
	// The last event that shaped it; -1 for none.
	event  int
	failed bool
}

func (p *Projection[V, D]) configure(config []byte) error {
	if p.Configure != nil {
		return p.Configure(config)
	}
	var fields map[string]json.RawMessage
	if len(config) > 0 && (json.Unmarshal(config, &fields) != nil || len(fields) > 0) {
		return fmt.Errorf("%s takes no configuration", p.Name)
	}
	return nil
}

func (p *Projection[V, D]) project(batch *batch, getMany func(*column) column) output {
	var out output
	batch.headerNames = p.Headers
	if p.values.fields == nil {
		p.values = newDecoder(reflect.TypeFor[V]())
		p.documents = newDecoder(reflect.TypeFor[D]())
	}
	// Where an event has no key, or an unreadable one, it has no slot.
	slotOf := make([]*slot[D], len(batch.offsets))
	slots := make(map[string]*slot[D])
	var order []*slot[D]
	var ids column
	unreadable := make(map[string]bool)
	for index := range slotOf {
		key := batch.keys.item(index)
		if key == nil {
			// Without a key an event belongs to no document; what cannot be read is told all the same.
			if value := batch.values.item(index); value != nil {
				if err := decode(&p.values, value, new(V)); err != nil {
					out.rejects = append(out.rejects, Reject{uint32(index), unread(err).Error()})
				}
			}
			continue
		}
		found, ok := slots[string(key)]
		if !ok {
			if !utf8.Valid(key) {
				if !unreadable[string(key)] {
					unreadable[string(key)] = true
					out.rejects = append(out.rejects, Reject{uint32(index), "the key is not UTF-8"})
				}
				continue
			}
			found = &slot[D]{key: string(key), event: -1}
			slots[found.key] = found
			order = append(order, found)
			ids.push(key)
		}
		slotOf[index] = found
	}

	if len(order) > 0 {
		stored := getMany(&ids)
		for number, slot := range order {
			slot.stored = stored.item(number)
			document, err := p.stored(slot.stored)
			slot.document, slot.failed = document, err != nil
		}
	}
	for index, slot := range slotOf {
		if slot == nil || slot.failed {
			continue
		}
		document, err := p.fold(slot.document, slot.key, batch, index)
		switch {
		case err == nil:
			slot.document, slot.event = document, index
		case errors.Is(err, ErrIgnore):
		default:
			slot.failed = true
		}
	}
	for _, slot := range order {
		var body []byte
		if !slot.failed && slot.event >= 0 && slot.document != nil {
			var err error
			body, err = json.Marshal(slot.document)
			slot.failed = err != nil
		}
		if slot.failed {
			var reject Reject
			slot.event, body, reject = p.foldSingly(batch, slotOf, slot)
			out.rejects = append(out.rejects, reject)
		}
		// Nothing is to be deleted where nothing exists.
		if slot.event >= 0 && (body != nil || slot.stored != nil) {
			out.events = append(out.events, uint32(slot.event))
			out.ids.push([]byte(slot.key))
			out.documents.push(body)
		}
	}
	sort.Slice(out.rejects, func(i, j int) bool { return out.rejects[i].Event < out.rejects[j].Event })
	return out
}

// foldSingly folds the events of one key until one is rejected, or makes what cannot be stored. It
// gives the event before it that last shaped the document, what that made of it, and the reject.
func (p *Projection[V, D]) foldSingly(
	batch *batch, slotOf []*slot[D], slot *slot[D],
) (int, []byte, Reject) {
	event, body := -1, slot.stored
	for index, other := range slotOf {
		if other != slot {
			continue
		}
		// From the text each time: an earlier fold may hold on to parts of it.
		document, err := p.stored(body)
		if err == nil {
			document, err = p.fold(document, slot.key, batch, index)
		}
		if errors.Is(err, ErrIgnore) {
			continue
		}
		var next []byte
		if err == nil && document != nil {
			next, err = json.Marshal(document)
		}
		if err != nil {
			return event, body, Reject{uint32(index), err.Error()}
		}
		event, body = index, next
	}
	panic("the events of " + slot.key + " fold one way together and another way one by one")
}

// fold turns a panic into an error.
func (p *Projection[V, D]) fold(
	document *D, key string, batch *batch, index int,
) (folded *D, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	event := Event[V]{Key: key, batch: batch, index: index}
	value := batch.values.item(index)
	event.IsTombstone = value == nil
	if value != nil {
		if err := decode(&p.values, value, &event.Value); err != nil {
			return nil, unread(err)
		}
	}
	return p.Fold(document, &event)
}

// stored reads a document; where none is stored, it is nil.
func (p *Projection[V, D]) stored(body []byte) (*D, error) {
	if body == nil {
		return nil, nil
	}
	document := new(D)
	if err := decode(&p.documents, body, document); err != nil {
		return nil, fmt.Errorf("the stored document is not what this projection reads: %w; "+
			"a new shape of document needs a new version of the view", err)
	}
	return document, nil
}

func unread(err error) error {
	return fmt.Errorf("the value is not what this projection reads: %w", err)
}
