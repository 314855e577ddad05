package finhub

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// OwnUser reports whether the userId of an activation request can be this customer's. A UUID,
// also after "user_", must be ours; any other value, such as the user name, is not checked:
// the code decides.
func OwnUser(sent, ours string) bool {
	id := strings.TrimPrefix(sent, userPrefix)
	return !uuid.MatchString(id) || strings.EqualFold(id, ours)
}

// OwnCustomer is our id of a customer, also of one as the plural path prints it.
func OwnCustomer(sent string) string { return strings.TrimPrefix(sent, customerPrefix) }

// Activated renders the 200 of the activation.
func Activated(at time.Time) []byte {
	type data struct {
		Status      string    `json:"status"`
		ActivatedAt time.Time `json:"activatedAt"`
	}
	raw, _ := json.Marshal(struct {
		Code    int    `json:"code"`
		Data    data   `json:"data"`
		Message string `json:"message"`
	}{200, data{"ACTIVATED", at.UTC()}, "Success"})
	return raw
}
