package console

import "strings"

type listsPage struct {
	Loaded []List
	Used   []ListUse
	Runs   []Screening
	// Pending are lists whose version came into use after the newest completed run: customers are
	// being screened against it.
	Pending []ListUse
}

func (k *console) lists(v *visit) (string, string, any, error) {
	used, runs, err := k.Lists.Used(v.Context(), v.tenant.ID)
	page := listsPage{Loaded: k.Lists.Loaded(), Used: used, Runs: runs}
	for _, u := range used {
		if len(runs) == 0 || u.At.After(runs[0].At) && !strings.Contains(runs[0].Lists, u.List+"="+u.Version) {
			page.Pending = append(page.Pending, u)
		}
	}
	return "Screening lists", "lists", page, err
}
