# run: the whole pipeline in one process. test: every test but those of real processes.
# check: what CI checks besides. processes: real binaries, killed at random (SCALE=0.1 for less).
# cluster: the same with three brokers that fail one after another.
# mongodb: the store's suite, the pipeline and a tenth of the kills, on a real server (needs root).
# bench: figures of this machine beside references of the same run (BENCH='-scale 0.1' for less).
MODULES := events pkg $(addprefix services/,gateway validator risk accounts notifier ledger usher)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: run test check processes cluster mongodb bench fmt tidy images

run:
	go run ./services/usher/cmd/usher dev

test:
	go test -race work

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
	  (cd services/usher && go test -count=1 .) && \
	  SCALE=$${SCALE:-0.1} $(MAKE) processes SKIP='Mutants|WithoutABroker|FullStream'

bench:
	cd services/usher && go run ./cmd/bench $(BENCH)

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
	  docker build -q -f deployments/Dockerfile --build-arg SERVICE=$$s -t usher/$$s . || exit 1; done
