// Command feed follows a tenant's feed over HTTP and prints it, a line for each event. It keeps the
// cursor of the last event that it handled in a file: stopped and started again, it goes on there.
//
//	TOKEN=… feed http://LEDGER TENANT CURSOR_FILE
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"
)

type event struct{ ID, Type, Cursor string }

func main() {
	file := os.Args[3]
	cursor, _ := os.ReadFile(file) // none: from the oldest event
	for {
		page, err := read(os.Args[1], os.Args[2], string(cursor))
		if err != nil {
			log.Print(err)
		}
		if len(page) == 0 {
			time.Sleep(time.Second)
			continue
		}
		for _, e := range page {
			fmt.Println(e.Type, e.ID)
			cursor = []byte(e.Cursor)
		}
		// After the events are handled: killed before, they come again.
		_ = os.WriteFile(file+".new", cursor, 0o600)
		if err := os.Rename(file+".new", file); err != nil {
			log.Fatal(err)
		}
	}
}

func read(ledger, tenant, after string) (page []event, err error) {
	r, err := http.NewRequest(http.MethodGet, ledger+"/v1/events?limit=1000&after="+url.QueryEscape(after), nil)
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{"Authorization": {"Bearer " + os.Getenv("TOKEN")}, "X-Tenant-Id": {tenant}}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the feed answers %s", a.Status) // 410: what follows the cursor is gone
	}
	return page, json.NewDecoder(a.Body).Decode(&page)
}
