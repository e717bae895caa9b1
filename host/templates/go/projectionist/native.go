//go:build !wasip1

package projectionist

import "fmt"

// Export does nothing in an ordinary program, such as a test.
func Export[V, D any](*Projection[V, D]) {}

// Log prints a line.
func Log(message string) { fmt.Println(message) }
