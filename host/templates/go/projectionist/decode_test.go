package projectionist

import (
	"encoding/json"
	"reflect"
	"testing"
)

type sample struct {
	Int      int64   `json:"int"`
	Small    int32   `json:"small"`
	Unsigned *uint64 `json:"unsigned"`
	Float    float64 `json:"float"`
	Text     string  `json:"text"`
	Optional *string `json:"optional"`
	Flag     bool
	List     []int `json:"list"`
	hidden   int
}

// What json.Unmarshal makes of a text is what the decoder must make of it.
func TestTheDecoderIsJsonUnmarshalButFaster(t *testing.T) {
	cases := []string{
		`{}`, ` { } `, `{"int":1}`, `{"int":-7,"int":8}`, `{"INT":3}`, `{"ınt":3}`, `{"int":1.0}`,
		`{"int":1e3}`, `{"int":null}`, `{"int":"1"}`, `{"int":01}`, `{"int":9223372036854775807}`,
		`{"int":9223372036854775808}`, `{"int":-9223372036854775808}`, `{"small":2147483648}`,
		`{"small":-2147483648}`, `{"unsigned":-1}`, `{"unsigned":5}`, `{"unsigned":null}`,
		`{"float":1.5e-3}`, `{"float":1e999}`, `{"float":"1"}`, `{"float":-0}`, `{"float":true}`,
		`{"text":"a\u00e4"}`, `{"text":"ä€😀"}`, "{\"text\":\"\xff\"}", "{\"other\":\"\xff\"}",
		`{"text":1}`, `{"optional":"x"}`, `{"optional":null}`, `{"optional":"x","optional":null}`,
		`{"Flag":true}`, `{"flag":false}`, `{"Flag":1}`, `{"list":[1,2]}`, `{"list":["a"]}`,
		`{"other":{"a":[1,{"b":null}],"c":"\n"},"int":4}`, `{"other":[1,]}`, `{"other":tru}`,
		`{"int":1,}`, `{"int":1`, `{"int":1}}`, `{"int"}`, `{int:1}`, `[]`, `null`, `1`, ``, `"a"`,
		"{\"other\":\"\n\"}", `{"other":-}`, `{"other":1.}`, `{"other":1e}`, `{"hidden":1}`,
		`{"other":NaN}`, ` {"int" : 1 , "text" : "b" } `,
	}
	decoder := newDecoder(reflect.TypeFor[sample]())
	for _, text := range cases {
		var wanted, found sample
		wantedErr := json.Unmarshal([]byte(text), &wanted)
		foundErr := decode(&decoder, []byte(text), &found)
		if (wantedErr == nil) != (foundErr == nil) {
			t.Errorf("%q: %v instead of %v", text, foundErr, wantedErr)
		}
		if wantedErr == nil && !reflect.DeepEqual(wanted, found) {
			t.Errorf("%q: %+v instead of %+v", text, found, wanted)
		}
	}
}

// A number that a float64 would round is kept as its text where no type is declared.
func TestNoNumberIsRoundedWithoutBeingAskedFor(t *testing.T) {
	cases := []struct {
		text  string
		exact bool
	}{
		{`1`, true}, {`0.1`, true}, {`-1.5e3`, true}, {`0.30000000000000004`, true}, {`1e20`, true},
		{`9007199254740993`, false}, {`18446744073709551617`, false}, {`9007199254740993.5`, false},
		{`1e400`, false}, {`0.10000000000000001`, false},
	}
	for _, known := range cases {
		var found map[string]any
		text := `{"text":"9007199254740993.5 \" 1e400","n":[` + known.text + `]}`
		decoder := newDecoder(reflect.TypeFor[map[string]any]())
		if err := decode(&decoder, []byte(text), &found); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		number := found["n"].([]any)[0]
		if _, isFloat := number.(float64); isFloat != known.exact {
			t.Errorf("%s became %T", known.text, number)
		}
		if written, _ := json.Marshal(number); !known.exact && string(written) != known.text {
			t.Errorf("%s became %s", known.text, written)
		}
	}
}

// Of a name that comes twice, the last value counts, and nothing of the one before is left.
func TestTheLastOfANameCounts(t *testing.T) {
	type inner struct{ X, Y int }
	type outer struct {
		Inner inner          `json:"inner"`
		Map   map[string]int `json:"map"`
	}
	decoder := newDecoder(reflect.TypeFor[outer]())
	var found outer
	text := `{"inner":{"X":1},"map":{"a":1},"inner":{"Y":2},"map":{"b":2}}`
	if err := decode(&decoder, []byte(text), &found); err != nil {
		t.Fatal(err)
	}
	wanted := outer{inner{Y: 2}, map[string]int{"b": 2}}
	if !reflect.DeepEqual(wanted, found) {
		t.Errorf("%+v instead of %+v", found, wanted)
	}
}
