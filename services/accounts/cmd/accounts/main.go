// Command accounts runs the accounts service.
package main

import (
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/services/accounts"
)

func main() { app.Main(accounts.Service) }
