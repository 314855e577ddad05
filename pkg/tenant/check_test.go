package tenant

import (
	"strings"
	"testing"
)

// fullest has every section, so that each row below changes one line of it.
const fullest = `
broker: {maxAge: 168h, replicas: 3, maxBytes: 8589934592, vaultMaxBytes: 4294967296, highWater: 0.8}
auth:
  tokens:
    - {sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, subject: desk, tenants: ["*"], roles: [channel]}
  oidc: [{issuer: https://id.example.com, audience: usher}]
catalogs:
  people:
    version: "1"
    defaultCategory: B2C
    categories:
      - databaseId: d1
        categoryId: B2C
        name: People
        level: LOW
        features:
          - {databaseId: f1, code: F, name: Feature, mandatoryKeys: [K], allowedValues: {K: [V]}}
policies:
  standard:
    version: "1"
    screening: {lists: [demo]}
    rules:
      - {id: young, when: age.orValue(21) < 21, points: 10, label: under 21}
tenants:
  - id: acme
    name: Acme
    dialects:
      native: true
      fincode: {auth: none, allowAnonymous: true, hostLabel: acme}
      candescent: {institutionId: "01111", disclosures: [{id: terms, version: "1"}]}
    corsOrigins: ["https://app.example.com"]
    limits: {perTenant: 10, perAddress: 0.5}
    argon2: {memoryKiB: 19456, time: 2, lanes: 1}
    activation: {codeValidity: 10m}
    catalog: people
    policy: standard
    mail: {from: no-reply@acme.example}
`

