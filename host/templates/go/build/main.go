// Makes {{file}}.wasm: `go run ./build`.
//
// What Go makes is complete but for one thing: a section that says which contract it keeps to.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
)

const (
	module   = "{{file}}.wasm"
	contract = "wit/projection-plugin.bin"
)

func main() {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(module)
}

func build() error {
	command := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", module, ".")
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	content, err := os.ReadFile(contract)
	if err != nil {
		return err
	}
	const name = "component-type"
	section := append([]byte{byte(len(name))}, name...)
	section = append(section, content...)
	file, err := os.OpenFile(module, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	// A custom section: its number, its length, its content.
	head := binary.AppendUvarint([]byte{0}, uint64(len(section)))
	if _, err := file.Write(append(head, section...)); err != nil {
		return err
	}
	return file.Close()
}
