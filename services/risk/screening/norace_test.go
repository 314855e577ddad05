//go:build !race

package screening

// sampled is the part of the names that the evaluation looks at: one of so many.
const sampled = 1
