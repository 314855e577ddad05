package tenant

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// small is a valid file that leaves everything to the defaults.
const small = `
catalogs:
  people:
    version: "1"
    defaultCategory: B2C
    categories: [{databaseId: d1, categoryId: B2C, name: People, level: LOW}]
policies: {standard: {version: "1", screening: {off: true}}}
tenants:
  - id: acme
    name: Acme
    dialects: {native: true, fincode: {}, candescent: {institutionId: "01111"}}
    catalog: people
    policy: standard
    mail: {from: no-reply@acme.example}
`

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatAFileLeavesOutHasItsDefault(t *testing.T) {
	c := parse(t, small)
	if want := (Broker{MaxAge: Duration(168 * time.Hour), Replicas: 1, MaxBytes: 8 << 30, VaultMaxBytes: 4 << 30, HighWater: 0.8}); c.Broker != want {
		t.Errorf("broker %+v, want %+v", c.Broker, want)
	}
	a, _ := c.Tenant("acme")
	if want := (Activation{Duration(24 * time.Hour), Duration(time.Minute), 5, 10, Duration(144 * time.Hour), 0, false, 30}); a.Activation != want {
		t.Errorf("activation %+v, want %+v", a.Activation, want)
	}
	for setting, ok := range map[string]bool{
		"unique":              slices.Equal(a.Unique, []string{"email", "username"}),
		"roles":               slices.Equal(a.Roles, []string{"ACCOUNT_OWNER", "USER"}),
		"password":            a.Password.MinLength == 8 && a.Password.MaxLength == 256 && a.Password.Words == nil,
		"argon2":              a.Argon2 == Argon2{19456, 2, 1},
		"page":                a.Page == Page{"#1f4e79"},
		"syncTimeout":         a.SyncTimeout == Duration(10*time.Second),
		"limits":              a.Limits == Limits{},
		"mail":                reflect.DeepEqual(a.Mail, Mail{From: "no-reply@acme.example", FromName: "Acme", Language: "en"}),
		"policy":              a.Policy == c.Policies["standard"] && a.Policy.Medium == 40 && a.Policy.High == 70,
		"catalog":             a.Catalog == c.Catalogs["people"],
		"fincode":             *a.Dialects.Fincode == Fincode{Auth: "token", Platform: "fincode"},
		"candescent":          a.Dialects.Candescent.UserNameMin == 8 && a.Dialects.Candescent.UserNameMax == 20,
		"its passwords":       a.Dialects.Candescent.PasswordMin == 6 && a.Dialects.Candescent.PasswordMax == 32,
		"a dialect left out":  a.Dialects.FinHub == nil,
		"an unknown tenant":   !slices.Contains(c.TenantIDs(), "other"),
		"the list of tenants": slices.Equal(c.TenantIDs(), []string{"acme"}),
	} {
		if !ok {
			t.Errorf("%s: wrong default in %+v", setting, a)
		}
	}
}

func TestAValueThatIsGivenReplacesOnlyItsOwnDefault(t *testing.T) {
	c := parse(t, "broker: {replicas: 3}"+small+"    unique: []\n    activation: {maxTries: 3}\n")
	a, _ := c.Tenant("acme")
	if c.Broker.Replicas != 3 || c.Broker.MaxBytes != 8<<30 {
		t.Errorf("broker %+v", c.Broker)
	}
	if a.Activation.MaxTries != 3 || a.Activation.ResendsPerDay != 5 || len(a.Unique) != 0 {
		t.Errorf("activation %+v, unique %v", a.Activation, a.Unique)
	}
}

func TestTheVersionNamesTheContent(t *testing.T) {
	a, same, other := parse(t, small), parse(t, small), parse(t, small+"# changed\n")
	if len(a.Version) != 12 || a.Version != same.Version || a.Version == other.Version {
		t.Errorf("versions %q, %q of the same and %q of other content", a.Version, same.Version, other.Version)
	}
}

func TestATenantNamesItsVersionAndAReplacementChangesNoTenant(t *testing.T) {
	first, second := parse(t, small), parse(t, strings.Replace(small, "name: Acme", "name: Acne", 1))
	live := NewLive(first)
	before, _ := live.Tenant("acme")
	live.Replace(second)
	after, _ := live.Tenant("acme")
	if before.ConfigVersion != first.Version || after.ConfigVersion != second.Version || before.Name != "Acme" || after.Name != "Acne" {
		t.Errorf("before %s %s, after %s %s", before.ConfigVersion, before.Name, after.ConfigVersion, after.Name)
	}
}

func TestEveryProblemOfAFileIsReportedAtOnceWithItsLine(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "broken.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "broken.golden"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("broken.yaml", raw)
	if err == nil {
		t.Fatal("the file was accepted")
	}
	if got := err.Error() + "\n"; got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if strings.Contains(err.Error(), "open-sesame") {
		t.Error("a token written in clear is repeated")
	}
}

func TestAFileThatIsNotThereIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestAFileIsLoaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "usher.yaml")
	if err := os.WriteFile(path, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil || len(c.Tenants) != 1 {
		t.Errorf("got %v, %v", c, err)
	}
}

func FuzzParse(f *testing.F) {
	broken, err := os.ReadFile(filepath.Join("testdata", "broken.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(demo)
	f.Add(broken)
	f.Add([]byte(small))
	f.Add([]byte("tenants: [null, {id: x}]\ncatalogs: {a: null}\n"))
	f.Add([]byte("a: &a [*a, *a]\nb: *a\n<<: *a\n? [x]\n: !!int y\n"))
	f.Add([]byte("a: 1\n---\n---\n"))
	f.Add([]byte("auth:\n tokens:\n - tenants: !00\nb: 1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := Parse("fuzz.yaml", raw)
		if (c == nil) == (err == nil) {
			t.Fatalf("configuration %v with error %v", c, err)
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "fuzz.yaml:") {
					t.Errorf("no position in %q", line)
				}
			}
			return
		}
		for _, tenant := range c.Tenants {
			if tenant.Catalog == nil || tenant.Policy == nil {
				t.Errorf("tenant %q has no catalog or no policy", tenant.ID)
			}
		}
	})
}
