package usher

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/usherhq/usher/pkg/app"
)

func TestEveryVariableThatTheCodeReadsIsDocumentedAndNoOther(t *testing.T) {
	read := map[string]string{} // where
	constants := map[string]string{}
	var files []*ast.File
	set := token.NewFileSet()
	for _, root := range []string{"../../events", "../../pkg", ".."} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && (d.Name() == "testdata" || d.Name() == "simulation" || d.Name() == "examples") {
				return filepath.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			files = append(files, file)
			collectConstants(file, constants)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if file, is := inFile(n); is {
					for _, name := range app.SecretVariables {
						read[name+file] = set.Position(n.Pos()).String()
					}
				} else if name, is := variableOf(n, constants); is && name == "" {
					t.Errorf("%s reads a variable whose name no test can tell", set.Position(n.Pos()))
				} else if is {
					read[name] = set.Position(n.Pos()).String()
				}
			case *ast.Field:
				if n.Tag != nil {
					tag, _ := strconv.Unquote(n.Tag.Value)
					for _, name := range strings.Split(reflect.StructTag(tag).Get("env"), ",") {
						read[name] = set.Position(n.Pos()).String()
					}
				}
			}
			return true
		})
	}
	delete(read, "")
	if len(read) < 20 {
		t.Errorf("only %d variables are found in the code", len(read))
	}
	documented := map[string]bool{}
	for _, v := range environment {
		if documented[v.Name] {
			t.Errorf("%s is documented twice", v.Name)
		}
		documented[v.Name] = true
		if _, is := read[v.Name]; !is {
			t.Errorf("%s is documented, and nobody reads it", v.Name)
		}
	}
	for name, where := range read {
		if !documented[name] {
			t.Errorf("%s reads %s, which environment.go does not document", where, name)
		}
	}
}

// collectConstants keeps the values of a file's constants that are texts.
func collectConstants(file *ast.File, into map[string]string) {
	for _, declared := range file.Decls {
		general, ok := declared.(*ast.GenDecl)
		if !ok || general.Tok != token.CONST {
			continue
		}
		for _, spec := range general.Specs {
			values := spec.(*ast.ValueSpec)
			for i, name := range values.Names {
				if i >= len(values.Values) {
					break
				}
				if text, ok := values.Values[i].(*ast.BasicLit); ok && text.Kind == token.STRING {
					into[file.Name.Name+"."+name.Name], _ = strconv.Unquote(text.Value)
				}
			}
		}
	}
}

// inFile reports whether a call reads the variable that names the file of another, and how it ends.
func inFile(call *ast.CallExpr) (ending string, is bool) {
	if len(call.Args) != 1 || !reads(call) {
		return "", false
	}
	sum, ok := call.Args[0].(*ast.BinaryExpr)
	if !ok {
		return "", false
	}
	literal, ok := sum.Y.(*ast.BasicLit)
	if !ok {
		return "", false
	}
	ending, _ = strconv.Unquote(literal.Value)
	return ending, true
}

// reads reports whether a call is one of those by which variables are read.
func reads(call *ast.CallExpr) bool {
	var called string
	switch f := call.Fun.(type) {
	case *ast.Ident:
		called = f.Name
	case *ast.SelectorExpr:
		called = f.Sel.Name
	}
	return slices.Contains([]string{"Getenv", "getenv", "LookupEnv"}, called)
}

// variableOf returns the variable that a call reads; "" for one that it does not tell. Functions that
// pass on what they are asked for, by a parameter called name, read nothing themselves.
func variableOf(call *ast.CallExpr, constants map[string]string) (name string, is bool) {
	if len(call.Args) != 1 || !reads(call) {
		return "", false
	}
	switch arg := call.Args[0].(type) {
	case *ast.BasicLit:
		name, _ = strconv.Unquote(arg.Value)
	case *ast.Ident:
		for full, value := range constants {
			if strings.HasSuffix(full, "."+arg.Name) {
				name = value
			}
		}
		if arg.Name == "name" && name == "" {
			return "", false
		}
	case *ast.CallExpr:
		return "", false // a method that makes a getenv
	case *ast.SelectorExpr:
		if pkg, ok := arg.X.(*ast.Ident); ok {
			name = constants[pkg.Name+"."+arg.Sel.Name]
		}
	}
	return name, true
}
