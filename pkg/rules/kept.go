package rules

import (
	"slices"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

// Kept are the values of facts, by name, that may be kept for good: of those that could tell who
// somebody is there are none. It can be stored as JSON.
type Kept map[string]any

// Kept returns the values to keep, but those of the facts left out: their value is not derived.
// Text that is no country code where one belongs is not kept as it is.
func (v Values) Kept(without ...string) Kept {
	k := Kept{}
	for _, known := range facts {
		if known.shown != never && !slices.Contains(without, known.name) {
			k[known.name] = known.kept(v[known.name])
		}
	}
	return k
}

func (f fact) kept(value any) any {
	switch value := value.(type) {
	case string:
		return f.text(value)
	case []string:
		list := make([]string, len(value))
		for i, one := range value {
			list[i] = f.text(one)
		}
		return list
	case *types.Optional:
		if !value.HasValue() {
			return nil
		}
		return value.GetValue().Value()
	}
	return value
}

// Tells reports whether all facts of these names are kept.
func (k Kept) Tells(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		_, told := k[name]
		return !told
	})
}

// Values are the facts again, also after they were stored as JSON. Those that are not kept are
// missing: ask Tells before a condition is evaluated.
func (k Kept) Values() Values {
	v := make(Values, len(k))
	for _, known := range facts {
		if value, told := k[known.name]; told {
			v[known.name] = known.again(value)
		}
	}
	return v
}

// again is the inverse of kept, of the value or of what JSON makes of it.
func (f fact) again(value any) any {
	switch value := value.(type) {
	case []any:
		list := make([]string, len(value))
		for i, one := range value {
			list[i], _ = one.(string)
		}
		return list
	case float64:
		return f.number(int64(value))
	case int64:
		return f.number(value)
	case nil:
		if f.kind.Kind() == cel.ListKind {
			return []string{}
		}
		return types.OptionalNone
	}
	return value
}

func (f fact) number(n int64) any {
	if f.kind.Kind() == cel.IntKind {
		return n
	}
	return types.OptionalOf(types.Int(n))
}
