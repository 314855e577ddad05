package tenant

import "time"

// Tenant is one customer of this installation.
type Tenant struct {
	ID       string   `yaml:"id"`
	Name     string   `yaml:"name"`
	Disabled bool     `yaml:"disabled"` // intake 403; what is open finishes
	Dialects Dialects `yaml:"dialects"`
	// Unique lists what no two accounts share: email, username, memberNumber, nationalId.
	Unique      []string   `yaml:"unique"` // default email, username
	Roles       []string   `yaml:"roles"`  // that a registration may ask for; default ACCOUNT_OWNER, USER
	Password    Password   `yaml:"password"`
	Activation  Activation `yaml:"activation"`
	Mail        Mail       `yaml:"mail"`
	Delivery    Delivery   `yaml:"delivery"`
	Page        Page       `yaml:"page"`
	SyncTimeout Duration   `yaml:"syncTimeout"` // how long a vendor call waits for its outcome; default 10s
	CORSOrigins []string   `yaml:"corsOrigins"` // exact origins, as browsers send them
	Limits      Limits     `yaml:"limits"`
	Argon2      Argon2     `yaml:"argon2"`
	CatalogName string     `yaml:"catalog"`
	PolicyName  string     `yaml:"policy"`

	Catalog *Catalog `yaml:"-"`
	Policy  *Policy  `yaml:"-"`
	// ConfigVersion is the Version of the Config that this is part of.
	ConfigVersion string `yaml:"-"`
}

// Dialects are the HTTP dialects a tenant accepts; an absent one is refused.
type Dialects struct {
	Native     bool        `yaml:"native"`
	FinHub     *FinHub     `yaml:"finhub"`
	Fincode    *Fincode    `yaml:"fincode"`
	Candescent *Candescent `yaml:"candescent"`
}

// FinHub are the settings of the FinHub dialect.
type FinHub struct {
	LenientHeaders bool `yaml:"lenientHeaders"` // demand only Authorization, X-Tenant-ID, Content-Type
	FlatBody       bool `yaml:"flatBody"`       // accept a body without individualCustomer.person
}

// Fincode are the settings of the Fincode dialect.
type Fincode struct {
	Auth           string `yaml:"auth"`           // token (default) or none
	AllowAnonymous bool   `yaml:"allowAnonymous"` // accept auth: none outside the demonstration
	HostLabel      string `yaml:"hostLabel"`      // the tenant in {tenant}.fincode.software
	Platform       string `yaml:"platform"`       // value of the platform header; default fincode
	AllowPlain     bool   `yaml:"allowPlain"`     // accept payloadEncrypted: false
	StrictPhone    bool   `yaml:"strictPhone"`    // refuse numbers that no numbering plan has
}

// Candescent are the settings of the Candescent dialect.
type Candescent struct {
	InstitutionID string       `yaml:"institutionId"`
	UserNameMin   int          `yaml:"userNameMin"` // default 8
	UserNameMax   int          `yaml:"userNameMax"` // default 20
	PasswordMin   int          `yaml:"passwordMin"` // default 6
	PasswordMax   int          `yaml:"passwordMax"` // default 32
	Disclosures   []Disclosure `yaml:"disclosures"` // all must be accepted
}

// Disclosure is a document an applicant must accept.
type Disclosure struct {
	ID      string `yaml:"id"`
	Version string `yaml:"version"`
}

// Password bounds passwords. The vendors' dialects have minimal lengths of their own.
type Password struct {
	MinLength int `yaml:"minLength"` // code points, of the native dialect; default 8
	MaxLength int `yaml:"maxLength"` // bytes, default 256
	// Words are what a password may not contain besides the tenant's name: of products, say. They
	// count where a dialect compares passwords with the person.
	Words []string `yaml:"words"`
}

// Page is how the activation page looks.
type Page struct {
	Accent string `yaml:"accent"` // colour of its button and its edge, #rrggbb; default #1f4e79
}

