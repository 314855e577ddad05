package events

// RecordAccessed: somebody read what is known of registrations, but no person: one registration or its
// mails, a list of mails, or events of the feed. It is stored before the answer is given; what a
// reader of the feed reads within a minute of that is told together afterwards.
type RecordAccessed struct {
	ID           string `json:"id"` // of the access, at random
	Actor        string `json:"actor"`
	Purpose      string `json:"purpose"`                // registration, mails, feed, stream, export or audit
	Registration string `json:"registration,omitempty"` // where it was one
	From         uint64 `json:"from,omitempty"`         // sequence in the feed of the first event read
	To           uint64 `json:"to,omitempty"`           // and of the last
	Count        int    `json:"count,omitempty"`        // events read of those, or mails in the list
}

func (RecordAccessed) Type() string { return "record.accessed" }
func (RecordAccessed) Step() Step   { return FactAccess }
func (e RecordAccessed) N() string  { return e.ID }
