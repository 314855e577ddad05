package usher

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/usherhq/usher/pkg/rules"
	"github.com/usherhq/usher/pkg/tenant"
)

const schemaFile = "../../pkg/tenant/schema.json"

// fewest is a file with one entry of each kind, and of each entry only what it must have. What
// Parse makes of the rest are the defaults.
const fewest = `
auth:
  tokens: [{sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, subject: desk, tenants: ["*"], roles: [channel]}]
  oidc: [{issuer: https://id.example.com, audience: usher}]
catalogs:
  people:
    version: "1"
    defaultCategory: B2C
    categories: [{databaseId: d1, categoryId: B2C, name: People, level: LOW, features: [{databaseId: f1, code: F}]}]
policies: {standard: {version: "1", screening: {off: true}, rules: [{id: young, when: age.orValue(21) < 21, points: 10}]}}
tenants:
  - id: acme
    name: Acme
    dialects: {native: true, finhub: {}, fincode: {}, candescent: {institutionId: "01111", disclosures: [{id: terms, version: "1"}]}}
    catalog: people
    policy: standard
    mail: {from: no-reply@acme.example, templates: {notice: {en: {subject: a, text: b, html: c}}}}
`

// required are the settings that fewest cannot do without, by the path of what they are in.
var required = map[string][]string{
	"":                                   {"catalogs", "policies", "tenants"},
	"auth.tokens[]":                      {"sha256", "subject", "tenants", "roles"},
	"auth.oidc[]":                        {"issuer", "audience"},
	"catalogs.*":                         {"version", "defaultCategory", "categories"},
	"catalogs.*.categories[]":            {"databaseId", "categoryId", "name", "level"},
	"catalogs.*.categories[].features[]": {"databaseId", "code"},
	"policies.*":                         {"version", "screening"},
	"policies.*.rules[]":                 {"id", "when"},
	"tenants[]":                          {"id", "name", "dialects", "catalog", "policy", "mail"},
	"tenants[].mail":                     {"from"},
	"tenants[].mail.templates.*.*":       {"subject", "text", "html"},
	"tenants[].dialects.candescent":      {"institutionId"},
	"tenants[].dialects.candescent.disclosures[]": {"id", "version"},
}

