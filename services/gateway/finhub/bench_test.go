package finhub

import (
	"encoding/json"
	"testing"

	"github.com/usherhq/usher/services/gateway/sample"
)

func BenchmarkDecode(b *testing.B) {
	body := []byte(sample.Read(b, "nested.request.json"))
	b.Run("finhub", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Decode(body, Settings{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("generic JSON", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v any
			if err := json.Unmarshal(body, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
