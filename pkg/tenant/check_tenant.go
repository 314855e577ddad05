package tenant

import (
	"fmt"
	"net/mail"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

var uniqueFields = []string{"email", "username", "memberNumber", "nationalId"}

func (t *Tenant) check(p *problems, path string, c *Config) {
	p.that(tenantID.MatchString(t.ID), path+".id", "is not 1 to 64 of A-Z a-z 0-9 _ -; choose such an id")
	p.that(t.Name != "", path+".name", "is missing; mails and answers show it")
	_, catalog := c.Catalogs[t.CatalogName]
	p.that(catalog, path+".catalog", "names no catalog; add it under catalogs")
	_, policy := c.Policies[t.PolicyName]
	p.that(policy, path+".policy", "names no policy; add it under policies")
	for i, u := range t.Unique {
		p.that(slices.Contains(uniqueFields, u), fmt.Sprintf("%s.unique[%d]", path, i), "is not email, username, memberNumber or nationalId; choose of these")
	}
	for i, r := range t.Roles {
		p.that(r != "", fmt.Sprintf("%s.roles[%d]", path, i), "is empty; name the role or remove it")
	}
	from, err := mail.ParseAddress(t.Mail.From)
	p.that(err == nil && from.Address == t.Mail.From, path+".mail.from", "is not a bare mail address; give e.g. no-reply@example.com")
	p.that(slices.Contains(MailLanguages, t.Mail.Language), path+".mail.language", "is not en or de; choose one")
	t.Mail.Templates.check(p, path+".mail.templates")
	t.Delivery.check(p, path+".delivery")
	p.that(colour.MatchString(t.Page.Accent), path+".page.accent", "is not a colour; give e.g. \"#1f4e79\", in quotes")
	for i, origin := range t.CORSOrigins {
		p.that(isOrigin(origin), fmt.Sprintf("%s.corsOrigins[%d]", path, i), "is not an origin; give e.g. https://app.example.com, without a path")
	}
	t.checkDialects(p, path)
	t.checkNumbers(p, path, c.Broker.MaxAge)
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")

func (d Delivery) check(p *problems, path string) {
	p.that(d.By == ByMail || d.By == ByWebhook, path+".by", "is neither mail nor webhook; choose one")
	p.that(d.Signature == StandardWebhooks || d.Signature == HMACSHA256, path+".signature", "is neither standard-webhooks nor hmac-sha256; choose one")
	p.that(headerName.MatchString(d.Header), path+".header", "is not the name of a header; give e.g. X-Signature")
	if d.By != ByWebhook {
		return
	}
	u, err := url.Parse(d.URL)
	p.that(err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.Fragment == "", path+".url",
		"is not an http or https URL without user and fragment; give e.g. https://sms.example.com/usher")
	p.that(filepath.IsAbs(d.SecretFile), path+".secretFile", "is not an absolute path; give that of the file with the signing secret, where notifier runs")
}

var colour = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// isOrigin reports scheme://host[:port] as a browser sends it (RFC 6454 section 6.2).
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && text == strings.ToLower(u.Scheme+"://"+u.Host)
}

func (t *Tenant) checkDialects(p *problems, path string) {
	d := t.Dialects
	path += ".dialects"
	p.that(d.Native || d.FinHub != nil || d.Fincode != nil || d.Candescent != nil, path, "switches none on; write e.g. native: true")
	if f := d.Fincode; f != nil {
		p.that(f.Auth == "token" || f.Auth == "none", path+".fincode.auth", "is neither token nor none; choose one")
		open := f.Auth == "none" && f.AllowAnonymous
		p.that(!open || t.Limits.PerAddress > 0, path+".fincode.allowAnonymous", "lets anybody call without a limit; set limits.perAddress")
		p.that(f.Platform != "", path+".fincode.platform", "is empty; give the value of the platform header, e.g. fincode")
	}
	if f := d.Candescent; f != nil {
		f.check(p, path+".candescent")
	}
}

func (c *Candescent) check(p *problems, path string) {
	p.that(c.InstitutionID != "", path+".institutionId", "is missing; it stands in the request's path")
	p.that(c.UserNameMin >= 6, path+".userNameMin", "is under 6; the vendor allows 6 to 20")
	p.that(c.UserNameMax >= c.UserNameMin && c.UserNameMax <= 20, path+".userNameMax", "is not within userNameMin and 20; choose within")
	p.that(c.PasswordMin >= 6, path+".passwordMin", "is under 6; the vendor allows 6 to 32")
	p.that(c.PasswordMax >= c.PasswordMin && c.PasswordMax <= 32, path+".passwordMax", "is not within passwordMin and 32; choose within")
	for i, d := range c.Disclosures {
		p.that(d.ID != "" && d.Version != "", fmt.Sprintf("%s.disclosures[%d]", path, i), "lacks id or version; give both")
	}
}

func (t *Tenant) checkNumbers(p *problems, path string, maxAge Duration) {
	p.that(t.Password.MinLength >= 8 && t.Password.MinLength <= 64, path+".password.minLength", "is not within 8 and 64; choose within")
	p.that(t.Password.MaxLength >= 64 && t.Password.MaxLength <= 4096, path+".password.maxLength", "is not within 64 and 4096; choose within")
	for i, w := range t.Password.Words {
		p.that(utf8.RuneCountInString(w) >= 4, fmt.Sprintf("%s.password.words[%d]", path, i), "is shorter than 4 characters, which stand in too many passwords; give a longer one or remove it")
	}
	a := t.Activation
	p.that(a.CodeValidity > 0 && a.CodeValidity <= maxAge, path+".activation.codeValidity", "is not within 0 and broker.maxAge; shorten it")
	p.that(a.ResendCooldown >= 0, path+".activation.resendCooldown", "is negative; give e.g. 60s")
	p.that(a.ResendsPerDay >= 1, path+".activation.resendsPerDay", "is under 1; allow at least one")
	p.that(a.MaxTries >= 1 && a.MaxTries <= 100, path+".activation.maxTries", "is not within 1 and 100; choose within")
	p.that(a.TriesPerDay >= 1 && a.TriesPerDay <= 200, path+".activation.triesPerDay", "is not within 1 and 200; choose within")
	longest := longestWait(maxAge)
	p.that(a.ExpireAfter >= 0 && a.ExpireAfter <= longest, path+".activation.expireAfter",
		"is not within 0 and %v, six sevenths of broker.maxAge: after that an account could neither be activated nor end; shorten it", time.Duration(longest))
	p.that(a.ExpireAfter == 0 || a.ExpireAfter >= a.CodeValidity, path+".activation.expireAfter", "is shorter than codeValidity; give at least that")
	p.that(a.RemindBefore >= 0 && a.RemindBefore < a.expireAfter(maxAge), path+".activation.remindBefore", "is not within 0 and expireAfter; give e.g. 24h, 0 for no reminder")
	p.that(t.SyncTimeout > 0 && t.SyncTimeout <= Duration(time.Minute), path+".syncTimeout", "is not within 0 and 1m; give e.g. 10s")
	p.that(t.Limits.PerTenant >= 0, path+".limits.perTenant", "is negative; give requests per second, 0 for no limit")
	p.that(t.Limits.PerAddress >= 0, path+".limits.perAddress", "is negative; give requests per second, 0 for no limit")
	p.that(t.Limits.MaxUnfinished >= 0, path+".limits.maxUnfinished", "is negative; give a number of registrations, 0 for no limit")
	t.Argon2.check(p, path+".argon2")
}

// longestWait leaves the pipeline a seventh of the events' age before an account begins to wait and
// after it ends.
func longestWait(maxAge Duration) Duration { return maxAge / 7 * 6 }

func (a Activation) expireAfter(maxAge Duration) Duration {
	if a.ExpireAfter == 0 {
		return longestWait(maxAge)
	}
	return a.ExpireAfter
}

// check holds to the weakest parameters that the OWASP password storage cheat sheet lists, and
// to what a machine can hash in an acceptable time.
func (a Argon2) check(p *problems, path string) {
	p.that(a.MemoryKiB >= 7168 && a.MemoryKiB <= 1<<20, path+".memoryKiB", "is not within 7168 and 1048576; give e.g. 19456")
	p.that(a.Time >= 1 && a.Time <= 100, path+".time", "is not within 1 and 100; give e.g. 2")
	p.that(a.Lanes >= 1 && a.Lanes <= 64, path+".lanes", "is not within 1 and 64; give e.g. 1")
	p.that(a.Work() >= 5*7168, path, "is too weak; give memoryKiB: 19456, time: 2, lanes: 1 or more")
	p.that(a.MemoryKiB > 1<<20 || a.Time > 100 || a.Work() <= 8<<20, path, "takes seconds for each password; choose memoryKiB times time up to 8388608")
}

// Work is what a hash costs, and what it costs to guess: its memory in KiB, times its passes.
func (a Argon2) Work() uint64 { return uint64(a.MemoryKiB) * uint64(a.Time) }
