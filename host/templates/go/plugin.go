// One document for each account: how many payments it made, and their sum.
package main

import (
	"errors"

	"{{name}}/projectionist"
)

// Payment is an event: the value of a record, whose key is the account.
type Payment struct {
	Cents *int64 `json:"cents"`
}

// Account is a document. Its id is the account.
type Account struct {
	Payments uint64 `json:"payments"`
	Cents    int64  `json:"cents"`
}

var accounts = projectionist.Projection[Payment, Account]{
	Name:        "{{name}}",
	Version:     "0.1.0",
	Description: "How many payments each account made, and their sum.",
	View:        "{{name}}",
	Fold:        fold,
}

// fold changes an account, nil where none exists, by one event.
func fold(account *Account, event *projectionist.Event[Payment]) (*Account, error) {
	if event.IsTombstone {
		return nil, nil // A tombstone closes the account.
	}
	if event.Value.Cents == nil {
		return nil, errors.New(`"cents" is missing`)
	}
	if account == nil {
		account = &Account{}
	}
	account.Payments++
	account.Cents += *event.Value.Cents
	return account, nil
}

func init() {
	projectionist.Export(&accounts)
}

// A plugin is called function by function; the compiler asks for a main all the same.
func main() {}
