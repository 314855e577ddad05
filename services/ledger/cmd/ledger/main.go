// Command ledger runs the ledger service.
package main

import (
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/services/ledger"
)

func main() { app.Main(ledger.Service) }
