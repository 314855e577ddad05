package kubernetes

import (
	"bytes"
	"fmt"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// rendered is what an overlay makes, by name.
type rendered struct {
	deployments map[string]apps.Deployment
	jobs        map[string]batch.Job
	onDemand    map[string]batch.CronJob
	scaled      map[string]keda.ScaledObject
	autoscalers map[string]autoscaling.HorizontalPodAutoscaler
	budgets     map[string]policy.PodDisruptionBudget
	services    map[string]core.Service
	accounts    map[string]core.ServiceAccount
	configs     map[string]core.ConfigMap
	networks    map[string]networking.NetworkPolicy
	ingresses   map[string]networking.Ingress
	namespaces  map[string]core.Namespace
}

// render builds an overlay as `kubectl apply -k` does, and decodes each object into its type; a field
// that the type does not have is an error.
func render(t *testing.T, overlay string) rendered {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "overlays/"+overlay)
	if err != nil {
		t.Fatal(err)
	}
	r := rendered{
		map[string]apps.Deployment{}, map[string]batch.Job{}, map[string]batch.CronJob{}, map[string]keda.ScaledObject{}, map[string]autoscaling.HorizontalPodAutoscaler{},
		map[string]policy.PodDisruptionBudget{}, map[string]core.Service{}, map[string]core.ServiceAccount{}, map[string]core.ConfigMap{},
		map[string]networking.NetworkPolicy{}, map[string]networking.Ingress{}, map[string]core.Namespace{},
	}
	for _, object := range made.Resources() {
		raw, err := object.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.add(object.GetApiVersion()+" "+object.GetKind(), object.GetName(), raw); err != nil {
			t.Errorf("%s: %s %s: %v", overlay, object.GetKind(), object.GetName(), err)
		}
	}
	return r
}

func (r rendered) add(kind, name string, raw []byte) error {
	switch kind {
	case "apps/v1 Deployment":
		return decode(r.deployments, name, raw)
	case "batch/v1 Job":
		return decode(r.jobs, name, raw)
	case "batch/v1 CronJob":
		return decode(r.onDemand, name, raw)
	case "keda.sh/v1alpha1 ScaledObject":
		return decode(r.scaled, name, raw)
	case "autoscaling/v2 HorizontalPodAutoscaler":
		return decode(r.autoscalers, name, raw)
	case "policy/v1 PodDisruptionBudget":
		return decode(r.budgets, name, raw)
	case "v1 Service":
		return decode(r.services, name, raw)
	case "v1 ServiceAccount":
		return decode(r.accounts, name, raw)
	case "v1 ConfigMap":
		return decode(r.configs, name, raw)
	case "networking.k8s.io/v1 NetworkPolicy":
		return decode(r.networks, name, raw)
	case "networking.k8s.io/v1 Ingress":
		return decode(r.ingresses, name, raw)
	case "v1 Namespace":
		return decode(r.namespaces, name, raw)
	}
	return fmt.Errorf("the tests know no %s", kind)
}

func decode[T any](into map[string]T, name string, raw []byte) error {
	var object T
	if err := yaml.UnmarshalStrict(raw, &object); err != nil {
		return err
	}
	if _, twice := into[name]; twice {
		return fmt.Errorf("it is there twice")
	}
	into[name] = object
	return nil
}

func TestAFieldThatTheTypesDoNotHaveIsAnError(t *testing.T) {
	for name, wrong := range map[string]string{
		"a field by a wrong name":    "spec: {replica: 2}",
		"a number in words":          "spec: {replicas: two}",
		"a probe in the wrong place": "spec: {template: {spec: {livenessProbe: {}}}}",
	} {
		raw := []byte("apiVersion: apps/v1\nkind: Deployment\n" + wrong + "\n")
		if err := decode(map[string]apps.Deployment{}, "x", raw); err == nil {
			t.Errorf("%s is taken: %s", name, bytes.TrimSpace(raw))
		}
	}
}
