package finhub

import (
	"strings"
	"time"

	"github.com/usherhq/usher/events"
)

// View is what the answers about one customer are made of. Ids are ours, without prefixes;
// TenantID is that of the request's header.
type View struct {
	CustomerID, UserID, PersonID string
	TenantID                     string
	Registration                 events.Registration
	Category                     events.Category
	Features                     []events.Feature
	CreatedAt, UpdatedAt         time.Time
}

type success struct {
	Code        int    `json:"code"`
	Message     string `json:"message"`
	RedirectURL string `json:"redirectUrl"`
	Data        data   `json:"data"`
}

type data struct {
	Organization   bool           `json:"organization"`
	Individual     bool           `json:"individual"`
	ID             string         `json:"id"`
	UserID         string         `json:"userId"`
	PersonID       string         `json:"personId"`
	TenantID       string         `json:"tenantId"`
	CustomerType   string         `json:"customerType"`
	CustomerStatus string         `json:"customerStatus"`
	Categorization categorization `json:"categorization"`
	Person         shownPerson    `json:"person"`
	User           shownUser      `json:"user"`
	Notifications  []string       `json:"notifications"`
	CreatedAt      string         `json:"createdAt"`
	UpdatedAt      string         `json:"updatedAt"`
	Consents       []string       `json:"consents"`
	Associations   []string       `json:"organizationAssociations"`
}

type categorization struct {
	Active          bool               `json:"active"`
	ID              string             `json:"id"`
	Name            string             `json:"name"`
	Description     string             `json:"description"`
	IsActive        bool               `json:"isActive"`
	Relations       []shownRelation    `json:"categoryFeatureRelations"`
	Parametrization []events.Parameter `json:"parametrization"`
}

type shownRelation struct {
	Feature         feature            `json:"feature"`
	Enabled         bool               `json:"enabled"`
	Parametrization []events.Parameter `json:"parametrization"`
}

type shownPerson struct {
	LastName    string         `json:"lastName"`
	FirstName   string         `json:"firstName"`
	ID          string         `json:"id"`
	Names       []shownName    `json:"names"`
	DateOfBirth string         `json:"dateOfBirth,omitempty"`
	Nationality string         `json:"nationality,omitempty"`
	Email       string         `json:"email"`
	Contacts    []string       `json:"contacts"`
	Documents   []string       `json:"documents"`
	Addresses   []shownAddress `json:"addresses"`
}

type shownName struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type shownAddress struct {
	Type       string `json:"type"`
	Street     string `json:"street"`
	City       string `json:"city"`
	State      string `json:"state,omitempty"`
	PostalCode string `json:"postalCode"`
	Country    string `json:"country"`
	IsPrimary  bool   `json:"isPrimary"`
}

type shownUser struct {
	ID                     string   `json:"id"`
	Email                  string   `json:"email"`
	Roles                  []string `json:"roles"`
	Permissions            []string `json:"permissions"`
	IsActive               bool     `json:"isActive"`
	RequiresPasswordChange bool     `json:"requiresPasswordChange"`
	TwoFactorEnabled       bool     `json:"twoFactorEnabled"`
}

// microseconds is the form of the vendor's timestamps.
const microseconds = "2006-01-02T15:04:05.000000Z"

// Success renders the 200 of the singular path. Contacts and roles are empty, as the vendor
// prints them.
func Success(v View) []byte {
	return encode(success{
		Code:        200,
		Message:     "B2C individual account created successfully. Redirect to activate-account page",
		RedirectURL: "/auth/activate-account",
		Data: data{
			Individual:     true,
			ID:             v.CustomerID,
			UserID:         v.UserID,
			PersonID:       v.PersonID,
			TenantID:       v.TenantID,
			CustomerType:   "CT_PERSON",
			CustomerStatus: "CS_REGISTRATION_COMPLETED",
			Categorization: v.categorization(),
			Person:         v.person(),
			User:           shownUser{ID: v.UserID, Email: v.Registration.Applicant.Email, Roles: []string{}, Permissions: []string{}},
			Notifications:  []string{},
			CreatedAt:      v.CreatedAt.UTC().Format(microseconds),
			UpdatedAt:      v.UpdatedAt.UTC().Format(microseconds),
			Consents:       []string{},
			Associations:   []string{},
		},
	})
}

func (v View) categorization() categorization {
	c := categorization{
		Active:          true,
		ID:              v.Category.ID,
		Name:            v.Category.Name,
		Description:     v.Category.Description,
		IsActive:        true,
		Relations:       []shownRelation{},
		Parametrization: []events.Parameter{},
	}
	for _, f := range v.Features {
		c.Relations = append(c.Relations, shownRelation{
			Feature: feature{ID: f.ID, Code: f.Code}, Enabled: f.Enabled,
			Parametrization: append([]events.Parameter{}, f.Parameters...),
		})
	}
	return c
}

func (v View) person() shownPerson {
	a := v.Registration.Applicant
	p := shownPerson{
		LastName:    a.FamilyName,
		FirstName:   a.GivenName,
		ID:          v.PersonID,
		Names:       []shownName{{"FIRST", a.GivenName}, {"LAST", a.FamilyName}},
		DateOfBirth: a.BirthDate,
		Nationality: a.Nationality,
		Email:       a.Email,
		Contacts:    []string{},
		Documents:   []string{},
		Addresses:   []shownAddress{},
	}
	if id := v.Registration.ExternalIDs[clientPersonID]; id != "" {
		p.ID = id
	}
	for _, home := range a.Addresses {
		p.Addresses = append(p.Addresses, shownAddress{
			Type: home.Type, Street: strings.Join(home.Lines, ", "), City: home.City, State: home.Region,
			PostalCode: home.PostalCode, Country: home.Country, IsPrimary: home.Primary,
		})
	}
	return p
}
