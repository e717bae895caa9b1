// Prints as an event says, and allocates meanwhile: for the tests of the kit.
package main

import (
	"fmt"
	"os"

	"probe/projectionist"
)

type Value struct {
	Lines int `json:"lines"`
}

type Document struct {
	Lines int `json:"lines"`
	Bytes int `json:"bytes"`
}

var kept [][]byte

var projection = &projectionist.Projection[Value, Document]{
	Name:    "probe",
	Version: "0.1.0",
	View:    "probe",
	Fold:    fold,
}

func fold(document *Document, event *projectionist.Event[Value]) (*Document, error) {
	folded := &Document{Lines: event.Value.Lines}
	kept = nil
	for line := range folded.Lines {
		fmt.Println("line", line, "of", folded.Lines)
		// Memory in use around what is printed, of sizes that make the heap grow.
		block := make([]byte, 1<<(line%18))
		for at := range block {
			block[at] = byte(line)
		}
		kept = append(kept, block)
	}
	for line, block := range kept {
		for _, found := range block {
			if found != byte(line) {
				return nil, fmt.Errorf("block %d has become %d", line, found)
			}
		}
		folded.Bytes += len(block)
	}
	fmt.Fprintln(os.Stderr, "printed")
	fmt.Print("without an end")
	projectionist.Log("logged")
	return folded, nil
}

func init() { projectionist.Export(projection) }

func main() {}