// more says what the Go types do not: the bounds that the checks of package tenant hold to.
var more = map[string]string{
	"":                              `{"description": "The tenants, who may act for them, and the size of the broker's streams. usher config check tells every problem of a file."}`,
	"broker.replicas":               `{"enum": [1, 3, 5]}`,
	"broker.maxBytes":               `{"minimum": 1048576}`,
	"broker.vaultMaxBytes":          `{"minimum": 1048576}`,
	"broker.highWater":              `{"exclusiveMinimum": 0, "exclusiveMaximum": 1}`,
	"broker.rate":                   `{"minimum": 0, "maximum": 100000}`,
	"broker.memory":                 `{"minimum": 0}`,
	"auth.failuresPerAddress":       `{"minimum": 0}`,
	"auth.tokens[].sha256":          `{"pattern": "^[0-9A-Fa-f]{64}$"}`,
	"auth.tokens[].tenants":         `{"minItems": 1}`,
	"auth.tokens[].roles":           `{"minItems": 1}`,
	"auth.tokens[].roles[]":         `{"enum": ["channel", "operator", "reviewer", "compliance", "admin"]}`,
	"auth.oidc[].issuer":            `{"pattern": "^https?://"}`,
	"auth.oidc[].jwksURL":           `{"pattern": "^(https?://.*)?$"}`,
	"catalogs.*.categories[].level": `{"enum": ["LOW", "MEDIUM", "HIGH"]}`,
	"catalogs.*.categories[].features[].allowedValues.*": `{"minItems": 1}`,
	"policies.*.medium":                         `{"minimum": 1, "maximum": 99}`,
	"policies.*.high":                           `{"minimum": 2, "maximum": 100}`,
	"policies.*.rules[]":                        `{"anyOf": [{"required": ["points"]}, {"required": ["outcome"]}]}`,
	"policies.*.rules[].points":                 `{"minimum": -100, "maximum": 100}`,
	"policies.*.rules[].outcome":                `{"enum": ["refuse", "review"]}`,
	"policies.*.unreviewed":                     `{"enum": ["refuse", "approve"]}`,
	"policies.*.screening":                      `{"oneOf": [{"required": ["off"]}, {"required": ["lists"]}]}`,
	"policies.*.screening.lists":                `{"minItems": 1}`,
	"policies.*.screening.reviewAt":             `{"minimum": 750, "maximum": 1000}`,
	"policies.*.screening.refuseAt":             `{"minimum": 0, "maximum": 1000}`,
	"policies.*.screening.outage":               `{"enum": ["wait", "review"]}`,
	"tenants":                                   `{"minItems": 1}`,
	"tenants[].id":                              `{"pattern": "^[A-Za-z0-9_-]{1,64}$"}`,
	"tenants[].name":                            `{"minLength": 1}`,
	"tenants[].dialects":                        `{"minProperties": 1}`,
	"tenants[].dialects.fincode.auth":           `{"enum": ["token", "none"]}`,
	"tenants[].dialects.candescent.userNameMin": `{"minimum": 6, "maximum": 20}`,
	"tenants[].dialects.candescent.userNameMax": `{"minimum": 6, "maximum": 20}`,
	"tenants[].dialects.candescent.passwordMin": `{"minimum": 6, "maximum": 32}`,
	"tenants[].dialects.candescent.passwordMax": `{"minimum": 6, "maximum": 32}`,
	"tenants[].unique[]":                        `{"enum": ["email", "username", "memberNumber", "nationalId"]}`,
	"tenants[].roles[]":                         `{"minLength": 1}`,
	"tenants[].password.minLength":              `{"minimum": 8, "maximum": 64}`,
	"tenants[].password.maxLength":              `{"minimum": 64, "maximum": 4096}`,
	"tenants[].activation.resendsPerDay":        `{"minimum": 1}`,
	"tenants[].activation.maxTries":             `{"minimum": 1, "maximum": 100}`,
	"tenants[].activation.triesPerDay":          `{"minimum": 1, "maximum": 200}`,
	"tenants[].mail.from":                       `{"pattern": "^[^@\\s<>]+@[^@\\s<>]+$"}`,
	"tenants[].mail.language":                   `{"enum": ["en", "de"]}`,
	"tenants[].delivery.by":                     `{"enum": ["mail", "webhook"]}`,
	"tenants[].delivery.signature":              `{"enum": ["standard-webhooks", "hmac-sha256"]}`,
	"tenants[].mail.templates":                  `{"propertyNames": {"enum": ["activation", "reminder", "notice"]}}`,
	"tenants[].mail.templates.*":                `{"propertyNames": {"enum": ["en", "de"]}}`,
	"tenants[].corsOrigins[]":                   `{"pattern": "^[a-z][a-z0-9+.-]*://[^/]+$"}`,
	"tenants[].limits.perTenant":                `{"minimum": 0}`,
	"tenants[].limits.perAddress":               `{"minimum": 0}`,
	"tenants[].limits.maxUnfinished":            `{"minimum": 0}`,
	"tenants[].argon2.memoryKiB":                `{"minimum": 7168, "maximum": 1048576}`,
	"tenants[].argon2.time":                     `{"minimum": 1, "maximum": 100}`,
	"tenants[].argon2.lanes":                    `{"minimum": 1, "maximum": 64}`,
}

// textual are the types that are written as text.
func textual(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[tenant.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*$`}
	case reflect.TypeFor[tenant.Network]():
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9A-Fa-f.:]+/[0-9]{1,3}$`}
	case reflect.TypeFor[rules.Condition](), reflect.TypeFor[tenant.TextTemplate](), reflect.TypeFor[tenant.HTMLTemplate]():
		one := uint64(1)
		return &jsonschema.Schema{Type: "string", MinLength: &one}
	}
	return nil
}

