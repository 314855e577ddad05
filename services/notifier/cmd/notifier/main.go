// Command notifier runs the notifier service.
package main

import (
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/services/notifier"
)

func main() { app.Main(notifier.Service) }
