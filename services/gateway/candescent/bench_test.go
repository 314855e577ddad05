package candescent

import (
	"testing"

	"github.com/usherhq/usher/services/gateway/sample"
)

func BenchmarkDecode(b *testing.B) {
	inJSON, inXML := []byte(sample.Read(b, inJSON)), []byte(sample.Read(b, inXML))
	b.Run("candescent JSON", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := DecodeJSON(inJSON); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("candescent XML", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := DecodeXML(inXML); err != nil {
				b.Fatal(err)
			}
		}
	})
}
