// Command validator runs the validator service.
package main

import (
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/services/validator"
)

func main() { app.Main(validator.Service) }
