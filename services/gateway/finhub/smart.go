package finhub

// Prefixes of the ids that the plural path, customers/individual/register, prints before ours.
const (
	customerPrefix = "cust_"
	userPrefix     = "user_"
	personPrefix   = "pers_"
)

type smartSuccess struct {
	Data smartData `json:"data"`
}

type smartData struct {
	ID       string     `json:"id"`
	UserID   string     `json:"userId"`
	PersonID string     `json:"personId"`
	User     *smartUser `json:"user,omitempty"`
	Status   string     `json:"status"`
}

type smartUser struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Status   string `json:"status"`
}

// SmartSuccess renders the 200 of the plural path. A customer without a user name is shown with
// the e-mail address in its place.
func SmartSuccess(v View) []byte {
	username := v.Registration.Username
	if username == "" {
		username = v.Registration.Applicant.Email
	}
	d := v.smart("REGISTRATION_COMPLETE")
	d.User = &smartUser{ID: d.UserID, Username: username, Status: "PENDING_ACTIVATION"}
	return encode(smartSuccess{d})
}

func (v View) smart(status string) smartData {
	return smartData{
		ID:       customerPrefix + v.CustomerID,
		UserID:   userPrefix + v.UserID,
		PersonID: personPrefix + v.PersonID,
		Status:   status,
	}
}

// Pending is why an accepted registration has no account yet.
type Pending string

const (
	InReview   Pending = "PENDING_REVIEW"       // a person has to decide
	InProgress Pending = "REGISTRATION_PENDING" // no outcome within the time of the answer
)

var pendingMessages = map[Pending]string{
	InReview:   "Registration is under review",
	InProgress: "Registration is accepted and in progress",
}

type pending struct {
	Code    int         `json:"code"`
	Message string      `json:"message"`
	Data    pendingData `json:"data"`
}

type pendingData struct {
	ID             string `json:"id"`
	UserID         string `json:"userId"`
	PersonID       string `json:"personId"`
	TenantID       string `json:"tenantId"`
	CustomerStatus string `json:"customerStatus"`
}

// Accepted renders the 202 of the singular path; of v it reads the ids.
func Accepted(v View, why Pending) []byte {
	return encode(pending{Code: 202, Message: pendingMessages[why], Data: pendingData{
		ID: v.CustomerID, UserID: v.UserID, PersonID: v.PersonID, TenantID: v.TenantID, CustomerStatus: "CS_" + string(why),
	}})
}

// SmartAccepted renders the 202 of the plural path; of v it reads the ids.
func SmartAccepted(v View, why Pending) []byte {
	return encode(smartSuccess{v.smart(string(why))})
}
