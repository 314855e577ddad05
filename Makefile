# run: the whole pipeline in one process. test: every test but those of real processes; at the end it
# names those that could not run here.
# RERUN='--rerun-fails=1' repeats what failed, and names it.
# check: what CI checks besides. processes: real binaries, killed at random (SCALE=0.1 for less).
# simulation: 10,000 seeds of the services under simulated faults (SEEDS=n), and its mutants.
# cluster: the same with three brokers that fail one after another.
# mongodb: the store's suite, the pipeline and a tenth of the kills, on a real server (needs root).
# images: an image for each service. stack: images and secrets, after which `docker compose up` works;
# stack-local: also the images that compose.local.yml needs where no registry can be reached.
# stack-test: both stacks brought up, scaled and killed (needs Docker Engine and root).
# bench: figures of this machine beside references of the same run (BENCH='-scale 0.1' for less).
SHELL := bash
.SHELLFLAGS := -o pipefail -c
MODULES := events events/examples pkg $(addprefix services/,gateway validator risk accounts notifier ledger usher) $(addprefix deployments/,local kubernetes)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
SUMMED := go run gotest.tools/gotestsum@v1.13.0 --format pkgname $(RERUN)

.PHONY: run test check simulation processes cluster mongodb bench fmt tidy images stack stack-local stack-test alerts

run:
	go run ./services/usher/cmd/usher dev

test:
	$(SUMMED) --packages work -- -race -timeout 20m

simulation:
	cd services/usher/simulation && SEEDS=$${SEEDS:-10000} go test -count=1 -timeout 0 -run '^TestSimulation$$'
	cd services/usher && go test -tags process -count=1 -timeout 0 -v -run Mutants ./simulation

# Every test of a file that is built with the tag, but for those of a cluster.
CLUSTER := ThreeBrokers|EachServiceNeeds
processes:
	cd services/usher && go test -tags process -count=1 -timeout 20m -v . -skip '$(CLUSTER)$(if $(SKIP),|$(SKIP))' -run \
	  "^($$(grep -l '^//go:build process' *_test.go | xargs sed -n 's/^func \(Test[A-Za-z0-9]*\).*/\1/p' | paste -sd'|'))$$"

cluster:
	cd services/usher && go test -tags process -count=1 -timeout 60m -v . -run '$(CLUSTER)'

mongodb: dir := $(shell mktemp -d)
mongodb:
	trap 'deployments/mongodb/test-server.sh stop $(dir)' EXIT && \
	  USHER_TEST_MONGODB=$$(deployments/mongodb/test-server.sh start $(dir) 27099) && export USHER_TEST_MONGODB && \
	  (cd pkg && go test -race -count=1 -run Mongo ./store) && \
	  (cd services/usher && $(SUMMED) --packages . -- -count=1 -timeout 20m) && \
	  SCALE=$${SCALE:-0.1} $(MAKE) processes SKIP='Mutants|WithoutABroker|FullStream|AnUpgrade'

bench:
	cd services/usher && go run ./cmd/bench $(BENCH)

# alerts: the rules and the dashboards by promtool, which comes from Debian's package.
alerts:
	promtool=$$(deployments/prometheus/tools.sh) && $$promtool check config deployments/prometheus/prometheus.yml && \
	  $$promtool test rules deployments/prometheus/rules_test.yml && \
	  cd services/usher && USHER_PROMTOOL=$$promtool go test -count=1 -run PrometheusUnderstands .

stack-test:
	deployments/compose-test.sh
	deployments/compose-test.sh cluster

check:
	deployments/check.sh $(STATICCHECK) $(GOVULNCHECK) $(MODULES)

fmt:
	gofmt -w $(MODULES)

tidy:
	for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy) || exit 1; done

images:
	mkdir -p bin/empty
	for s in usher gateway validator risk accounts notifier ledger; do \
	  CGO_ENABLED=0 GOWORK=off go -C services/$$s build -trimpath -ldflags='-s -w' -o ../../bin/$$s ./cmd/$$s && \
	  tar -c deployments/Dockerfile bin/$$s bin/empty | docker build -q -f deployments/Dockerfile --build-arg SERVICE=$$s -t usher/$$s - || exit 1; done

stack: images
	deployments/secrets.sh secrets

stack-local: stack
	deployments/local/images.sh