// generated is the schema of the Go types, their comments and what Parse does by default.
func generated(t *testing.T) []byte {
	t.Helper()
	r := jsonschema.Reflector{DoNotReference: true, Anonymous: true, FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true, Mapper: textual}
	if err := r.AddGoComments("github.com/usherhq/usher/services/usher", "../../pkg/tenant", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	config, err := tenant.Parse("fewest", []byte(fewest))
	if err != nil {
		t.Fatal(err)
	}
	s := r.Reflect(config)
	s.ID, s.Title = "urn:usher:config", "Configuration of Usher"
	c := completion{t, r.CommentMap, map[string]bool{}}
	c.complete(s, reflect.ValueOf(config).Elem(), "")
	for path := range more {
		if !c.used[path] {
			t.Errorf("there is no setting %s", path)
		}
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(raw, '\n')
}

// completion adds to a schema what the types do not say.
type completion struct {
	t        *testing.T
	comments map[string]string
	used     map[string]bool // paths of more
}

// complete does so for what is at path, where v is.
func (c completion) complete(s *jsonschema.Schema, v reflect.Value, path string) {
	c.t.Helper()
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	s.Required = required[path]
	if s.Description == "" && v.Kind() == reflect.Struct {
		s.Description = c.comments[v.Type().PkgPath()+"."+v.Type().Name()]
	}
	s.Description = strings.Join(strings.Fields(s.Description), " ")
	if extra, ok := more[path]; ok {
		c.used[path] = true
		if err := json.Unmarshal([]byte(extra), s); err != nil {
			c.t.Fatalf("%s: %v", path, err)
		}
	}
	switch {
	case !v.IsValid():
	case s.Properties != nil:
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("yaml")
			p, ok := s.Properties.Get(name)
			if !ok {
				continue
			}
			c.complete(p, v.Field(i), strings.TrimPrefix(path+"."+name, "."))
			if !slices.Contains(s.Required, name) {
				p.Default = defaultOf(v.Field(i))
			}
		}
	case s.Items != nil:
		c.complete(s.Items, elementOf(v), path+"[]")
	case v.Kind() == reflect.Map:
		c.complete(s.AdditionalProperties, elementOf(v), path+".*")
	}
}

// elementOf is the first element of a list or a mapping, or the zero value.
func elementOf(v reflect.Value) reflect.Value {
	switch {
	case v.Kind() == reflect.Slice && v.Len() > 0:
		return v.Index(0)
	case v.Kind() == reflect.Map && v.Len() > 0:
		return v.MapIndex(v.MapKeys()[0])
	}
	return reflect.New(v.Type().Elem()).Elem()
}

// defaultOf is what a setting that is left out is, where that can be written; nil else.
func defaultOf(v reflect.Value) any {
	if d, ok := v.Interface().(tenant.Duration); ok {
		return time.Duration(d).String()
	}
	switch v.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint8, reflect.Uint32, reflect.Float64:
		return v.Interface()
	case reflect.String:
		if v.Len() > 0 && v.String() != "Acme" { // the sender's name is the tenant's
			return v.String()
		}
	case reflect.Slice:
		if v.Len() > 0 && v.Type().Elem().Kind() == reflect.String {
			return v.Interface()
		}
	}
	return nil
}

func TestConfigSchemaIsThatOfTheTypes(t *testing.T) {
	want := generated(t)
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, want) {
		t.Error("pkg/tenant/schema.json is not what the types say; run: go test ./services/usher -run ConfigSchema -update")
	}
}

