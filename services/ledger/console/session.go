package console

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/tenant"
)

const (
	cookieName  = "usher-console"
	sessionAAD  = "console session"
	sessionAge  = 12 * time.Hour
	longestForm = 32 << 10
	// longestToken fits sealed into a cookie, of which browsers keep 4,096 bytes.
	longestToken = 2800
)

// session is what the cookie has, sealed. It ends with the token, by which every request is checked,
// and at a sign-out.
type session struct {
	Token string `json:"token"`
	Form  string `json:"form"` // what every form has to send back; no other session has it
	Begun int64  `json:"begun"`
}

// ends is when a session does at the latest.
func (s session) ends() time.Time { return time.UnixMilli(s.Begun).Add(sessionAge) }

var errNoSession = errors.New("nobody is signed in")

// sessionOf reads the cookie of a request.
func (k *console) sessionOf(r *http.Request) (session, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, errNoSession
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return session{}, errNoSession
	}
	raw, err := k.Keys.Open(keys.Data, "", sessionAAD, sealed)
	var s session
	if err != nil || json.Unmarshal(raw, &s) != nil {
		return session{}, errNoSession
	}
	if left := time.Until(s.ends()); left < 0 || left > sessionAge+time.Minute || k.ended.has(s) {
		return session{}, errNoSession
	}
	return s, nil
}

// principal is who a token stands for, by the guard of the API.
func (k *console) principal(r *http.Request, token string) (tenant.Principal, error) {
	asked := r.Clone(r.Context())
	asked.Header.Set("Authorization", "Bearer "+token)
	return k.Authenticate(asked)
}

// signedIn is who sends a request; an error wraps what the guard says, or is errNoSession.
func (k *console) signedIn(r *http.Request) (session, tenant.Principal, error) {
	s, err := k.sessionOf(r)
	if err != nil {
		return s, tenant.Principal{}, err
	}
	p, err := k.principal(r, s.Token)
	return s, p, err
}

// sent reports whether a form is one of the session's own.
func (s session) sent(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue("form")), []byte(s.Form)) == 1
}

func (k *console) getLogin(w http.ResponseWriter, r *http.Request) {
	if _, p, err := k.signedIn(r); err == nil && len(k.tenantsOf(p)) > 0 {
		http.Redirect(w, r, Root, http.StatusSeeOther)
		return
	}
	k.render(w, http.StatusOK, "login", &view{Title: "Sign in", Data: loginPage{Next: nextOf(r)}})
}

type loginPage struct{ Next, Refused string }

// postLogin takes a token and, where it is valid, keeps it in a cookie for the browser's session.
func (k *console) postLogin(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, longestForm)
	token := strings.TrimSpace(r.PostFormValue("token"))
	refuse := func(status int, why string) {
		k.render(w, status, "login", &view{Title: "Sign in", Data: loginPage{nextOf(r), why}})
	}
	if token == "" || len(token) > longestToken || strings.ContainsAny(token, " \t\r\n") {
		refuse(http.StatusUnprocessableEntity, "This is not a token: it is empty, has blanks or is longer than 2,800 characters.")
		return
	}
	p, err := k.principal(r, token)
	var tooOften *tenant.TooManyError
	switch {
	case errors.As(err, &tooOften):
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(tooOften.Wait.Seconds()))))
		refuse(http.StatusTooManyRequests, "Too many tokens that are not valid came from this address. Try again later.")
		return
	case errors.Is(err, tenant.ErrUnavailable):
		refuse(http.StatusServiceUnavailable, "Tokens cannot be checked now. Try again in a moment.")
		return
	case err != nil:
		refuse(http.StatusUnauthorized, "This token is not valid.")
		return
	case len(k.tenantsOf(p)) == 0:
		refuse(http.StatusForbidden, "This token's roles do not allow the console. It takes compliance, reviewer, operator or admin.")
		return
	}
	raw, err := json.Marshal(session{token, rand.Text(), time.Now().UnixMilli()})
	if err == nil {
		raw, err = k.Keys.Seal(keys.Data, "", sessionAAD, raw)
	}
	if err != nil {
		k.Log.WarnContext(r.Context(), "session not sealed", "error", err)
		refuse(http.StatusServiceUnavailable, "Nobody can sign in now. Try again in a moment.")
		return
	}
	k.setCookie(w, r, base64.RawURLEncoding.EncodeToString(raw), 0)
	http.Redirect(w, r, nextOf(r), http.StatusSeeOther)
}

func (k *console) postLogout(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, longestForm)
	if s, err := k.sessionOf(r); err == nil {
		if !s.sent(r) {
			k.refused(w, r, nil, &Refusal{http.StatusForbidden, "The form is not of this session. Load the page again."})
			return
		}
		k.ended.add(s)
	}
	k.setCookie(w, r, "", -1)
	http.Redirect(w, r, Root+"/login", http.StatusSeeOther)
}

// setCookie keeps a value until the browser ends, or, for an age below 0, removes it. A proxy that
// ends TLS says so; a client that lies only hides its own cookie.
func (k *console) setCookie(w http.ResponseWriter, r *http.Request, value string, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: Root, MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	})
}

// nextOf is the page of the console that was asked for before.
func nextOf(r *http.Request) string {
	next := r.FormValue("next")
	if !strings.HasPrefix(next, Root+"/t/") || strings.ContainsAny(next, "\\\r\n") {
		return Root
	}
	return next
}
