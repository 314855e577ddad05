package usher

import (
	"os"
	"strconv"
	"testing"
)

// scale multiplies how much a test does by SCALE: of customers and rows, of kills and faults.
func scale(t *testing.T, n int) int {
	t.Helper()
	text := os.Getenv("SCALE")
	if text == "" {
		return n
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f <= 0 {
		t.Fatal("SCALE is not a positive number")
	}
	return max(int(float64(n)*f), 1)
}
