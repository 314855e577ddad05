package egress

import (
	"errors"
	"io"
)

// ErrBodyTooLong is returned by the body of an answer that is longer than its bound, after the
// bytes within it.
var ErrBodyTooLong = errors.New("the answer's body is too long")

// bounded reads no more than left bytes.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 { // one more tells whether there is more
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n, err = int(b.left), ErrBodyTooLong
	}
	b.left -= int64(n)
	return n, err
}
