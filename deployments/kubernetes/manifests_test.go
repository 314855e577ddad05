package kubernetes

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

// each runs a check for every overlay.
func each(t *testing.T, check func(t *testing.T, r rendered)) {
	for _, overlay := range []string{"dev", "production"} {
		t.Run(overlay, func(t *testing.T) { check(t, render(t, overlay)) })
	}
}

func names() (all []string) {
	for _, s := range events.Services {
		all = append(all, string(s))
	}
	slices.Sort(all)
	return all
}

func TestEveryServiceHasAllThatItNeeds(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		for what, got := range map[string][]string{
			"deployments":        slices.Sorted(maps.Keys(r.deployments)),
			"disruption budgets": slices.Sorted(maps.Keys(r.budgets)),
			"scalers":            slices.Sorted(maps.Keys(joined(r.scaled, r.autoscalers))),
			"service accounts":   slices.DeleteFunc(slices.Sorted(maps.Keys(r.accounts)), func(n string) bool { return n == "topology" || n == "operate" }),
		} {
			if !slices.Equal(got, names()) {
				t.Errorf("%s are %v, want %v", what, got, names())
			}
		}
		for name, d := range r.deployments {
			label := map[string]string{"app.kubernetes.io/name": name}
			if d.Spec.Selector.MatchLabels["app.kubernetes.io/name"] != name || d.Spec.Template.Labels["app.kubernetes.io/name"] != name {
				t.Errorf("%s does not select its own pods", name)
			}
			if b := r.budgets[name].Spec; b.MaxUnavailable == nil || *b.MaxUnavailable != intstr.FromInt32(1) || !maps.Equal(b.Selector.MatchLabels, label) {
				t.Errorf("the disruption budget of %s is %+v", name, b)
			}
			if d.Spec.Template.Spec.ServiceAccountName != name {
				t.Errorf("%s runs as account %q", name, d.Spec.Template.Spec.ServiceAccountName)
			}
			if d.Spec.Replicas != nil {
				t.Errorf("%s fixes its replicas, against its scaler", name)
			}
		}
		if r.namespaces["usher"].Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
			t.Error("the namespace does not enforce the restricted standard")
		}
	})
}

func joined[A, B any](a map[string]A, b map[string]B) map[string]bool {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

// pods are the pods of an overlay by the name of what makes them.
func (r rendered) pods() map[string]core.PodSpec {
	pods := map[string]core.PodSpec{}
	for name, d := range r.deployments {
		pods[name] = d.Spec.Template.Spec
	}
	for name, j := range r.jobs {
		pods["job "+name] = j.Spec.Template.Spec
	}
	for name, j := range r.onDemand {
		pods["on demand "+name] = j.Spec.JobTemplate.Spec.Template.Spec
	}
	return pods
}

func TestPodsMayDoNothingBesidesTheirWork(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		for name, pod := range r.pods() {
			if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
				t.Errorf("%s has a token of the cluster", name)
			}
			s := pod.SecurityContext
			if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || *s.RunAsUser == 0 || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
				t.Errorf("the pod of %s is not restricted: %+v", name, s)
			}
			for _, c := range pod.Containers {
				s := c.SecurityContext
				if s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
					t.Errorf("the container of %s is not restricted: %+v", name, s)
				}
				if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() {
					t.Errorf("%s has no requests or no limit: %+v", name, c.Resources)
				}
				for _, e := range c.Env {
					if e.ValueFrom != nil || strings.Contains(e.Value, "@") {
						t.Errorf("%s has %s in its environment; secrets are files", name, e.Name)
					}
				}
			}
			for _, v := range pod.Volumes {
				var mode *int32
				switch {
				case v.Secret != nil:
					mode = v.Secret.DefaultMode
				case v.Projected != nil:
					mode = v.Projected.DefaultMode
				default:
					continue
				}
				if mode == nil || *mode != 0o440 {
					t.Errorf("secret %s of %s can be read by others, or not by it", v.Name, name)
				}
			}
		}
	})
}

// keyFiles are the keys that a volume takes of a secret. That of a tenant's Fincode clients has as
// many as there are tenants.
func keyFiles(secret string, items []core.KeyToPath) (names []string) {
	if secret == "usher-rsa" {
		return []string{"rsa"}
	}
	for _, item := range items {
		names = append(names, strings.TrimSuffix(item.Path, ".json"))
	}
	return names
}

// keysOf are the files that a service's code asks for; the others it must not have.
var keysOf = map[events.Service][]string{
	events.Gateway:   {"credential.pub", "id", "rsa", "vault"},
	events.Validator: {"index", "vault"},
	events.Risk:      {"data", "index", "vault"},
	events.Accounts:  {"activation", "credential", "data", "index", "vault"},
	events.Notifier:  {"activation", "data", "vault"},
	events.Ledger:    {"checkpoint", "checkpoint.pub", "data", "vault"},
}

