package xmlbody

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/usherhq/usher/services/gateway/jsonbody"
)

type target struct {
	Text  string   `json:"text"`
	Flag  bool     `json:"flag"`
	Inner *inner   `json:"inner"`
	Items []inner  `json:"item"`
	Words []string `json:"word"`
}

type inner struct {
	Text string `json:"text"`
}

func TestADocumentFillsItsTarget(t *testing.T) {
	var got target
	err := Decode([]byte(`<r><word>a</word><item/><flag> 1 </flag><item><text>b</text></item><word/><inner><text>&#x63;<![CDATA[&]]></text></inner><text>d</text></r>`), "r", &got)
	want := target{Text: "d", Flag: true, Inner: &inner{"c&"}, Items: []inner{{}, {"b"}}, Words: []string{"a", ""}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := Decode([]byte(`<r><inner/></r>`), "r", &got); err != nil || got.Inner == nil {
		t.Errorf("an empty element: %v", err)
	}
}

func TestLevelsItemsAndBytesAreReadUpToTheirLimits(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("<r>", n) + strings.Repeat("</r>", n) }
	items := func(n int) string { return "<r>" + strings.Repeat("<item/>", n) + "</r>" }
	padded := func(n int) string { return "<r>" + strings.Repeat(" ", n-7) + "</r>" }
	for name, c := range map[string]struct {
		body string
		ok   bool
	}{
		"32 levels": {nested(jsonbody.MaxDepth), true}, "33 levels": {nested(jsonbody.MaxDepth + 1), false},
		"1,000 items": {items(jsonbody.MaxItems), true}, "1,001 items": {items(jsonbody.MaxItems + 1), false},
		"256 KiB": {padded(jsonbody.MaxBytes), true}, "a byte more": {padded(jsonbody.MaxBytes + 1), false},
	} {
		var into target
		err := Decode([]byte(c.body), "r", &into)
		var p *jsonbody.Problem
		if c.ok && err != nil || !c.ok && !errors.As(err, &p) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsWrongBeforeTheLimitComesFirst(t *testing.T) {
	for name, c := range map[string]struct {
		body     string
		tooLarge bool
	}{
		"100,000 levels":        {strings.Repeat("<r>", 100_000), false},
		"a document type":       {"<!DOCTYPE r>" + strings.Repeat(" ", jsonbody.MaxBytes), false},
		"another root":          {"<s>" + strings.Repeat(" ", jsonbody.MaxBytes), false},
		"bytes of another code": {"<r><text>\xe9</text>" + strings.Repeat(" ", jsonbody.MaxBytes), false},
		"a long text":           {"<r><text>" + strings.Repeat("é", jsonbody.MaxBytes), true},
		"a long comment":        {"<r><!--" + strings.Repeat("é", jsonbody.MaxBytes), true},
		"a long end":            {"<r/>" + strings.Repeat("\n", jsonbody.MaxBytes), true},
		"a long beginning":      {strings.Repeat("\n", jsonbody.MaxBytes+1), true},
		"wrong after the limit": {"<r>" + strings.Repeat(" ", jsonbody.MaxBytes) + "<!DOCTYPE r>", true},
	} {
		var into target
		var p *jsonbody.Problem
		if err := Decode([]byte(c.body), "r", &into); !errors.As(err, &p) || p.TooLarge != c.tooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAHostileDocumentTakesLittleMemory(t *testing.T) {
	fill := func(start, part, end string) []byte {
		return []byte(start + strings.Repeat(part, (jsonbody.MaxBytes-len(start)-len(end))/len(part)) + end)
	}
	var attributes strings.Builder
	for i := 0; attributes.Len() < jsonbody.MaxBytes-100; i++ {
		fmt.Fprintf(&attributes, " xmlns:a%d='b'", i)
	}
	for name, body := range map[string][]byte{
		"nested elements":    fill("", "<r>", ""),
		"unknown siblings":   fill("<r>", "<u/>", "</r>"),
		"repeated attribute": fill("<r", " a=''", "/>"),
		"namespaces":         []byte("<r" + attributes.String() + "/>"),
		"comments":           fill("<r>", "<!---->", "</r>"),
		"references":         fill("<r><text>", "&lt;", "</text></r>"),
		"entities":           fill("<!DOCTYPE r [", `<!ENTITY a "b">`, "]><r/>"),
		"a long name":        fill("<", "r", "/>"),
		"one text":           fill("<r><text>", "x", ""),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var into target
		_ = Decode(body, "r", &into)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 200*jsonbody.MaxBytes {
			t.Errorf("%s: %d bytes allocated for %d", name, used, len(body))
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"<r/>", "<r><item><text>a</text></item></r>", "<r><!-- a --><u><v/></u></r>", "<?xml version='1.0'?><r xmlns='a'/>", "<!DOCTYPE r><r/>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var into target
		var p *jsonbody.Problem
		if err := Decode([]byte(body), "r", &into); err != nil && !errors.As(err, &p) {
			t.Errorf("error %T", err)
		}
	})
}
