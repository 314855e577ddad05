package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
)

// hierarchy is what the vendor's script reads of it.
type hierarchy struct {
	TenantID, TenantName string
	Categories           map[string]struct {
		DatabaseID, CategoryID, CategoryName string
		Features                             []struct {
			DatabaseID, FeatureCode string
			MandatoryKeys           []string
			AllowedValues           map[string][]string
		}
	}
}

func TestTheHierarchyIsPrintedInBothShapesAndForOneTenantOnly(t *testing.T) {
	w := newWorld(t)
	const singular, plural = "/api/v2.1/customer/individual/categorization/hierarchy", "/api/v2.1/customers/individual/categorization/hierarchy"
	var enveloped struct {
		Code    int
		Message string
		Data    hierarchy
	}
	for _, path := range []string{singular, singular + "/", singular + "/" + cloudVault} {
		a := w.do("GET", path, nil)
		if err := json.Unmarshal(a.body, &enveloped); err != nil || a.status != 200 || enveloped.Code != 200 || enveloped.Message != "Success" || enveloped.Data.TenantID != cloudVault {
			t.Fatalf("GET %s: %d %.200s", path, a.status, a.body)
		}
	}
	var bare hierarchy
	a := w.do("GET", plural+"/"+cloudVault, nil)
	if err := json.Unmarshal(a.body, &bare); err != nil || a.status != 200 || fmt.Sprint(bare) != fmt.Sprint(enveloped.Data) {
		t.Errorf("without an envelope: %d %.200s", a.status, a.body)
	}
	for id, category := range bare.Categories {
		for _, f := range category.Features {
			if id != category.DatabaseID || f.DatabaseID == "" || f.FeatureCode == "" || len(f.MandatoryKeys) == 0 || len(f.AllowedValues) != len(f.MandatoryKeys) {
				t.Errorf("category %s: feature %+v", id, f)
			}
		}
	}
	for _, path := range []string{singular, plural} {
		if a := w.do("GET", path+"/"+finsei, nil); a.status != 403 || !strings.Contains(string(a.body), `"code":403`) {
			t.Errorf("another tenant in %s: %d %s", path, a.status, a.body)
		}
	}
	if a := w.do("GET", singular, nil, "X-Tenant-ID", "remitjunction"); a.status != 403 {
		t.Errorf("a tenant without the dialect: %d %s", a.status, a.body)
	}
}

func TestThePluralPathDemandsFewHeadersAndAnswersWithPrefixedIDs(t *testing.T) {
	w := newWorld(t)
	body := []byte(`{"firstName":"John","lastName":"Smith","email":"john@example.com","phone":"+1234567890","password":"SecurePass123!","matchingPassword":"SecurePass123!",
		"roleIds":["USER"],"individualCustomer":{"person":{"firstName":"John","lastName":"Smith","email":"john@example.com"}}}`)
	if a := w.do("POST", "/api/v2.1/customer/individual/registration", body); a.status != 400 {
		t.Errorf("the singular path of a strict tenant without its headers: %d %s", a.status, a.body)
	}
	accounts, answers := w.bus(events.Accounts), make(chan answer, 1)
	go func() {
		a, err := w.try(t.Context(), "POST", "/api/v2.1/customers/individual/register", body, "Idempotency-Key", "john")
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	pending := w.do("POST", "/api/v2.1/customers/individual/register", body, "Idempotency-Key", "john", "Prefer", "respond-async")
	id := pending.header.Get("X-Registration-ID")
	if pending.status != 202 || !strings.Contains(string(pending.body), `"id":"cust_`+id+`"`) || pending.header.Get("Location") == "" {
		t.Fatalf("at once: %d %s", pending.status, pending.body)
	}
	w.publish(accounts, id, events.AccountCreated{Epoch: 1})
	a := <-answers
	for _, want := range []string{`"id":"cust_` + id, `"userId":"user_`, `"personId":"pers_`, `"username":"john@example.com"`, `"status":"PENDING_ACTIVATION"`, `"status":"REGISTRATION_COMPLETE"`} {
		if a.status != 200 || !strings.Contains(string(a.body), want) {
			t.Errorf("%d %s lacks %s", a.status, a.body, want)
		}
	}
}