// Activation are the rules of the activation code.
type Activation struct {
	CodeValidity   Duration `yaml:"codeValidity"`   // default 24h
	ResendCooldown Duration `yaml:"resendCooldown"` // default 60s
	ResendsPerDay  int      `yaml:"resendsPerDay"`  // default 5
	MaxTries       int      `yaml:"maxTries"`       // wrong codes that lock a code, default 10
	// ExpireAfter is how long an account waits for its activation; then it ends. Default six sevenths
	// of broker.maxAge, which is also the most.
	ExpireAfter  Duration `yaml:"expireAfter"`
	RemindBefore Duration `yaml:"remindBefore"` // a mail so long before that; default 0, none
	KeepUnique   bool     `yaml:"keepUnique"`   // what is unique of an account that ended stays taken
	TriesPerDay  int      `yaml:"triesPerDay"`  // codes that did not activate in any 24 hours, default 30
}

// Mail is the sender of a tenant's mails, and their language.
type Mail struct {
	From     string `yaml:"from"`
	FromName string `yaml:"fromName"` // default the tenant's name
	Language string `yaml:"language"` // en (default) or de; also of the activation page, for whose browser asks for neither
	// Templates are the tenant's own mails: activation, reminder, notice, each by language. What is
	// not there is ours.
	Templates MailTemplates `yaml:"templates"`
	// DuplicateNotice tells the owner of an active account, at most once a day, that somebody tried
	// to register with their address, member number or national id; default false.
	DuplicateNotice bool `yaml:"duplicateNotice"`
}

// Delivery is how messages reach a tenant's applicants.
type Delivery struct {
	By string `yaml:"by"` // mail (default), or webhook: a gateway of text messages, say
	// URL takes a POST for each message. It must be public, or in USHER_EGRESS_ALLOW.
	URL string `yaml:"url"`
	// SecretFile is the absolute path, where notifier runs, of what requests are signed with.
	SecretFile string `yaml:"secretFile"`
	// Signature is standard-webhooks (default): headers webhook-id, webhook-timestamp and
	// webhook-signature; or hmac-sha256, of the body alone.
	Signature string `yaml:"signature"`
	Header    string `yaml:"header"` // of hmac-sha256, as sha256=HEX; default X-Signature
}

// Values of Delivery.
const (
	ByMail           = "mail"
	ByWebhook        = "webhook"
	StandardWebhooks = "standard-webhooks"
	HMACSHA256       = "hmac-sha256"
)

// Limits bound what a tenant's clients may do; 0 means no bound.
type Limits struct {
	PerTenant  float64 `yaml:"perTenant"`  // requests per second; a line of a batch counts as one
	PerAddress float64 `yaml:"perAddress"` // requests per second of one client address
	// MaxUnfinished bounds the registrations the pipeline still works on: neither ended nor
	// with their activation mail sent.
	MaxUnfinished int64 `yaml:"maxUnfinished"`
}

// Argon2 are the parameters of argon2id (RFC 9106). Where they rise, later passwords are hashed by
// them, and accounts of before are marked at their next event.
type Argon2 struct {
	MemoryKiB uint32 `yaml:"memoryKiB" json:"memoryKiB"` // default 19456
	Time      uint32 `yaml:"time" json:"time"`           // passes, default 2
	Lanes     uint8  `yaml:"lanes" json:"lanes"`         // default 1
}

func (t *Tenant) setDefaults() {
	t.Unique = []string{"email", "username"}
	t.Roles = []string{"ACCOUNT_OWNER", "USER"}
	t.Password = Password{MinLength: 8, MaxLength: 256}
	t.Activation = Activation{
		CodeValidity:   Duration(24 * time.Hour),
		ResendCooldown: Duration(time.Minute),
		ResendsPerDay:  5,
		MaxTries:       10,
		TriesPerDay:    30,
	}
	t.Mail.Language = "en"
	t.Delivery = Delivery{By: ByMail, Signature: StandardWebhooks, Header: "X-Signature"}
	t.Page.Accent = "#1f4e79"
	t.SyncTimeout = Duration(10 * time.Second)
	t.Argon2 = Argon2{MemoryKiB: 19456, Time: 2, Lanes: 1}
}

func (f *Fincode) setDefaults() { f.Auth, f.Platform = "token", "fincode" }

func (c *Candescent) setDefaults() {
	c.UserNameMin, c.UserNameMax = 8, 20
	c.PasswordMin, c.PasswordMax = 6, 32
}
