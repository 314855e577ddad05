package console

import "strings"

type listsPage struct {
	Screening
	Loaded []List
	// Pending are lists whose version came into use after the newest completed run: customers are
	// being screened against it.
	Pending []ListUse
}

func (k *console) lists(v *visit) (string, string, any, error) {
	told, err := k.Lists.Screening(v.Context(), v.tenant.ID)
	page := listsPage{Screening: told, Loaded: k.Lists.Loaded()}
	for _, u := range told.Used {
		if len(told.Runs) == 0 || u.At.After(told.Runs[0].At) && !strings.Contains(told.Runs[0].Lists, u.List+"="+u.Version) {
			page.Pending = append(page.Pending, u)
		}
	}
	return "Screening lists", "lists", page, err
}
