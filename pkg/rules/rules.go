// Package rules is the language of a tenant's policy: conditions in CEL (https://cel.dev) on the
// facts of a registration. A condition is checked when it is loaded: it can then neither name a
// fact that there is not, nor compare what cannot be compared, nor cost more than a bound.
package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
)

const (
	longestExpression = 4096 // bytes
	// highestCost is what a condition may cost at its worst, in CEL's units: about a comparison
	// each. The longest facts count.
	highestCost = 2000
)

// Condition is a checked expression. Its zero value is none. Safe for concurrent use.
type Condition struct {
	text    string
	program cel.Program
	facts   []string
}

// String is the expression.
func (c Condition) String() string { return c.text }

// IsZero reports that there is no expression.
func (c Condition) IsZero() bool { return c.program == nil }

// Facts are the names that the expression uses.
func (c Condition) Facts() []string { return c.facts }

// language is what all expressions are checked in.
var language = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{cel.OptionalTypes(), cel.ParserExpressionSizeLimit(longestExpression), cel.ParserRecursionLimit(64)}
	for _, f := range facts {
		options = append(options, cel.Variable(f.name, f.kind))
	}
	return cel.NewEnv(options...)
})

// Compile checks an expression. Its error says where and why, and how to mend it.
func Compile(text string) (Condition, error) {
	env, err := language()
	if err != nil {
		return Condition{}, fmt.Errorf("set up CEL: %w", err)
	}
	if strings.TrimSpace(text) == "" || len(text) > longestExpression {
		return Condition{}, fmt.Errorf("is not an expression of 1 to %d bytes; write e.g. nationality in ['KP']", longestExpression)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return Condition{}, explain(issues)
	}
	if ast.OutputType() != cel.BoolType {
		return Condition{}, fmt.Errorf("is %s, neither true nor false; compare it with something", ast.OutputType())
	}
	cost, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return Condition{}, fmt.Errorf("has a cost that cannot be told: %w; write it simpler", err)
	}
	if cost.Max > highestCost {
		return Condition{}, fmt.Errorf("may cost %d, over %d; write it simpler, or as several rules", cost.Max, highestCost)
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(highestCost))
	if err != nil {
		return Condition{}, fmt.Errorf("cannot be run: %w; mend the expression", err)
	}
	return Condition{text: text, program: program, facts: used(ast)}, nil
}

// explain tells the first problem of an expression and where it is.
func explain(issues *cel.Issues) error {
	e := issues.Errors()[0]
	what, _, _ := strings.Cut(strings.Join(strings.Fields(e.Message), " "), " (in container")
	mend := "mend the expression"
	if strings.HasPrefix(what, "undeclared reference") {
		mend = "the facts are " + strings.Join(Names(), ", ")
	}
	return fmt.Errorf("does not check at its line %d, character %d: %s; %s", e.Location.Line(), e.Location.Column()+1, what, mend)
}

func used(ast *cel.Ast) []string {
	var names []string
	for _, reference := range ast.NativeRep().ReferenceMap() {
		if slices.Contains(Names(), reference.Name) && !slices.Contains(names, reference.Name) {
			names = append(names, reference.Name)
		}
	}
	slices.Sort(names)
	return names
}

// sizes tells how large facts can be.
type sizes struct{}

// EstimateSize implements checker.CostEstimator.
func (sizes) EstimateSize(element checker.AstNode) *checker.SizeEstimate {
	path := element.Path()
	i := -1
	if len(path) > 0 {
		i = slices.IndexFunc(facts, func(f fact) bool { return f.name == path[0] })
	}
	switch {
	case i < 0:
		return nil
	case facts[i].kind.Kind() == cel.ListKind && len(path) == 1:
		return &checker.SizeEstimate{Max: longestList}
	}
	return &checker.SizeEstimate{Max: longestText}
}

// EstimateCallCost implements checker.CostEstimator: all functions are CEL's own.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// UnmarshalText is Compile.
func (c *Condition) UnmarshalText(text []byte) error {
	compiled, err := Compile(string(text))
	if err != nil {
		return err
	}
	*c = compiled
	return nil
}

// Holds evaluates the condition. Its error says that an expression which uses dyn went wrong,
// or divided by zero, say; it repeats no value.
func (c Condition) Holds(v Values) (bool, error) {
	if c.IsZero() {
		return false, errors.New("there is no expression")
	}
	result, _, err := c.program.Eval(map[string]any(v))
	if err != nil {
		return false, errors.New("the expression could not be evaluated")
	}
	holds, ok := result.Value().(bool)
	if !ok {
		return false, errors.New("the expression is neither true nor false")
	}
	return holds, nil
}
