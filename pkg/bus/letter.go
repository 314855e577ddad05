package bus

// Message is what the stage could not handle, as its publisher stored it; attributes are its headers.
func (l DeadLetter) Message() (attributes map[string][]string, data []byte) { return l.header, l.data }