func TestEveryServiceHasItsOwnSecretsAndNoOthers(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		for service, want := range keysOf {
			var got []string
			for _, v := range r.deployments[string(service)].Spec.Template.Spec.Volumes {
				switch {
				case v.Name == "keys" && v.Secret != nil:
					got = append(got, keyFiles(v.Secret.SecretName, v.Secret.Items)...)
				case v.Name == "keys":
					for _, source := range v.Projected.Sources {
						got = append(got, keyFiles(source.Secret.Name, source.Secret.Items)...)
					}
				case v.Name == "nats" && v.Secret.SecretName != "usher-nats-"+string(service):
					t.Errorf("%s connects to the broker by %s", service, v.Secret.SecretName)
				}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s has the keys %v, want %v", service, got, want)
			}
		}
	})
}

// The longest times that a service takes for its end, of pkg/app and pkg/bus.
const (
	httpDrain = 8 * time.Second
	busDrain  = 8 * time.Second
	telemetry = 3 * time.Second
)

func TestAPodIsReadyBeforeItIsAskedAndHasTimeToEnd(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		for name, d := range r.deployments {
			pod := d.Spec.Template.Spec
			c := pod.Containers[0]
			ports := map[string]int32{}
			for _, p := range c.Ports {
				ports[p.Name] = p.ContainerPort
			}
			for probe, p := range map[string]*core.Probe{"/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
				if p == nil || p.HTTPGet.Path != probe || p.HTTPGet.Port.StrVal != "ops" || ports["ops"] != 9090 {
					t.Errorf("%s is asked %+v, want %s of ops", name, p, probe)
				}
			}
			if c.StartupProbe == nil {
				t.Errorf("%s has no time to start", name)
			}
			pause := time.Duration(0)
			if c.Lifecycle != nil {
				pause = time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
			}
			if _, serves := r.services[name]; serves && pause < 5*time.Second {
				t.Errorf("%s stops while load balancers still send to it", name)
			}
			if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace < pause+httpDrain+busDrain+telemetry+5*time.Second {
				t.Errorf("%s is killed after %v", name, grace)
			}
			if u := d.Spec.Strategy.RollingUpdate; u == nil || *u.MaxUnavailable != intstr.FromInt32(0) {
				t.Errorf("an upgrade of %s stops it", name)
			}
		}
	})
}

func TestScalersFollowConsumersOfTheFlow(t *testing.T) {
	shipped, err := os.ReadFile("../nats/authorization.conf")
	if err != nil {
		t.Fatal(err)
	}
	account := regexp.MustCompile(`(?m)^  (\w+) \{\n    jetstream: enabled`).FindSubmatch(shipped)
	if account == nil {
		t.Fatal("authorization.conf has no account with JetStream")
	}
	consumers := map[string]bus.Consumer{}
	for _, c := range bus.Consumers() {
		consumers[c.Name] = c
	}
	each(t, func(t *testing.T, r rendered) {
		for name, s := range r.scaled {
			if s.Spec.ScaleTargetRef.Name != name || *s.Spec.MinReplicaCount < 1 || *s.Spec.MaxReplicaCount <= *s.Spec.MinReplicaCount {
				t.Errorf("the scaler of %s is %+v", name, s.Spec)
			}
			followed := map[string]bool{}
			for _, trigger := range s.Spec.Triggers {
				m := trigger.Metadata
				c, known := consumers[m["consumer"]]
				if trigger.Type != "nats-jetstream" || !known || string(c.Service) != name || c.Stream != m["stream"] || m["account"] != string(account[1]) {
					t.Errorf("%s is scaled by %s %v", name, trigger.Type, m)
				}
				followed[c.Name] = true
			}
			// Those that customers wait for; the others are seldom or small.
			for _, c := range consumers {
				if string(c.Service) == name && c.InFlight >= 256 && c.Stream == bus.Registrations && !followed[c.Name] {
					t.Errorf("%s is not scaled by its consumer %s", name, c.Name)
				}
			}
		}
		if _, ok := r.autoscalers["gateway"]; !ok {
			t.Error("the gateway, which consumes no queue to speak of, is not scaled by its load")
		}
	})
}

func TestNothingIsReachedThatIsNotListed(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		none := r.networks["nothing-else"].Spec
		if len(none.PodSelector.MatchLabels) != 0 || len(none.PolicyTypes) != 2 || len(none.Ingress)+len(none.Egress) != 0 {
			t.Errorf("what is not listed is let through: %+v", none)
		}
		for name := range r.services {
			p := r.networks[name].Spec
			if len(p.Ingress) != 1 || len(p.Ingress[0].From) == 0 {
				t.Errorf("%s is open to %+v", name, p.Ingress)
			}
			port := r.services[name].Spec.Ports[0].TargetPort.StrVal
			for _, c := range r.deployments[name].Spec.Template.Spec.Containers[0].Ports {
				if c.Name == port && p.Ingress[0].Ports[0].Port.IntVal != c.ContainerPort {
					t.Errorf("%s listens on %d and is let through at %d", name, c.ContainerPort, p.Ingress[0].Ports[0].Port.IntVal)
				}
			}
			if len(r.ingresses[name].Spec.TLS) == 0 || r.ingresses[name].Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name != name {
				t.Errorf("%s has no ingress with TLS", name)
			}
		}
	})
}

