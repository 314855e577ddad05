// Command gateway runs the gateway service.
package main

import (
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/services/gateway"
)

func main() { app.Main(gateway.Service) }
