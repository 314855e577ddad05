// Command risk runs the risk service.
package main

import (
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/services/risk"
)

func main() { app.Main(risk.Service) }
