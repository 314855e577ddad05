package finhub

import "github.com/usherhq/usher/pkg/tenant"

type hierarchy struct {
	TenantID   string                       `json:"tenantId"`
	TenantName string                       `json:"tenantName"`
	Categories map[string]hierarchyCategory `json:"categories"` // by databaseId
}

type hierarchyCategory struct {
	DatabaseID string             `json:"databaseId"`
	CategoryID string             `json:"categoryId"`
	Name       string             `json:"categoryName"`
	Features   []hierarchyFeature `json:"features"`
}

type hierarchyFeature struct {
	Code          string              `json:"featureCode"`
	Name          string              `json:"featureName"`
	DatabaseID    string              `json:"databaseId"`
	MandatoryKeys []string            `json:"mandatoryKeys"`
	AllowedValues map[string][]string `json:"allowedValues"`
}

func hierarchyOf(t *tenant.Tenant) hierarchy {
	h := hierarchy{TenantID: t.ID, TenantName: t.Name, Categories: map[string]hierarchyCategory{}}
	for _, c := range t.Catalog.Categories {
		category := hierarchyCategory{DatabaseID: c.DatabaseID, CategoryID: c.CategoryID, Name: c.Name, Features: []hierarchyFeature{}}
		for _, f := range c.Features {
			category.Features = append(category.Features, hierarchyFeature{f.Code, f.Name, f.DatabaseID, f.MandatoryKeys, f.AllowedValues})
		}
		h.Categories[c.DatabaseID] = category
	}
	return h
}

// Hierarchy renders the categories of a tenant as the singular path prints them.
func Hierarchy(t *tenant.Tenant) []byte {
	return encode(struct {
		Code    int       `json:"code"`
		Data    hierarchy `json:"data"`
		Message string    `json:"message"`
	}{200, hierarchyOf(t), "Success"})
}

// SmartHierarchy renders them as the plural path does: without an envelope.
func SmartHierarchy(t *tenant.Tenant) []byte { return encode(hierarchyOf(t)) }
