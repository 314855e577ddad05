package jsonbody

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Name string  `json:"name"`
	Rank int64   `json:"rank"`
	Rate float64 `json:"rate"`
}

type shared struct {
	Key string `json:"key"`
}

type document struct {
	shared
	Text  string                     `json:"text"`
	Flag  bool                       `json:"flag"`
	Inner inner                      `json:"inner"`
	Maybe *inner                     `json:"maybe"`
	List  []inner                    `json:"list"`
	Words []string                   `json:"words"`
	Free  map[string]json.RawMessage `json:"free"`
	Mine  string                     `json:"-"`
}

func TestAWellFormedBodyFillsItsTarget(t *testing.T) {
	body := ` {"key":"k","text":"a\"\\\/\b\f\n\r\té😀","flag":true,"inner":{"name":"n","rank":-12,"rate":1.5e2},
		"maybe":{"rank":9223372036854775807},"list":[{"name":"x"},{"name":"y"}],"words":[],"free":{"a":{"b":[1,null]},"c":"d"},"unknown":[{"deep":0.5}]}` + "\n"
	want := document{shared: shared{"k"}, Text: "a\"\\/\b\f\n\r\té😀", Flag: true, Inner: inner{"n", -12, 150}, Maybe: &inner{Rank: 9223372036854775807},
		List: []inner{{Name: "x"}, {Name: "y"}}, Words: []string{}, Free: map[string]json.RawMessage{"a": json.RawMessage(`{"b":[1,null]}`), "c": json.RawMessage(`"d"`)}}
	var got document
	if err := Decode([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(document{})); diff != "" {
		t.Error(diff)
	}
}

func TestNullLeavesTheTargetAsItIs(t *testing.T) {
	var got document
	if err := Decode([]byte(`{"text":null,"flag":null,"inner":null,"maybe":null,"list":null,"free":null}`), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(document{}, got, cmp.AllowUnexported(document{})); diff != "" {
		t.Error(diff)
	}
}

func TestWhatTwoReadersCouldUnderstandDifferentlyIsRefused(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }
	for name, c := range map[string]struct{ body, field, detail string }{
		"a name twice":                             {`{"text":"a","text":"b"}`, "text", "twice"},
		"a name twice, once escaped":               {`{"text":"a","te\u0078t":"b"}`, "text", "twice"},
		"a name twice where it is ignored":         {`{"other":{"a":1,"a":2}}`, "other.a", "twice"},
		"a name twice in free text":                {`{"free":{"x":{"a":1,"a":2}}}`, "free.x.a", "twice"},
		"a name twice among many":                  {`{"free":{` + members(40) + `,"m1":0}}`, "free.m1", "twice"},
		"a key of free text twice":                 {`{"free":{"x":1,"x":2}}`, "free.x", "twice"},
		"invalid UTF-8":                            {"{\"text\":\"\xff\"}", "", "valid UTF-8"},
		"a NUL as it is":                           {"{\"text\":\"\x00\"}", "text", "control characters"},
		"a NUL, escaped":                           {`{"list":[{"name":"a\u0000"}]}`, "list[0].name", "NUL"},
		"a NUL in a name":                          {`{"a\u0000":1}`, "", "NUL"},
		"a NUL where it is ignored":                {`{"other":["\u0000"]}`, "other[0]", "NUL"},
		"half a surrogate pair":                    {`{"text":"\ud800"}`, "text", "surrogate"},
		"a surrogate pair in the wrong order":      {`{"text":"\udc00\ud800"}`, "text", "surrogate"},
		"a line break in a string":                 {"{\"text\":\"a\nb\"}", "text", "control characters"},
		"a line break after an escape":             {"{\"text\":\"\\t\n\"}", "text", "control characters"},
		"text after the value":                     {`{} {}`, "", "goes on at byte 4"},
		"more than 32 levels":                      {`{"free":{"x":` + nested(31) + `}}`, "free.x" + strings.Repeat("[0]", 30), "deeper than 32"},
		"a number beyond float64":                  {`{"free":{"x":1e999}}`, "free.x", "number between"},
		"a whole number beyond 64 bits":            {`{"inner":{"rank":9223372036854775808}}`, "inner.rank", "64 bits"},
		"a fraction for a whole number":            {`{"inner":{"rank":1.5}}`, "inner.rank", "whole number"},
		"a number for text":                        {`{"text":5}`, "text", "must be a string"},
		"text for a number":                        {`{"inner":{"rate":"5"}}`, "inner.rate", "must be a number"},
		"text for a flag":                          {`{"flag":"true"}`, "flag", "must be true or false"},
		"a list for an object":                     {`{"inner":[]}`, "inner", "must be an object"},
		"an object for a list":                     {`{"words":{}}`, "words", "must be an array"},
		"a word of a list that is a number":        {`{"words":["a",2]}`, "words[1]", "must be a string"},
		"text for free content":                    {`{"free":"x"}`, "free", "must be an object"},
		"a list for the document":                  {`[]`, "", "the body must be an object"},
		"more than 1000 items":                     {`{"words":["a"` + strings.Repeat(`,"a"`, MaxItems) + `]}`, "words[1000]", "at most 1000"},
		"nothing":                                  {"", "", "empty"},
		"null":                                     {" null ", "", "not null"},
		"a body that ends within a name":           {`{"te`, "", "not complete"},
		"a body that ends within an object":        {`{"inner":{"name":"a"`, "inner.name", "not complete"},
		"a trailing comma":                         {`{"text":"a",}`, "", "member's name"},
		"a leading zero":                           {`{"inner":{"rank":01}}`, "inner.rank", `"," or "}"`},
		"a plus sign":                              {`{"inner":{"rank":+1}}`, "inner.rank", "a value"},
		"a point without digits":                   {`{"free":{"x":1.}}`, "free.x", "a digit"},
		"an exponent without digits":               {`{"free":{"x":1e}}`, "free.x", "a digit"},
		"a word that is not of JSON":               {`{"flag":tru}`, "flag", "true"},
		"NaN":                                      {`{"inner":{"rate":NaN}}`, "inner.rate", "a value"},
		"an escape that is not of JSON":            {`{"text":"\x41"}`, "text", "escape"},
		"an escape without four digits":            {`{"text":"\u00g0"}`, "text", "hexadecimal"},
		"a byte order mark":                        {"\ufeff{}", "", "expected a value"},
		"single quotes":                            {`{'text':'a'}`, "", "member's name"},
		"a comment":                                {`{/*c*/}`, "", "member's name"},
		"more than 256 KiB":                        {`{"text":"` + strings.Repeat("a", MaxBytes) + `"}`, "", "larger than 256 KiB"},
		"a problem after an item names that place": {`{"list":[{"name":"a"},{"rank":"b"}]}`, "list[1].rank", "whole number"},
	} {
		t.Run(name, func(t *testing.T) {
			var into document
			err := Decode([]byte(c.body), &into)
			var p *Problem
			if !errors.As(err, &p) {
				t.Fatalf("got %v, want a problem", err)
			}
			if p.Field != c.field || !strings.Contains(p.Detail, c.detail) {
				t.Errorf("got %q %q, want %q and %q", p.Field, p.Detail, c.field, c.detail)
			}
			if p.TooLarge != (len(c.body) > MaxBytes) {
				t.Error("TooLarge is for bodies above the limit alone")
			}
		})
	}
}

func members(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = `"m` + strings.Repeat("1", i+1) + `":0`
	}
	return strings.Join(parts, ",")
}