func configSchemaOf(t *testing.T) *validator.Schema {
	t.Helper()
	content, err := validator.UnmarshalJSON(bytes.NewReader(tenant.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("urn:usher:config", content); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:usher:config")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// judge validates a file as an editor would.
func judge(t *testing.T, s *validator.Schema, file []byte) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := validator.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(content)
}

func TestConfigSchemaAcceptsEveryFileThatIsGood(t *testing.T) {
	schema := configSchemaOf(t)
	files := map[string][]byte{"the demonstration": tenant.DemoFile(), "the fewest settings": []byte(fewest)}
	examples, err := filepath.Glob("../../pkg/tenant/testdata/example*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatal(examples, err)
	}
	for _, name := range examples {
		if files[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, file := range files {
		if _, err := tenant.Parse(name, file); err != nil {
			t.Errorf("%s is not good: %v", name, err)
		}
		if err := judge(t, schema, file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigSchemaRefusesWhatItCanSeeAndTheCheckTheRest(t *testing.T) {
	schema := configSchemaOf(t)
	for sentence, row := range map[string]struct {
		old, new string
		seen     bool // by the schema
	}{
		"an unknown setting":                   {"auth:", "brokers: {}\nauth:", true},
		"an unknown setting deep down":         {"subject: desk", "subject: desk, name: x", true},
		"a setting that is missing":            {", subject: desk", "", true},
		"a number where text belongs":          {`version: "1", screening`, "version: 1, screening", true},
		"a value that is empty":                {"fincode: {}", "fincode: ", true},
		"two brokers":                          {"auth:", "broker: {replicas: 2}\nauth:", true},
		"a duration without a unit":            {"auth:", "broker: {maxAge: 168}\nauth:", true},
		"a duration in days":                   {"auth:", "broker: {maxAge: 7d}\nauth:", true},
		"a token in clear":                     {"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "tell-nobody", true},
		"an unknown role":                      {"roles: [channel]", "roles: [king]", true},
		"an unknown level":                     {"level: LOW", "level: TINY", true},
		"an unknown fact":                      {"age.orValue(21)", "shoeSize", false},
		"a rule without a condition":           {"when: age.orValue(21) < 21, ", "", true},
		"a condition that is no text":          {"when: age.orValue(21) < 21", "when: 7", true},
		"no word of screening":                 {"screening: {off: true}, ", "", true},
		"an outage that is a pass":             {"off: true", "lists: [demo], outage: approve", true},
		"lists beside off":                     {"off: true", "off: true, lists: [demo]", true},
		"a review without an end":              {"off: true}", "off: true}, maxReview: 0s", false},
		"a rule without points":                {"points: 10", "points: 0", false},
		"a rule without effect":                {", points: 10", "", true},
		"a rule with an unknown outcome":       {"points: 10", "outcome: maybe", true},
		"an id that no subject can hold":       {"id: acme", "id: a.b", true},
		"a password of seven":                  {"    mail:", "    password: {minLength: 7}\n    mail:", true},
		"a language without templates":         {"mail: {", "mail: {language: fr, ", true},
		"a way of delivery that is none":       {"    mail:", "    delivery: {by: pigeon}\n    mail:", true},
		"a webhook without its address":        {"    mail:", "    delivery: {by: webhook}\n    mail:", false},
		"a sender with a name":                 {"no-reply@acme.example", "Acme <no-reply@acme.example>", true},
		"a negative limit":                     {"    mail:", "    limits: {perTenant: -1}\n    mail:", true},
		"a weak hash":                          {"    mail:", "    argon2: {memoryKiB: 1024}\n    mail:", true},
		"an origin with a path":                {"    mail:", "    corsOrigins: [\"https://a.example/\"]\n    mail:", true},
		"a network that is none":               {"auth:", "trustedProxies: [here]\nauth:", true},
		"a catalog that is not there":          {"catalog: people", "catalog: animals", false},
		"a default category that is not there": {"defaultCategory: B2C", "defaultCategory: C2B", false},
		"a token of an unknown tenant":         {`tenants: ["*"]`, "tenants: [nobody]", false},
		"a code that outlives its account":     {"    mail:", "    activation: {codeValidity: 200h}\n    mail:", false},
		"an issuer in clear":                   {"https://id", "http://id", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			file := strings.Replace(fewest, row.old, row.new, 1)
			if file == fewest {
				t.Fatalf("%q is not in the file", row.old)
			}
			if _, problems := tenant.Check("x.yaml", []byte(file), 0); len(problems) == 0 {
				t.Error("the check accepts it")
			}
			if err := judge(t, schema, []byte(file)); (err != nil) != row.seen {
				t.Errorf("the schema says %v", err)
			}
		})
	}
}

func TestConfigSchemaRefusesTheBrokenFile(t *testing.T) {
	broken, err := os.ReadFile("../../pkg/tenant/testdata/broken.yaml")
	if err != nil {
		t.Fatal(err)
	}
	once := strings.Replace(string(broken), "      maxTries: 0\n", "", 1) // a repeated key is no JSON
	err = judge(t, configSchemaOf(t), []byte(once))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, where := range []string{"/broker/replicas", "/auth/tokens/0/sha256", "/policies/standard/version", "/tenants/0/id", "/tenants/0/mail"} {
		if !strings.Contains(err.Error(), "'"+where+"'") {
			t.Errorf("nothing is said of %s in\n%v", where, err)
		}
	}
}

func TestConfigSchemaRequiresWhatTheCheckRequires(t *testing.T) {
	for path, names := range required {
		for _, name := range names {
			var file map[string]any
			if err := yaml.Unmarshal([]byte(fewest), &file); err != nil {
				t.Fatal(err)
			}
			in := file
			for step := range strings.SplitSeq(path, ".") {
				list := strings.HasSuffix(step, "[]")
				next := in[strings.TrimSuffix(step, "[]")]
				switch {
				case step == "":
					continue
				case list:
					next = next.([]any)[0]
				case step == "*":
					next = only(in)
				}
				in = next.(map[string]any)
			}
			if _, there := in[name]; !there {
				t.Fatalf("%s.%s is not in the file", path, name)
			}
			delete(in, name)
			raw, err := yaml.Marshal(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, problems := tenant.Check("x.yaml", raw, 0); len(problems) == 0 {
				t.Errorf("the check does without %s.%s", path, name)
			}
		}
	}
}

func only(m map[string]any) any {
	for _, v := range m {
		return v
	}
	return nil
}
