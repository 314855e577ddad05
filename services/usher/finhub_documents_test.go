package usher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const finhubPlural = "/api/v2.1/customers/individual/register"

// Headers beside Authorization, X-Tenant-ID and Content-Type: those that the page of the singular
// path demands, and none.
var (
	noHeaders  = []string{"User-Agent", ""}
	allHeaders = []string{"User-Agent", "curl/8", "X-Forwarded-From", "e2e-test", "platform", "web", "deviceId", "356938035643809"}
)

// printed is how one of the vendor's documents is used.
type printed struct {
	document string // the beginning of its file's name
	requests int    // printed in it, at least
	path     string
	tenant   string
	headers  []string
	copies   []string // of its requests, with the vendor's values, in the gateway's testdata
}

var documented = []printed{
	{"001_", 3, finhubPath, cloudVault, allHeaders, []string{"with-placeholders", "nested", "with-categorization"}},
	{"001_", 3, finhubPath, finsei, allHeaders, []string{"with-placeholders", "nested", "with-categorization"}},
	{"002_", 1, finhubPlural, cloudVault, noHeaders, []string{"smart"}},
	{"003_", 2, finhubPath, finsei, noHeaders, []string{"flat", "customer-without-person"}},
}

// USHER_SEEDS names the directory of the vendor's documents; they are not part of the project.
func TestEveryRequestThatTheVendorPrintsIsAcceptedAsPrinted(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	for _, p := range documented {
		t.Run("copies of "+p.document+" for "+p.tenant, func(t *testing.T) {
			for _, name := range p.copies {
				body, err := os.ReadFile(filepath.Join("..", "gateway", "finhub", "testdata", name+".request.json"))
				if err != nil {
					t.Fatal(err)
				}
				d.accepts(t, p, name, body)
			}
		})
		t.Run("document "+p.document+" for "+p.tenant, func(t *testing.T) {
			dir := os.Getenv("USHER_SEEDS")
			if dir == "" {
				t.Skip("NOT RUN: the document as it is printed. USHER_SEEDS is not set; only the copies of its requests were sent")
			}
			requests := requestsIn(t, dir, p.document)
			if len(requests) < p.requests {
				t.Fatalf("found %d requests in the document, it prints %d", len(requests), p.requests)
			}
			for i, body := range requests {
				d.accepts(t, p, fmt.Sprint("request ", i+1), body)
			}
		})
	}
}

var mails int

// accepts sends a body with its e-mail address varied and wants a customer.
func (d *dev) accepts(t *testing.T, p printed, name string, body []byte) {
	t.Helper()
	var told struct{ Email string }
	if err := json.Unmarshal(body, &told); err != nil || told.Email == "" {
		t.Fatalf("%s: no request with an e-mail address (%v)", name, err)
	}
	mails++
	varied := bytes.ReplaceAll(body, []byte(told.Email), fmt.Appendf(nil, "printed%d@example.com", mails))
	a := d.do(http.MethodPost, d.gateway(p.path), p.tenant, varied, p.headers...)
	if a.status != http.StatusOK || !strings.Contains(string(a.body), fmt.Sprintf("printed%d@example.com", mails)) {
		t.Errorf("%s: %d %s", name, a.status, a.body)
	}
}

// requestsIn finds the requests that a document prints: as JSON, and as the example of an
// OpenAPI schema.
func requestsIn(t *testing.T, dir, document string) (requests [][]byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, document+"*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files %s* in %s (%v)", len(files), document, dir, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for at := range text {
		if text[at] != '{' || at > 0 && !strings.ContainsRune("\n'", rune(text[at-1])) {
			continue
		}
		var raw json.RawMessage
		if json.NewDecoder(bytes.NewReader(text[at:])).Decode(&raw) == nil && isRequest(raw) {
			requests = append(requests, raw)
		}
	}
	return append(requests, openAPIExamples(t, text)...)
}

func isRequest(raw []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return false
	}
	_, password := members["matchingPassword"]
	return password
}

var fencedYAML = regexp.MustCompile("(?s)````yaml[^\n]*\n(.*?)\n````")

func openAPIExamples(t *testing.T, text []byte) (examples [][]byte) {
	t.Helper()
	for _, block := range fencedYAML.FindAllSubmatch(text, -1) {
		var api struct {
			Components struct {
				Schemas map[string]struct{ Example map[string]any }
			}
		}
		if err := yaml.Unmarshal(block[1], &api); err != nil {
			t.Fatal(err)
		}
		for _, schema := range api.Components.Schemas {
			raw, err := json.Marshal(schema.Example)
			if err != nil {
				t.Fatal(err)
			}
			if isRequest(raw) {
				examples = append(examples, raw)
			}
		}
	}
	return examples
}

// The steps of the script in 002_…: a client that knows nothing of the tenant but what the
// hierarchy tells it.

type scriptHierarchy struct {
	Data struct {
		Categories map[string]scriptCategory `json:"categories"`
	} `json:"data"`
}

type scriptCategory struct {
	DatabaseID   string `json:"databaseId"`
	CategoryID   string `json:"categoryId"`
	CategoryName string `json:"categoryName"`
	Features     []struct {
		DatabaseID    string   `json:"databaseId"`
		FeatureCode   string   `json:"featureCode"`
		MandatoryKeys []string `json:"mandatoryKeys"`
	} `json:"features"`
}

