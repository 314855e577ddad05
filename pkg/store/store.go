// Package store keeps documents: insert once, read, guarded update, query by indexed fields.
// Nothing else is promised, so that every backend can keep the promise.
package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// Fields are the indexed values of a document: strings in UTF-8 and int64, nothing else. A
// field has the same type in every document of a collection.
type Fields map[string]any

// Document is what a collection holds.
type Document struct {
	ID      string // UTF-8, 1 to MaxID bytes
	Version int64  // 1 when inserted, one more by each update
	Fields  Fields
	Body    []byte // one JSON object in UTF-8, at most MaxBody bytes
}

// Schema describes a collection.
type Schema struct {
	Collection string
	// Unique lists fields whose combined values no two documents share, among the documents
	// that have all of them.
	Unique [][]string
	// Index lists the fields that queries filter or order by.
	Index [][]string
}

// OpKind is what an Op does.
type OpKind int

const (
	Insert OpKind = iota + 1 // ErrExists where the id is taken
	Update                   // where the stored version is Document.Version; else ErrConflict or ErrNotFound
	Delete                   // by id; an absent document is no error
)

// Op is one write.
type Op struct {
	Kind     OpKind
	Document Document
}

// Range bounds one int64 field: From <= value <= To. The zero of From and To is a bound too.
type Range struct {
	Field    string
	From, To int64
}

// Query selects documents. Those with equal values of Order follow each other by id; those
// without the field come before all others, with "-" after them. Find refuses a cursor of
// another query with ErrCursor.
type Query struct {
	Where Fields // equality
	Range *Range
	Order string // an indexed field, "-" before it for descending; "" orders by id
	After string // the cursor that the page before gave for the same Where, Range and Order
	Limit int    // 1 to 1000; may change from page to page
}

// Tally is a count that has a bound: of the documents whose string field has the value, and which
// are within the range unless its field is "", at most Most are counted. It costs no more than that,
// however many there are, where an index begins with these fields.
type Tally struct {
	Field, Value string
	Range        Range
	Most         int // 1 to 1000
}

// Backend is a database. Every implementation passes package storetest. Safe for concurrent
// use; the opener closes it.
type Backend interface {
	// Ensure creates collections and indexes that are missing. It drops and changes nothing.
	Ensure(ctx context.Context, schemas ...Schema) error
	// Verify names everything that Ensure would have to create.
	Verify(ctx context.Context, schemas ...Schema) error
	// Write returns one error for each op; nil means that the op is durable. An op that fails
	// touches no other. Any error but ErrExists, ErrConflict, ErrNotFound and DuplicateError
	// leaves the outcome unknown: read back or write again.
	Write(ctx context.Context, collection string, ops []Op) []error
	// Get returns the documents that exist, by id.
	Get(ctx context.Context, collection string, ids ...string) (map[string]Document, error)
	// Find returns one page and the cursor of the next, "" after the last.
	Find(ctx context.Context, collection string, q Query) (page []Document, next string, err error)
	Count(ctx context.Context, collection string, where Fields) (int64, error)
	// Tally returns a count for each.
	Tally(ctx context.Context, collection string, tallies []Tally) ([]int64, error)
	// Purge returns once the files of the database hold nothing any more of what was overwritten or
	// deleted before, as far as the backend decides that: MongoDB's files are its server's.
	Purge(ctx context.Context) error
	Ping(ctx context.Context) error
	Close() error
}

var (
	ErrExists   = errors.New("a document with this id exists")
	ErrNotFound = errors.New("no document with this id")
	ErrConflict = errors.New("the document has changed since it was read")
	// ErrUnreachable is wrapped where the database does not answer: it may do so later.
	ErrUnreachable = errors.New("the database cannot be reached")
)

// DuplicateError says that another document has the values of a unique set of fields.
type DuplicateError struct{ Fields []string }

func (e *DuplicateError) Error() string {
	return "another document has the same " + strings.Join(e.Fields, ", ")
}

// Field returns the last field of the set: the one that is unique within the others.
func (e *DuplicateError) Field() string { return e.Fields[len(e.Fields)-1] }

// Open opens a service's documents by URL: sqlite://DIR keeps them in DIR/<service>.db, and
// mongodb://HOST/DATABASE in collections <service>_<collection>. tracer makes a span of every
// command that goes over the network; nil makes none. A server that is away is no error yet.
func Open(ctx context.Context, url, service string, tracer trace.TracerProvider) (Backend, error) {
	scheme, rest, found := strings.Cut(url, "://")
	switch {
	case !found:
		return nil, errors.New("STORE_URL is not a URL; give sqlite://DIR or mongodb://HOST/DATABASE")
	case scheme == "sqlite":
		return openSQLite(ctx, rest, service)
	case scheme == "mongodb", scheme == "mongodb+srv":
		return openMongo(url, service, tracer)
	}
	return nil, fmt.Errorf("STORE_URL: scheme %q is not supported; give sqlite://DIR or mongodb://HOST/DATABASE", scheme)
}
