package main

import (
	"fmt"
	"testing"

	"probe/projectionist"
)

func TestAnErrorThatWrapsErrIgnoreIgnores(t *testing.T) {
	wraps := *projection
	wraps.Fold = func(document *Document, event *projectionist.Event[Value]) (*Document, error) {
		return nil, fmt.Errorf("nothing to see: %w", projectionist.ErrIgnore)
	}
	documents, rejected := projectionist.FoldAll(&wraps, []projectionist.Record{
		{Key: "a", Value: `{"lines":1}`},
	})
	if len(documents) != 0 || len(rejected) != 0 {
		t.Fatalf("%v, %v", documents, rejected)
	}
}
