package fincode

import "encoding/json"

// The document that Fincode's clients send. Members that are not named here are ignored.

type request struct {
	DevicePlatform   string                      `json:"devicePlatform"`
	AppVersion       string                      `json:"appVersion"`
	AppID            string                      `json:"appId"`
	CustomerType     string                      `json:"customerType"`
	PayloadEncrypted *bool                       `json:"payloadEncrypted"`
	FirstName        string                      `json:"firstName"`
	LastName         string                      `json:"lastName"`
	Email            string                      `json:"email"`
	DialingCode      string                      `json:"dialingCode"`
	Phone            string                      `json:"phone"`
	BirthDate        string                      `json:"dob"`
	Password         string                      `json:"password"`
	ConfirmPassword  string                      `json:"confirmPassword"`
	Address          *address                    `json:"address"`
	DynamicFields    *map[string]json.RawMessage `json:"dynamicFields"` // nil where it is absent, unlike {}
}

// address comes in two shapes: that of the page's requests and that of its program.
type address struct {
	Address1          string `json:"address1"`
	Address2          string `json:"address2"`
	Postcode          string `json:"postcode"`
	CountryCommonName string `json:"countryCommonName"`
	CountryISO3       string `json:"countryIso3"`

	Street     string `json:"street"`
	City       string `json:"city"`
	State      string `json:"state"`
	PostalCode string `json:"postalCode"`
	Country    string `json:"country"`
}
