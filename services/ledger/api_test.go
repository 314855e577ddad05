package ledger

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/tenant"
)

func TestAnAddressThatGuessesTokensIsHeldOffAndItsNeighboursAreNot(t *testing.T) {
	config := *tenant.Demo()
	config.Auth.FailuresPerAddress = 0.001 // one, and none for long after it
	auth, err := tenant.NewAuthenticator(config.Auth)
	if err != nil {
		t.Fatal(err)
	}
	auth.AddToken("right", tenant.Principal{Subject: "carl", Tenants: []string{config.Tenants[0].ID}, Roles: []tenant.Role{tenant.Compliance}})
	a := &api{env: &app.Env{Config: tenant.NewLive(&config), Ops: http.NotFoundHandler()}, guard: tenant.NewGuard(auth)}
	ask := func(address, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/v1/reviews", nil)
		r.RemoteAddr = address + ":5"
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		a.routes().ServeHTTP(w, r)
		return w
	}
	for _, step := range []struct {
		address, token string
		status         int
	}{
		{"192.0.2.1", "right", http.StatusForbidden}, // compliance reviews nothing
		{"192.0.2.1", "guess", http.StatusUnauthorized},
		{"192.0.2.1", "another", http.StatusTooManyRequests},
		{"192.0.2.1", "right", http.StatusForbidden},
		{"192.0.2.2", "another", http.StatusUnauthorized},
	} {
		w := ask(step.address, step.token)
		if w.Code != step.status {
			t.Errorf("%s from %s: %d %s", step.token, step.address, w.Code, w.Body)
		}
		if seconds := w.Header().Get("Retry-After"); w.Code == http.StatusTooManyRequests && seconds != "1000" {
			t.Errorf("Retry-After %q", seconds)
		}
	}
}
