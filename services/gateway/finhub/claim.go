package finhub

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/jsonbody"
)

// claim is the category the client asks for: individualCustomer.categorization before
// customerCategory; nil where neither has an id. Features and parameters are kept as sent, also
// the placeholders that the vendor prints. Parameters of the category itself become a last
// feature without id and code.
func (q *request) claim() (*events.CategoryClaim, *jsonbody.Problem) {
	const path = "individualCustomer.categorization"
	var c events.CategoryClaim
	if top := q.CustomerCategory; top != nil {
		c.ID, c.Name, c.Place = top.ID, top.Name, "customerCategory.id"
	}
	nested := q.IndividualCustomer.Categorization
	if nested == nil {
		nested = &category{}
	}
	if !isBlank(nested.ID) {
		c.ID, c.Name, c.Place = nested.ID, nested.Name, path+".id"
	}
	for i, r := range nested.Relations {
		parameters, p := canonical(r.Parametrization, fmt.Sprintf("%s.categoryFeatureRelations[%d]", path, i))
		if p != nil {
			return nil, p
		}
		c.Features = append(c.Features, events.FeatureClaim{ID: r.Feature.ID, Code: r.Feature.Code, Enabled: r.Enabled, Parameters: parameters})
	}
	own, p := canonical(nested.Parametrization, path)
	if p != nil {
		return nil, p
	}
	if len(own) > 0 {
		c.Features = append(c.Features, events.FeatureClaim{Enabled: true, Parameters: own})
	}
	if isBlank(c.ID) {
		return nil, nil
	}
	return &c, nil
}

func canonical(sent []parameter, path string) ([]events.Parameter, *jsonbody.Problem) {
	var parameters []events.Parameter
	for i, s := range sent {
		value, ok := scalar(s.Value)
		if !ok {
			return nil, &jsonbody.Problem{Field: fmt.Sprintf("%s.parametrization[%d].value", path, i), Detail: "must be a string"}
		}
		parameters = append(parameters, events.Parameter{Name: s.Name, Value: value})
	}
	return parameters, nil
}

// scalar returns the text of a string, number or boolean, and "" for null and an absent value.
func scalar(raw json.RawMessage) (string, bool) {
	text := string(raw)
	switch {
	case text == "" || text == "null":
		return "", true
	case strings.HasPrefix(text, "{") || strings.HasPrefix(text, "["):
		return "", false
	case strings.HasPrefix(text, `"`):
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err == nil
	}
	return text, true
}
