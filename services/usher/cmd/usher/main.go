// Command usher runs the whole pipeline in one process, and holds the operator's commands.
package main

import "github.com/usherhq/usher/services/usher"

func main() { usher.Main() }
