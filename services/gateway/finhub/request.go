package finhub

import "encoding/json"

// The documents that FinHub's clients send. Members that are not named here are ignored.

type request struct {
	TenantID           string      `json:"tenantId"`
	FirstName          string      `json:"firstName"`
	LastName           string      `json:"lastName"`
	Email              string      `json:"email"`
	Phone              string      `json:"phone"`
	Password           string      `json:"password"`
	MatchingPassword   string      `json:"matchingPassword"`
	RoleIDs            []string    `json:"roleIds"`
	DateOfBirth        string      `json:"dateOfBirth"`
	Gender             string      `json:"gender"`
	Nationality        string      `json:"nationality"`
	PlaceOfBirth       string      `json:"placeOfBirth"`
	Pincode            string      `json:"pincode"`
	CustomerCategory   *category   `json:"customerCategory"`
	IndividualCustomer *individual `json:"individualCustomer"`
}

type individual struct {
	TenantID       string    `json:"tenantId"`
	CustomerName   string    `json:"customerName"`
	Person         *person   `json:"person"`
	User           user      `json:"user"`
	Categorization *category `json:"categorization"`
}

type person struct {
	ID           string    `json:"id"`
	FirstName    string    `json:"firstName"`
	LastName     string    `json:"lastName"`
	Email        string    `json:"email"`
	DateOfBirth  string    `json:"dateOfBirth"`
	Gender       string    `json:"gender"`
	Nationality  string    `json:"nationality"`
	PlaceOfBirth string    `json:"placeOfBirth"`
	Pincode      string    `json:"pincode"`
	Addresses    []address `json:"addresses"`
	Contacts     []contact `json:"contacts"`
}

type address struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	Street     string `json:"street"`
	City       string `json:"city"`
	State      string `json:"state"`
	PostalCode string `json:"postalCode"`
	Country    string `json:"country"`
	IsPrimary  bool   `json:"isPrimary"`
}

type contact struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Value     string `json:"value"`
	IsPrimary bool   `json:"isPrimary"`
}

// user leaves out status, isActive, roles and the flags: they are ours to set.
type user struct {
	ID       string `json:"id"`
	TenantID string `json:"tenantId"`
	Username string `json:"username"`
	Email    string `json:"email"`
	Password string `json:"password"`
}

type category struct {
	ID              string      `json:"id"`
	Name            string      `json:"name"`
	Relations       []relation  `json:"categoryFeatureRelations"`
	Parametrization []parameter `json:"parametrization"`
}

type relation struct {
	Feature         feature     `json:"feature"`
	Enabled         bool        `json:"enabled"`
	Parametrization []parameter `json:"parametrization"`
}

type feature struct {
	ID   string `json:"id"`
	Code string `json:"code"`
}

// parameter has its value as a string in the vendor's examples; scripts also send numbers and
// booleans.
type parameter struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}
