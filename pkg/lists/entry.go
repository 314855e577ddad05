package lists

import "slices"

// Entry finds an entry by the ids of its list and of itself, with the version of the list.
func (s *Set) Entry(list, id string) (e Entry, version string, ok bool) {
	at := slices.IndexFunc(s.Lists, func(l *List) bool { return l.ID == list })
	if at < 0 {
		return e, "", false
	}
	l := s.Lists[at]
	i := slices.IndexFunc(l.Entries, func(e Entry) bool { return e.ID == id })
	if i < 0 {
		return e, l.Version(), false
	}
	return l.Entries[i], l.Version(), true
}
