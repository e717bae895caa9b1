package projectionist

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// decoder reads JSON objects into a struct of plain fields, as json.Unmarshal does and several times
// as fast. Whatever is not that plain, it leaves to json.Unmarshal.
type decoder struct {
	// nil where the type is for json.Unmarshal alone.
	fields []field
}

type field struct {
	name    string
	offset  uintptr
	kind    reflect.Kind
	element reflect.Type // of a pointer
	whole   reflect.Type
}

// Deeper values are left to json.Unmarshal, which has a limit of its own.
const depthMax = 100

func newDecoder(of reflect.Type) decoder {
	if of.Kind() != reflect.Struct || reflect.PointerTo(of).Implements(unmarshaler) {
		return decoder{}
	}
	var fields []field
	for index := range of.NumField() {
		described := of.Field(index)
		name, options, _ := strings.Cut(described.Tag.Get("json"), ",")
		if name == "" {
			name = described.Name
		}
		if described.Anonymous || strings.Contains(options, "string") || !isASCII(name) {
			return decoder{}
		}
		if !described.IsExported() || described.Tag.Get("json") == "-" {
			continue
		}
		found := field{name: name, offset: described.Offset, whole: described.Type}
		found.kind = plainKind(described.Type)
		if described.Type.Kind() == reflect.Pointer {
			found.element = described.Type.Elem()
			found.kind = plainKind(found.element)
		}
		fields = append(fields, found)
	}
	return decoder{fields}
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// plainKind is Invalid where a value is for json.Unmarshal.
func plainKind(of reflect.Type) reflect.Kind {
	switch kind := of.Kind(); kind {
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64, reflect.Float64,
		reflect.Int32, reflect.Uint32, reflect.String:
		if of.PkgPath() == "" {
			return kind
		}
	}
	return reflect.Invalid
}

func isASCII(text string) bool {
	for index := range len(text) {
		if text[index] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// decode reads data into the value at target, which must be new: a failure on the way leaves it
// half read.
func decode[T any](decoder *decoder, data []byte, target *T) error {
	if decoder.fields != nil && decoder.object(data, unsafe.Pointer(target)) {
		return nil
	}
	*target = *new(T)
	return unmarshal(data, target)
}

// unmarshal is json.Unmarshal, but that a number that a float64 would round is a json.Number where
// no type is declared for it.
func unmarshal(data []byte, target any) error {
	if !hasInexact(data) {
		return json.Unmarshal(data, target)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(target); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("there is more behind the value")
	}
	return nil
}

// hasInexact tells whether a number in the text is not the same in a float64.
func hasInexact(data []byte) bool {
	for at := 0; at < len(data); {
		switch char := data[at]; {
		case char == '"':
			for at++; at < len(data) && data[at] != '"'; at++ {
				if data[at] == '\\' {
					at++
				}
			}
			at++
		case isNumber(char):
			start := at
			for at++; at < len(data) && isInNumber(data[at]); at++ {
			}
			if text := string(data[start:at]); len(text) > 15 || strings.ContainsAny(text, "eE") {
				number, err := strconv.ParseFloat(text, 64)
				if err != nil || normal(text) != normal(strconv.FormatFloat(number, 'e', -1, 64)) {
					return true
				}
			}
		default:
			at++
		}
	}
	return false
}

func isInNumber(char byte) bool {
	return char >= '0' && char <= '9' || strings.IndexByte("+-.eE", char) >= 0
}

// normal gives one text for all spellings of a number.
func normal(text string) string {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	mantissa, power, _ := strings.Cut(strings.ToLower(text), "e")
	exponent, _ := strconv.Atoi(power)
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "0"
	}
	exponent += len(digits) - len(short) - len(fraction)
	return sign + short + "e" + strconv.Itoa(exponent)
}

func (d *decoder) object(data []byte, target unsafe.Pointer) bool {
	at := skipSpace(data, 0)
	if at == len(data) || data[at] != '{' {
		return false
	}
	at = skipSpace(data, at+1)
	if at < len(data) && data[at] == '}' {
		return skipSpace(data, at+1) == len(data)
	}
	for {
		end := skipString(data, at)
		if end < 0 {
			return false
		}
		name := data[at+1 : end-1]
		at = skipSpace(data, end)
		if at == len(data) || data[at] != ':' {
			return false
		}
		at = skipSpace(data, at+1)
		end = skipValue(data, at, 0)
		if end < 0 || !d.set(name, data[at:end], target) {
			return false
		}
		at = skipSpace(data, end)
		if at == len(data) {
			return false
		}
		if data[at] == '}' {
			return skipSpace(data, at+1) == len(data)
		}
		if data[at] != ',' {
			return false
		}
		at = skipSpace(data, at+1)
	}
}

// set reads a value into its field; one that no field is named after is passed over.
func (d *decoder) set(name, value []byte, target unsafe.Pointer) bool {
	for index := range d.fields {
		field := &d.fields[index]
		if len(field.name) != len(name) {
			continue
		}
		if field.name == string(name) {
			return field.read(value, unsafe.Add(target, field.offset))
		}
		// json.Unmarshal takes upper and lower case for the same.
		if strings.EqualFold(field.name, string(name)) {
			return false
		}
	}
	return true
}

func (f *field) read(value []byte, target unsafe.Pointer) bool {
	if f.kind == reflect.Invalid {
		field := reflect.NewAt(f.whole, target)
		// Of a name that comes twice, the last value counts, and not both together.
		field.Elem().SetZero()
		return unmarshal(value, field.Interface()) == nil
	}
	if value[0] == 'n' {
		if f.element != nil {
			*(*unsafe.Pointer)(target) = nil
		}
		return true
	}
	if f.element != nil {
		element := reflect.New(f.element).UnsafePointer()
		*(*unsafe.Pointer)(target) = element
		target = element
	}
	text := unsafe.String(unsafe.SliceData(value), len(value))
	switch f.kind {
	case reflect.Bool:
		*(*bool)(target) = text == "true"
		return text == "true" || text == "false"
	case reflect.String:
		if value[0] != '"' || !utf8.Valid(value) || strings.IndexByte(text, '\\') >= 0 {
			return false
		}
		*(*string)(target) = string(value[1 : len(value)-1])
		return true
	case reflect.Float64:
		number, err := strconv.ParseFloat(text, 64)
		*(*float64)(target) = number
		return err == nil && isNumber(value[0])
	}
	number, ok := smallInt(value)
	if !ok {
		return false
	}
	switch f.kind {
	case reflect.Int, reflect.Int64:
		*(*int64)(target) = number
	case reflect.Int32:
		*(*int32)(target) = int32(number)
		return int64(int32(number)) == number
	case reflect.Uint, reflect.Uint64:
		*(*uint64)(target) = uint64(number)
		return number >= 0
	case reflect.Uint32:
		*(*uint32)(target) = uint32(number)
		return int64(uint32(number)) == number
	}
	return true
}

func isNumber(first byte) bool { return first == '-' || first >= '0' && first <= '9' }

// smallInt reads a whole number of at most 18 digits.
func smallInt(value []byte) (int64, bool) {
	digits := value
	if digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) > 18 {
		return 0, false
	}
	number := int64(0)
	for _, digit := range digits {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		number = number*10 + int64(digit-'0')
	}
	if value[0] == '-' {
		number = -number
	}
	return number, true
}

// Each skip gives where the item ends; -1 where there is none, or none that is plain.

func skipSpace(data []byte, at int) int {
	for at < len(data) && (data[at] == ' ' || data[at] == '\n' || data[at] == '\r' || data[at] == '\t') {
		at++
	}
	return at
}

func skipString(data []byte, at int) int {
	if at >= len(data) || data[at] != '"' {
		return -1
	}
	for at++; at < len(data); at++ {
		switch char := data[at]; {
		case char == '"':
			return at + 1
		case char < ' ' || char == '\\':
			return -1
		}
	}
	return -1
}

func skipValue(data []byte, at, depth int) int {
	if at >= len(data) || depth > depthMax {
		return -1
	}
	switch data[at] {
	case '"':
		return skipString(data, at)
	case '{', '[':
		return skipMany(data, at, depth)
	case 't':
		return skipWord(data, at, "true")
	case 'f':
		return skipWord(data, at, "false")
	case 'n':
		return skipWord(data, at, "null")
	}
	return skipNumber(data, at)
}

func skipWord(data []byte, at int, word string) int {
	if len(data)-at >= len(word) && string(data[at:at+len(word)]) == word {
		return at + len(word)
	}
	return -1
}

func skipMany(data []byte, at, depth int) int {
	isObject := data[at] == '{'
	end := byte(']')
	if isObject {
		end = '}'
	}
	at = skipSpace(data, at+1)
	if at < len(data) && data[at] == end {
		return at + 1
	}
	for {
		if isObject {
			at = skipString(data, at)
			if at < 0 {
				return -1
			}
			at = skipSpace(data, at)
			if at == len(data) || data[at] != ':' {
				return -1
			}
			at = skipSpace(data, at+1)
		}
		at = skipValue(data, at, depth+1)
		if at < 0 {
			return -1
		}
		at = skipSpace(data, at)
		if at == len(data) {
			return -1
		}
		if data[at] == end {
			return at + 1
		}
		if data[at] != ',' {
			return -1
		}
		at = skipSpace(data, at+1)
	}
}

func skipNumber(data []byte, at int) int {
	digits := func() bool {
		start := at
		for at < len(data) && data[at] >= '0' && data[at] <= '9' {
			at++
		}
		return at > start
	}
	if data[at] == '-' {
		at++
	}
	if at < len(data) && data[at] == '0' {
		at++
	} else if !digits() {
		return -1
	}
	if at < len(data) && data[at] == '.' {
		at++
		if !digits() {
			return -1
		}
	}
	if at < len(data) && data[at]|' ' == 'e' {
		at++
		if at < len(data) && (data[at] == '+' || data[at] == '-') {
			at++
		}
		if !digits() {
			return -1
		}
	}
	return at
}
