package main

import (
	"strings"
	"testing"

	"{{name}}/projectionist"
)

func TestPaymentsAddUp(t *testing.T) {
	documents, rejects := projectionist.FoldAll(&accounts, []projectionist.Record{
		{Key: "a-1", Value: `{"cents": 250}`},
		{Key: "a-2", Value: `{"cents": 900}`},
		{Key: "a-1", Value: `{"cents": 900}`},
		{Key: "a-2"},
	})
	if len(rejects) != 0 {
		t.Fatal(rejects)
	}
	if len(documents) != 1 || *documents["a-1"] != (Account{Payments: 2, Cents: 1150}) {
		t.Fatal(documents)
	}
}

func TestAPaymentWithoutAnAmountIsRejected(t *testing.T) {
	documents, rejects := projectionist.FoldAll(&accounts, []projectionist.Record{
		{Key: "a-1", Value: `{"cents": 250}`},
		{Key: "a-1", Value: `{"shop": "bakery"}`},
	})
	if *documents["a-1"] != (Account{Payments: 1, Cents: 250}) {
		t.Fatal(documents)
	}
	if len(rejects) != 1 || !strings.Contains(rejects[0].Reason, `"cents" is missing`) {
		t.Fatal(rejects)
	}
}
