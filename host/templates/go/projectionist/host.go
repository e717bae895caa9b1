//go:build wasip1

package projectionist

import (
	"runtime"
	"unsafe"
)

// What the component model's canonical ABI makes of wit/plugin.wit: records and lists as they lie
// in a module's memory. Addresses have 32 bits there, and Go's own pointers 64.

type text struct{ start, length uint32 }

type list text

type columnABI struct{ bytes, ends, missing list }

type batchABI struct {
	topic                 text
	partition             uint32
	offsets, timestampsMs list
	keys, values          columnABI
	headers               list
}

type viewABI struct {
	name      text
	ownership uint8
}

type descriptorABI struct {
	name, version, description text
	encoding                   uint8
	views, headers             list
	configSchema               text
}

type rejectABI struct {
	event  uint32
	reason text
}

type outputABI struct {
	isErr               uint8
	events, views       list
	ids, documents      columnABI
	messages, rejectsAt list
}

type configuredABI struct {
	isErr uint8
	err   text
}

//go:wasmimport projectionist:plugin/documents@0.1.0 get-many
func hostGetMany(view, bytes, bytesLength, ends, endsLength, missing, missingLength uint32,
	answer unsafe.Pointer)

//go:wasmimport projectionist:plugin/host@0.1.0 log
func hostLog(level uint32, message unsafe.Pointer, length uint32)

// Log writes a line to the plugin's log, as "info".
func Log(message string) {
	hostLog(2, unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
	runtime.KeepAlive(message)
}

// The projection, once its type is known.
var (
	describePlugin  func() descriptorABI
	configurePlugin func([]byte) error
	projectBatch    func(*batch, func(*column) column) output
)

// Export makes a projection what the host calls. It belongs into an init function.
func Export[V, D any](projection *Projection[V, D]) {
	describePlugin = func() descriptorABI {
		views := []viewABI{{name: textOf(projection.View)}}
		headers := make([]text, len(projection.Headers))
		for index, name := range projection.Headers {
			headers[index] = textOf(name)
		}
		return descriptorABI{
			name:         textOf(projection.Name),
			version:      textOf(projection.Version),
			description:  textOf(projection.Description),
			views:        listOf(views),
			headers:      listOf(headers),
			configSchema: textOf(projection.ConfigSchema),
		}
	}
	configurePlugin = projection.configure
	projectBatch = projection.project
}

// lent is memory that the host knows the address of; it holds the collector off until the call is
// over.
var lent []any

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	// Eight bytes each, for nothing is aligned to more.
	words := make([]uint64, size/8+1)
	lent = append(lent, words)
	grown := unsafe.Pointer(unsafe.SliceData(words))
	copy(unsafe.Slice((*byte)(grown), size), unsafe.Slice((*byte)(old), min(oldSize, size)))
	return grown
}

//go:wasmexport projectionist:plugin/projection@0.1.0#describe
func describe() unsafe.Pointer {
	answer := describePlugin()
	lent = append(lent, &answer)
	return unsafe.Pointer(&answer)
}

//go:wasmexport cabi_post_projectionist:plugin/projection@0.1.0#describe
func describePost(unsafe.Pointer) { lent = nil }

//go:wasmexport projectionist:plugin/projection@0.1.0#configure
func configure(config unsafe.Pointer, length uint32) unsafe.Pointer {
	answer := &configuredABI{}
	lent = append(lent, answer)
	if err := configurePlugin(unsafe.Slice((*byte)(config), length)); err != nil {
		answer.isErr, answer.err = 1, textOf(err.Error())
	}
	return unsafe.Pointer(answer)
}

//go:wasmexport cabi_post_projectionist:plugin/projection@0.1.0#configure
func configurePost(unsafe.Pointer) { lent = nil }

//go:wasmexport projectionist:plugin/projection@0.1.0#project
func project(question unsafe.Pointer) unsafe.Pointer {
	asked := (*batchABI)(question)
	headers := sliceOf[columnABI](asked.headers)
	batch := batch{
		topic:        string(sliceOf[byte](list(asked.topic))),
		partition:    asked.partition,
		offsets:      sliceOf[uint64](asked.offsets),
		timestampsMs: sliceOf[int64](asked.timestampsMs),
		keys:         asked.keys.column(),
		values:       asked.values.column(),
		headers:      make([]column, len(headers)),
	}
	for index := range headers {
		batch.headers[index] = headers[index].column()
	}
	out := projectBatch(&batch, getMany)
	rejects := make([]rejectABI, len(out.rejects))
	for index, reject := range out.rejects {
		rejects[index] = rejectABI{reject.Event, textOf(reject.Reason)}
	}
	answer := &outputABI{
		events:    listOf(out.events),
		views:     listOf(make([]uint32, len(out.events))),
		ids:       columnOf(&out.ids),
		documents: columnOf(&out.documents),
		rejectsAt: listOf(rejects),
	}
	lent = append(lent, answer)
	return unsafe.Pointer(answer)
}

//go:wasmexport cabi_post_projectionist:plugin/projection@0.1.0#project
func projectPost(unsafe.Pointer) { lent = nil }

func getMany(ids *column) column {
	answer := &columnABI{}
	asked := columnOf(ids)
	hostGetMany(0, asked.bytes.start, asked.bytes.length, asked.ends.start, asked.ends.length,
		asked.missing.start, asked.missing.length, unsafe.Pointer(answer))
	return answer.column()
}

func textOf(s string) text {
	return text(listOf([]byte(s)))
}

// listOf lends a slice to the host.
func listOf[T any](items []T) list {
	lent = append(lent, items)
	return list{uint32(uintptr(unsafe.Pointer(unsafe.SliceData(items)))), uint32(len(items))}
}

// sliceOf is what the host has written into memory lent to it.
func sliceOf[T any](items list) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(uintptr(items.start))), items.length)
}

func (c *columnABI) column() column {
	return column{sliceOf[byte](c.bytes), sliceOf[uint32](c.ends), sliceOf[uint32](c.missing)}
}

func columnOf(c *column) columnABI {
	return columnABI{listOf(c.bytes), listOf(c.ends), listOf(c.missing)}
}