// sent is an object of a request.
type sent = map[string]any

// scriptValues are the branches of the script's switch, tried in lower case, in order.
var scriptValues = []struct {
	key   *regexp.Regexp
	value string
}{
	{regexp.MustCompile("risk.*level"), "MEDIUM"},
	{regexp.MustCompile("risk.*score"), "55"},
	{regexp.MustCompile("pep"), "false"},
	{regexp.MustCompile("sanctions"), "STANDARD"},
	{regexp.MustCompile("monitoring"), "WEEKLY"},
	{regexp.MustCompile("compliance"), "STANDARD_DUE_DILIGENCE"},
	{regexp.MustCompile("edd"), "false"},
	{regexp.MustCompile("monthly.*limit"), "20000"},
	{regexp.MustCompile(""), "MEDIUM_RISK_VALUE"},
}

func scriptValue(key string) string {
	for _, branch := range scriptValues {
		if branch.key.MatchString(strings.ToLower(key)) {
			return branch.value
		}
	}
	return ""
}

func (c scriptCategory) relations() []sent {
	relations := []sent{}
	for _, f := range c.Features {
		parametrization := []sent{}
		for _, key := range f.MandatoryKeys {
			parametrization = append(parametrization, sent{"name": key, "value": scriptValue(key)})
		}
		relations = append(relations, sent{"feature": sent{"id": f.DatabaseID, "code": f.FeatureCode}, "enabled": true, "parametrization": parametrization})
	}
	return relations
}

func (c scriptCategory) request(email string) sent {
	return sent{
		"firstName": "John", "lastName": "Smith", "email": email, "phone": "+1234567890",
		"password": "SecurePass123!", "matchingPassword": "SecurePass123!", "roleIds": []string{"ACCOUNT_OWNER", "USER"},
		"customerCategory": sent{"id": c.DatabaseID, "name": c.CategoryName},
		"individualCustomer": sent{
			"customerName": "John Smith",
			"person": sent{
				"firstName": "John", "lastName": "Smith", "email": email, "dateOfBirth": "1990-01-15", "gender": "MALE", "nationality": "US",
				"addresses": []sent{{"type": "HOME", "street": "123 Main Street", "city": "New York", "postalCode": "10001", "country": "US", "isPrimary": true}},
				"contacts":  []sent{{"type": "EMAIL", "value": email, "isPrimary": true}, {"type": "PHONE", "value": "+1234567890", "isPrimary": false}},
			},
			"user": sent{"username": email, "email": email, "password": "SecurePass123!", "status": "PENDING_ACTIVATION", "roles": []string{"ACCOUNT_OWNER", "USER"},
				"isActive": false, "requiresPasswordChange": false, "twoFactorEnabled": false},
			"categorization": sent{"id": c.CategoryID, "name": c.CategoryName, "description": "Customer category with appropriate risk profile", "isActive": true,
				"categoryFeatureRelations": c.relations(), "parametrization": []sent{}},
		},
	}
}

func TestTheStepsOfTheVendorsScriptLeadToACustomerOfEveryCategory(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	told := d.do(http.MethodGet, d.gateway("/api/v2.1/customer/individual/categorization/hierarchy/"), finsei, nil)
	var hierarchy scriptHierarchy
	if err := json.Unmarshal(told.body, &hierarchy); err != nil || told.status != http.StatusOK || len(hierarchy.Data.Categories) < 6 {
		t.Fatalf("hierarchy: %d %.200s (%v)", told.status, told.body, err)
	}
	for id, category := range hierarchy.Data.Categories {
		t.Run(category.CategoryName, func(t *testing.T) {
			body, err := json.Marshal(category.request("customer." + id[:8] + "@example.com"))
			if err != nil {
				t.Fatal(err)
			}
			a := d.do(http.MethodPost, d.gateway(finhubPath), finsei, body, noHeaders...)
			var answer struct {
				Data struct {
					ID, UserID, PersonID string
					Categorization       struct {
						ID                       string
						CategoryFeatureRelations []struct {
							Parametrization []struct{ Name, Value string }
						}
					}
				}
			}
			if err := json.Unmarshal(a.body, &answer); err != nil || a.status != http.StatusOK {
				t.Fatalf("%d %s (%v)", a.status, a.body, err)
			}
			if answer.Data.ID == "" || answer.Data.UserID == "" || answer.Data.PersonID == "" || answer.Data.Categorization.ID != category.CategoryID {
				t.Errorf("the script reads %+v", answer.Data)
			}
			for i, relation := range answer.Data.Categorization.CategoryFeatureRelations {
				if len(relation.Parametrization) != len(category.Features[i].MandatoryKeys) {
					t.Errorf("%v lacks some of %v", relation.Parametrization, category.Features[i].MandatoryKeys)
				}
				for _, p := range relation.Parametrization {
					if p.Value == "" || p.Value == "MEDIUM_RISK_VALUE" {
						t.Errorf("%s is %q", p.Name, p.Value)
					}
				}
			}
		})
	}
}
