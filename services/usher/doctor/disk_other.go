//go:build !(linux || darwin || freebsd)

package doctor

// freeOf is not known here.
func freeOf(string) (part float64, known bool) { return 0, false }