func TestExactly32LevelsAnd256KiBAreRead(t *testing.T) {
	for name, body := range map[string]string{
		"32 levels": `{"free":{"x":` + strings.Repeat(`[`, 30) + strings.Repeat(`]`, 30) + `}}`,
		"256 KiB":   `{"text":"` + strings.Repeat("a", MaxBytes-len(`{"text":""}`)) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := Decode([]byte(body), &document{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnknownMembersAreRefusedOnRequestOnly(t *testing.T) {
	for name, c := range map[string]struct{ body, field string }{
		"at the top":                {`{"other":1}`, "other"},
		"in an item":                {`{"list":[{"other":1}]}`, "list[0].other"},
		"a name in other case":      {`{"Text":"a"}`, "Text"},
		"a field kept to ourselves": {`{"-":"a"}`, "-"},
		"a Go name":                 {`{"Mine":"a"}`, "Mine"},
		"a very long name, cut":     {`{"` + strings.Repeat("é", 100) + `":1}`, strings.Repeat("é", 32) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			var into document
			if err := Decode([]byte(c.body), &into); err != nil || into.Text+into.Mine != "" {
				t.Errorf("without the option: %v, text %q", err, into.Text)
			}
			var p *Problem
			if err := Decode([]byte(c.body), &into, RefuseUnknown()); !errors.As(err, &p) || p.Field != c.field {
				t.Errorf("with the option: %v", err)
			}
		})
	}
	if err := Decode([]byte(`{"free":{"anything":{"goes":1}},"key":"k"}`), &document{}, RefuseUnknown()); err != nil {
		t.Errorf("free content: %v", err)
	}
}

func TestWhatXMLCannotHoldIsRefusedOnRequestOnly(t *testing.T) {
	for body, refused := range map[string]bool{
		`{"name":"a\u0001"}`: true, `{"name":"\u001f"}`: true, `{"name":"\ufffe"}`: true, "{\"name\":\"\uffff\"}": true,
		`{"name":"a\tb\n\r\u007f\u2028"}`: false, `{"other":"\u0001"}`: false,
	} {
		var into struct {
			Name string `json:"name"`
		}
		if err := Decode([]byte(body), &into, OnlyXML()); (err != nil) != refused {
			t.Errorf("%s: %v", body, err)
		}
		if err := Decode([]byte(body), &into); err != nil {
			t.Errorf("%s without the option: %v", body, err)
		}
	}
}

func TestAProblemNeverQuotesAValue(t *testing.T) {
	for _, body := range []string{`{"inner":"s3cret"}`, `{"text":"s3cret","text":"s3cret"}`, `{"text":"s3cret`, `{"flag":s3cret}`, `{"text":"s3cret\u0000"}`} {
		if err := Decode([]byte(body), &document{}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"text":"a"}`, `{"list":[{"rank":1}],"free":{"a":[1e5,"\ud83d\ude00"]}}`, `{"words":["\u0000"]}`, `[[[`, `{"a":{"a":{"a":-0.1E+2}}}`} {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, refuse bool) {
		var options []Option
		if refuse {
			options = append(options, RefuseUnknown())
		}
		var got, want document
		err := Decode(body, &got, options...)
		if err == nil {
			if !json.Valid(body) {
				t.Error("accepted what is no JSON")
			}
			// What is accepted means the same to the standard decoder, names in other case apart.
			if json.Unmarshal(body, &want) == nil && refuse && got.Text != want.Text {
				t.Errorf("read %q, the standard decoder %q", got.Text, want.Text)
			}
			return
		}
		var p *Problem
		if !errors.As(err, &p) || p.Detail == "" {
			t.Errorf("error %T, want a problem with a detail", err)
		}
	})
}