func TestEachProblemIsNamedByItsPath(t *testing.T) {
	parse(t, fullest)
	for sentence, row := range map[string]struct{ old, new, want string }{
		"an unknown key at the top":                 {"broker:", "brokers: 1\nbroker:", "brokers: is not a setting"},
		"a key of two lines":                        {"broker:", "\"a\\nb\": 1\nbroker:", `"a\nb": is not a setting`},
		"an unknown key deep down":                  {"label: under", "labels: under", "policies.standard.rules[0].labels: is not a setting"},
		"text where a number belongs":               {"replicas: 3", "replicas: three", "broker.replicas: is not a whole number"},
		"a number that does not fit":                {"lanes: 1", "lanes: 256", "tenants[0].argon2.lanes: is not a whole number that fits"},
		"a negative number where none fits":         {"lanes: 1", "lanes: -1", "tenants[0].argon2.lanes: is not a whole number that fits"},
		"an octal number where text belongs":        {`"01111"`, "01111", "tenants[0].dialects.candescent.institutionId: is not text"},
		"a mapping where a list belongs":            {"roles: [channel]", "roles: {channel: 1}", "auth.tokens[0].roles: is not a list"},
		"a list where a mapping belongs":            {"argon2: {memoryKiB: 19456, time: 2, lanes: 1}", "argon2: [1]", "tenants[0].argon2: is not a mapping"},
		"a duration without a unit":                 {"maxAge: 168h", "maxAge: 168", "broker.maxAge: is not a duration"},
		"an empty value":                            {"subject: desk", "subject: ", "auth.tokens[0].subject: is empty"},
		"an alias of nothing":                       {"roles: [channel]", "roles: *none", "auth.tokens[0].roles: names no earlier anchor"},
		"a merge":                                   {"replicas: 3", "<<: {replicas: 3}", "broker.<<: is not a plain key"},
		"a tag":                                     {"replicas: 3", "replicas: !!int 3", "broker.replicas: has a tag"},
		"a tag of a list":                           {"roles: [channel]", "roles: !roles [channel]", "auth.tokens[0].roles: has a tag"},
		"a repeated key":                            {"replicas: 3", "replicas: 3, replicas: 1", "broker.replicas: is there twice"},
		"two brokers":                               {"replicas: 3", "replicas: 2", "broker.replicas: is 2"},
		"no time to finish":                         {"maxAge: 168h", "maxAge: 30m", "broker.maxAge: is under an hour"},
		"no room":                                   {"maxBytes: 8589934592", "maxBytes: 0", "broker.maxBytes: is under 1 MiB"},
		"no room for persons":                       {"vaultMaxBytes: 4294967296", "vaultMaxBytes: 1", "broker.vaultMaxBytes: is under 1 MiB"},
		"a high water above the brim":               {"highWater: 0.8", "highWater: 1", "broker.highWater: is 1"},
		"a token in clear":                          {"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "tell-nobody", "auth.tokens[0].sha256: is not a SHA-256"},
		"a token of no tenant":                      {`tenants: ["*"]`, "tenants: []", "auth.tokens[0].tenants: is missing"},
		"a token of an unknown tenant":              {`["*"]`, "[acme, other]", "auth.tokens[0].tenants[1]: names no configured tenant"},
		"a token of an unknown role":                {"[channel]", "[king]", "auth.tokens[0].roles[0]: is no role"},
		"an issuer in clear":                        {"https://id.example.com", "http://id.example.com", "auth.oidc[0].issuer: is not an https URL"},
		"an issuer for any audience":                {", audience: usher", "", "auth.oidc[0].audience: is missing"},
		"keys in clear":                             {"audience: usher", "audience: usher, jwksURL: ftp://x", "auth.oidc[0].jwksURL: is not an https URL"},
		"a default category that is not there":      {"defaultCategory: B2C", "defaultCategory: C2B", "catalogs.people.defaultCategory: names no category"},
		"an unknown level":                          {"level: LOW", "level: TINY", "catalogs.people.categories[0].level: is not LOW"},
		"a mandatory key without values":            {"allowedValues: {K: [V]}", "allowedValues: {}", "features[0].mandatoryKeys[0]: has no allowedValues"},
		"a key that allows nothing":                 {"{K: [V]}", "{K: []}", "features[0].allowedValues.K: is empty"},
		"two categories of one id":                  {"      - databaseId: d1\n", "      - {databaseId: B2C, categoryId: x, name: X, level: LOW}\n      - databaseId: d1\n", "catalogs.people.categories[1].categoryId: is that of"},
		"thresholds out of order":                   {"    rules:\n", "    medium: 70\n    rules:\n", "policies.standard: needs 0 < medium < high"},
		"an unknown fact":                           {"age.orValue(21)", "shoeSize", "policies.standard.rules[0].when: does not check at its line 1, character 1: undeclared reference to 'shoeSize'"},
		"a rule without a condition":                {"when: age.orValue(21) < 21, ", "", "policies.standard.rules[0].when: is missing"},
		"a condition that is no text":               {"when: age.orValue(21) < 21", "when: true", "policies.standard.rules[0].when: is not an expression"},
		"a condition that forgets the unknown":      {"age.orValue(21)", "age", "policies.standard.rules[0].when: does not check at its line 1, character 5"},
		"a condition that costs too much":           {"age.orValue(21) < 21", `"countries.all(a, countries.all(b, countries.all(c, a == b || b == c)))"`, "policies.standard.rules[0].when: may cost"},
		"a rule without effect":                     {"points: 10", "points: 0", "policies.standard.rules[0]: has neither points nor an outcome"},
		"a rule of too many points":                 {"points: 10", "points: 101", "policies.standard.rules[0].points: is not within"},
		"an outcome that is none":                   {"points: 10", "outcome: maybe", "policies.standard.rules[0].outcome: is neither refuse nor review"},
		"a rule named as screening is":              {"id: young", "id: screening-hit", "policies.standard.rules[0].id: is that of screening too"},
		"no word of screening":                      {"    screening: {lists: [demo]}\n", "", "policies.standard.screening: is missing"},
		"screening against nothing":                 {"lists: [demo]", "maxAge: 1h", "policies.standard.screening: needs either lists or off"},
		"screening that is off and has lists":       {"lists: [demo]", "lists: [demo], off: true", "policies.standard.screening: needs either lists or off"},
		"a list named twice":                        {"lists: [demo]", "lists: [demo, demo]", "policies.standard.screening.lists[1]: is empty or there twice"},
		"a threshold that everybody reaches":        {"lists: [demo]", "lists: [demo], reviewAt: 200", "policies.standard.screening.reviewAt: is not within"},
		"a list of exposed persons that is none":    {"lists: [demo]", "lists: [demo], pepLists: [pep]", "policies.standard.screening.pepLists[0]: is none of lists"},
		"a refusal before a review":                 {"lists: [demo]", "lists: [demo], refuseAt: 800", "policies.standard.screening.refuseAt: is not within"},
		"an outage that is a pass":                  {"lists: [demo]", "lists: [demo], outage: approve", "policies.standard.screening.outage: is neither"},
		"a review that outlives its registration":   {"lists: [demo]}", "lists: [demo]}\n    maxReview: 150h", "policies.standard.maxReview: and screening.maxWait together"},
		"a review without an end":                   {"lists: [demo]}", "lists: [demo]}\n    maxReview: 0s", "policies.standard.maxReview: is not above 0"},
		"an end of a review that is none":           {"lists: [demo]}", "lists: [demo]}\n    unreviewed: review", "policies.standard.unreviewed: is neither"},
		"two rules of one name":                     {"points: 10, label: under 21}", "points: 10}\n      - {id: young, when: screened, points: 1}", "policies.standard.rules[1].id: is that of policies.standard.rules[0] too"},
		"a tenant id that no subject can hold":      {"- id: acme", "- id: a.b", "tenants[0].id: is not 1 to 64"},
		"a tenant without a dialect":                {"      native: true\n      fincode: {auth: none, allowAnonymous: true, hostLabel: acme}\n      candescent: {institutionId: \"01111\", disclosures: [{id: terms, version: \"1\"}]}\n", "      native: false\n", "tenants[0].dialects: switches none on"},
		"a dialect that anybody may call for ever":  {", perAddress: 0.5", "", "tenants[0].dialects.fincode.allowAnonymous: lets anybody call"},
		"an unknown way to authenticate":            {"auth: none", "auth: maybe", "tenants[0].dialects.fincode.auth: is neither"},
		"a disclosure without a version":            {`, version: "1"}]`, "}]", "candescent.disclosures[0]: lacks id or version"},
		"user names longer than the vendor's":       {"disclosures:", "userNameMax: 21, disclosures:", "candescent.userNameMax: is not within"},
		"passwords shorter than the vendor's":       {"disclosures:", "passwordMin: 5, disclosures:", "candescent.passwordMin: is under 6"},
		"passwords longer than the vendor's":        {"disclosures:", "passwordMax: 33, disclosures:", "candescent.passwordMax: is not within"},
		"a longest password under the shortest":     {"disclosures:", "passwordMin: 9, passwordMax: 8, disclosures:", "candescent.passwordMax: is not within"},
		"an origin with a path":                     {"https://app.example.com", "https://app.example.com/", "tenants[0].corsOrigins[0]: is not an origin"},
		"a negative limit":                          {"perTenant: 10", "perTenant: -1", "tenants[0].limits.perTenant: is negative"},
		"a weak hash":                               {"memoryKiB: 19456, time: 2", "memoryKiB: 7168, time: 1", "tenants[0].argon2: is too weak"},
		"a colour by its name":                      {"    policy: standard\n", "    policy: standard\n    page: {accent: red}\n", "tenants[0].page.accent: is not a colour"},
		"a word that stands in many passwords":      {"    policy: standard\n", "    policy: standard\n    password: {words: [abc]}\n", "tenants[0].password.words[0]: is shorter than 4"},
		"a hash that takes many seconds":            {"memoryKiB: 19456, time: 2", "memoryKiB: 1048576, time: 9", "tenants[0].argon2: takes seconds"},
		"a hash that takes the machine":             {"memoryKiB: 19456", "memoryKiB: 4000000000", "tenants[0].argon2.memoryKiB: is not within"},
		"a catalog that is not there":               {"catalog: people", "catalog: animals", "tenants[0].catalog: names no catalog"},
		"a policy that is not there":                {"policy: standard", "policy: other", "tenants[0].policy: names no policy"},
		"a sender with a name":                      {"no-reply@acme.example", "Acme <no-reply@acme.example>", "tenants[0].mail.from: is not a bare mail address"},
		"a way of delivery that is none":            {"mail: {", "delivery: {by: pigeon}\n    mail: {", "tenants[0].delivery.by: is neither mail nor webhook"},
		"a webhook without its address":             {"mail: {", "delivery: {by: webhook, secretFile: /etc/usher/sms}\n    mail: {", "tenants[0].delivery.url: is not an http or https URL"},
		"a webhook with a password in its address":  {"mail: {", "delivery: {by: webhook, url: \"https://a:b@sms.example.com\", secretFile: /etc/usher/sms}\n    mail: {", "tenants[0].delivery.url: is not an http or https URL"},
		"a webhook that nobody signs for":           {"mail: {", "delivery: {by: webhook, url: \"https://sms.example.com\"}\n    mail: {", "tenants[0].delivery.secretFile: is not an absolute path"},
		"a signature that nobody knows":             {"mail: {", "delivery: {signature: md5}\n    mail: {", "tenants[0].delivery.signature: is neither"},
		"a header that is none":                     {"mail: {", "delivery: {header: \"X: Y\"}\n    mail: {", "tenants[0].delivery.header: is not the name"},
		"a language without templates":              {"mail: {", "mail: {language: fr, ", "tenants[0].mail.language: is not en or de"},
		"a code that outlives its registration":     {"codeValidity: 10m", "codeValidity: 169h", "tenants[0].activation.codeValidity: is not within"},
		"an account that outlives its events":       {"codeValidity: 10m", "expireAfter: 145h", "tenants[0].activation.expireAfter: is not within 0 and 144h0m0s"},
		"an account that ends before its code":      {"codeValidity: 10m", "expireAfter: 23h", "tenants[0].activation.expireAfter: is shorter than codeValidity"},
		"a reminder before there is an account":     {"codeValidity: 10m", "remindBefore: 144h", "tenants[0].activation.remindBefore: is not within"},
		"a cap that no code passes":                 {"codeValidity: 10m", "triesPerDay: 0", "tenants[0].activation.triesPerDay: is not within"},
		"a mail without its HTML":                   {"mail: {", "mail: {templates: {activation: {en: {subject: a, text: b}}}, ", "tenants[0].mail.templates.activation.en: lacks subject, text or html"},
		"a mail without the code":                   {"mail: {", "mail: {templates: {activation: {en: {subject: a, text: \"{{.Link}}\", html: \"{{.Code}}\"}}}, ", "tenants[0].mail.templates.activation.en.text: has no line with the code alone"},
		"a mail of a field that is not there":       {"mail: {", "mail: {templates: {notice: {en: {subject: a, text: \"{{.Email}}\", html: c}}}, ", "tenants[0].mail.templates.notice.en: cannot be filled in"},
		"a mail that is no template":                {"mail: {", "mail: {templates: {notice: {en: {subject: \"{{\", text: b, html: c}}}, ", "tenants[0].mail.templates.notice.en.subject: is not a template"},
		"a mail of an unknown kind":                 {"mail: {", "mail: {templates: {welcome: {en: {subject: a, text: b, html: c}}}, ", "tenants[0].mail.templates.welcome: is no kind of mail"},
		"a subject of two lines":                    {"mail: {", "mail: {templates: {notice: {en: {subject: \"a\\nb\", text: b, html: c}}}, ", "tenants[0].mail.templates.notice.en.subject: is more than a line"},
		"a mail in another language":                {"mail: {", "mail: {templates: {notice: {fr: {subject: a, text: b, html: c}}}, ", "tenants[0].mail.templates.notice.fr: is not en or de"},
		"no try at all":                             {"codeValidity: 10m", "maxTries: 0", "tenants[0].activation.maxTries: is not within"},
		"a password of seven":                       {"    mail:", "    password: {minLength: 7}\n    mail:", "tenants[0].password.minLength: is not within"},
		"a caller who waits for ever":               {"    mail:", "    syncTimeout: 2m\n    mail:", "tenants[0].syncTimeout: is not within"},
		"a unique field that accounts do not index": {"    mail:", "    unique: [phone]\n    mail:", "tenants[0].unique[0]: is not email"},
	} {
		t.Run(sentence, func(t *testing.T) {
			text := strings.Replace(fullest, row.old, row.new, 1)
			if text == fullest {
				t.Fatalf("%q is not in the file", row.old)
			}
			_, err := Parse("x.yaml", []byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got\n%v\nwant one line with %q", err, row.want)
			}
		})
	}
}

func TestTwoTenantsDoNotShareWhatTellsThemApart(t *testing.T) {
	at := strings.Index(fullest, "  - id: acme")
	_, err := Parse("x.yaml", []byte(fullest+fullest[at:]))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"tenants[1].id: is that of tenants[0]", "hostLabel: is that of", "institutionId: is that of"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

func TestAFileThatCannotBeReadAsOneDocumentIsRefused(t *testing.T) {
	for sentence, row := range map[string]struct{ text, want string }{
		"nothing":            {"", "x.yaml:1:1 the file is empty"},
		"only a comment":     {"# later\n", "the file is empty"},
		"two documents":      {small + "---\n" + small, "is a second document"},
		"an empty second":    {"a: 1\n---\n---\n", "is a second document"},
		"a list":             {"- a\n", "x.yaml:1:1 is not a mapping"},
		"no YAML":            {"tenants:\n  - [a\n", "mend the YAML"},
		"a scalar":           {"tenants\n", "is not a mapping"},
		"aliases of aliases": {bomb(), "use fewer aliases"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := Parse("x.yaml", []byte(row.text))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

// bomb is a short file whose aliases stand for more than 200,000 values.
func bomb() string {
	values := strings.Repeat("v, ", 500)
	list := func(entry string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+", ", n), ", ") + "]"
	}
	features := "&f [{allowedValues: {k: &v [" + values + "]}}" + strings.Repeat(", {allowedValues: {k: *v}}", 50) + "]"
	return "catalogs: {c: {categories: [{features: " + features + "}, " + strings.Trim(list("{features: *f}", 50), "[]") + "]}}\n"
}
