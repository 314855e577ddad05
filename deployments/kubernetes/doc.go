// Package kubernetes holds the manifests to the types of Kubernetes and KEDA and to the flow of events.
// It has no code but its tests.
package kubernetes
