package finhub

import _ "embed"

// OpenAPI is the dialect's document (OpenAPI 3.1).
//
//go:embed openapi.yaml
var OpenAPI []byte