func TestWhatOperatesRunsOnlyWhenAsked(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		j, ok := r.onDemand["operate"]
		if !ok || j.Spec.Suspend == nil || !*j.Spec.Suspend {
			t.Errorf("the clock would run %+v", r.onDemand)
		}
	})
}

// The ports that each service connects to outside the cluster: issuers, mail servers, webhooks.
var outside = map[events.Service][]int32{events.Gateway: {443}, events.Ledger: {443}, events.Notifier: {465, 587, 443}}

func TestAServiceReachesWhatItsTenantsConfigure(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		for _, service := range events.Services {
			var got []int32
			for _, e := range r.networks[string(service)].Spec.Egress {
				for _, p := range e.Ports {
					got = append(got, p.Port.IntVal)
				}
			}
			if !slices.Equal(got, outside[service]) {
				t.Errorf("%s is let out at %v, want %v", service, got, outside[service])
			}
		}
	})
}

func TestIngressesServeWhatIsDocumentedAndNothingThatNeedsNoToken(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		for service, documents := range map[string]string{"gateway": "../../services/gateway/*/openapi.yaml", "ledger": "../../services/ledger/openapi.yaml"} {
			var prefixes []string
			for _, p := range r.ingresses[service].Spec.Rules[0].HTTP.Paths {
				prefixes = append(prefixes, strings.TrimSuffix(p.Path, "/")+"/")
			}
			served := func(path string) bool {
				return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(path+"/", prefix) })
			}
			documented := 0
			for _, path := range documentedPaths(t, documents) {
				documented++
				if !served(path) {
					t.Errorf("%s is not reached at %s", service, path)
				}
			}
			if documented == 0 {
				t.Errorf("%s documents nothing", service)
			}
			for _, path := range []string{"/metrics", "/readyz", "/livez"} {
				if served(path) {
					t.Errorf("anybody reads %s of %s", path, service)
				}
			}
		}
	})
}

// documentedPaths are those of OpenAPI documents.
func documentedPaths(t *testing.T, pattern string) (paths []string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var document struct {
			Paths map[string]any `json:"paths"`
		}
		if err := yaml.Unmarshal(raw, &document); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, slices.Collect(maps.Keys(document.Paths))...)
	}
	return paths
}

// Debian's promtool knows no Kubernetes, so this reads the file as what finds the pods.
func TestPrometheusFindsEveryPodUnderTheNameThatAlertsCompare(t *testing.T) {
	raw, err := os.ReadFile("../prometheus/kubernetes.yml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		ScrapeConfigs []struct {
			RelabelConfigs []struct {
				SourceLabels []string `json:"source_labels"`
				Regex        string   `json:"regex"`
				TargetLabel  string   `json:"target_label"`
			} `json:"relabel_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal(raw, &config); err != nil || len(config.ScrapeConfigs) != 1 {
		t.Fatalf("%d jobs, %v", len(config.ScrapeConfigs), err)
	}
	each(t, func(t *testing.T, r rendered) {
		for name, d := range r.deployments {
			pod := d.Spec.Template
			var port string
			for _, p := range pod.Spec.Containers[0].Ports {
				if p.ContainerPort == 9090 {
					port = p.Name
				}
			}
			meta := map[string]string{
				"__meta_kubernetes_pod_annotation_prometheus_io_scrape": pod.Annotations["prometheus.io/scrape"],
				"__meta_kubernetes_pod_container_port_name":             port,
				"__meta_kubernetes_pod_label_app_kubernetes_io_name":    pod.Labels["app.kubernetes.io/name"],
				"__meta_kubernetes_pod_name":                            name + "-0",
			}
			labels := map[string]string{}
			for _, c := range config.ScrapeConfigs[0].RelabelConfigs {
				value, known := meta[c.SourceLabels[0]]
				if !known || c.Regex != "" && value != c.Regex {
					t.Errorf("%s is not read: %s is %q", name, c.SourceLabels[0], value)
				}
				labels[c.TargetLabel] = value
			}
			if labels["service"] != name {
				t.Errorf("%s is known as %q", name, labels["service"])
			}
		}
	})
}

func TestTenantsOfTheOverlaysAreGood(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		c, err := tenant.Parse("tenants.yaml", []byte(r.configs["usher-tenants"].Data["tenants.yaml"]))
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Auth.Tokens) != 0 {
			t.Error("an overlay comes with a token that everybody knows")
		}
	})
	if demo, err := os.ReadFile("overlays/dev/tenants.yaml"); err != nil || string(demo) != string(tenant.DemoFile()) {
		t.Errorf("overlays/dev/tenants.yaml is not pkg/tenant/demo.yaml: %v", err)
	}
}
