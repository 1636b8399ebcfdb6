# On a new machine, `make demo` and `make test` are all you need.

SHELL = bash
.SHELLFLAGS = -o pipefail -c

INPUT = .deps/media/bikes.mp4
PROMPT = thermal camera
OUT = out/demo.mp4
DEMOFLAGS =
SERVEFLAGS =
# Replace only the default output without asking.
REPLACE = $(if $(filter-out out/demo.mp4,$(OUT)),,-y)
TESTFLAGS =
CASES = 20000
SEED = $(shell date +%Y%m%d)
SECONDS = 60
MINUTES = 5
CYCLES = 1000
BUILDFLAGS =
PREFIX = /usr/local
DESTDIR =

SWAN = .build/release/swan
# Touched after a build, because a build without changes does not update the program's timestamp.
BUILT = .build/swan-release.built
# Include directories, whose timestamps change when a file is removed.
SOURCES := Package.swift scripts/bootstrap $(shell find Sources 2>/dev/null)

# Finds libtorch if setup could not write to pkg-config's search path.
export PKG_CONFIG_PATH := $(CURDIR)/.deps/pkgconfig$(if $(PKG_CONFIG_PATH),:$(PKG_CONFIG_PATH))
# Passed through the environment so that a prompt may contain quotes.
export INPUT PROMPT OUT

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables: INPUT, PROMPT, OUT, DEMOFLAGS (demo), SERVEFLAGS, TESTFLAGS (test), BUILDFLAGS (all builds)'
	@echo '           PREFIX, DESTDIR (install)'
	@echo '           CASES, SEED (fuzz), SECONDS (fuzz-media), MINUTES, CYCLES (test-soak)'

.PHONY: setup
setup: ## Install missing dependencies: Debian packages, libtorch, sample clips
	@scripts/bootstrap

.PHONY: build
build: $(BUILT) ## Build `swan` in release mode

$(BUILT): $(SOURCES) $(if $(wildcard $(SWAN)),,rebuild) | setup
	swift build -c release --product swan $(BUILDFLAGS)
	@touch $@

.PHONY: rebuild
rebuild:

.PHONY: install
install: setup ## Install below PREFIX=/usr/local a program for all users, which needs no Swift
	scripts/package install --prefix "$(PREFIX)" --destdir "$(DESTDIR)" --build-flags "$(BUILDFLAGS)"

.PHONY: dist
dist: setup ## Make an archive and a Debian package for Debian 12/13 and Ubuntu 22.04/24.04 in dist/
	scripts/package dist --build-flags "$(BUILDFLAGS)"

.PHONY: demo
demo: $(BUILT) ## Restyle a video: make demo INPUT=any.mp4 PROMPT="at night" OUT=out/demo.mp4
	@mkdir -p "$$(dirname "$$OUT")"
	$(SWAN) stream "$$INPUT" --prompt "$$PROMPT" -o "$$OUT" $(REPLACE) $(DEMOFLAGS)

.PHONY: serve
serve: $(BUILT) ## Restyle your camera in the browser: make serve SERVEFLAGS="--port 8000"
	$(SWAN) serve $(SERVEFLAGS)

.PHONY: sheet
sheet: $(BUILT) ## Draw docs/media/styles.png: three clips in every style of the bundled model
	@mkdir -p docs/media
	$(SWAN) bench tiny-quality --measures styles --bare --max-frames 41 \
	    --sheet docs/media/styles.png -y

.PHONY: picture
picture: $(BUILT) setup-peers ## Take docs/media/page.png, a picture of the page of `swan serve`
	SWAN=$(SWAN) .deps/python/bin/python -B Tests/serve/screenshot.py docs/media/page.png

# Tests run in parallel, so libtorch's threads must not spin while they wait. Failures are repeated at the
# end, where they are easy to find.
.PHONY: test
test: setup ## Run all tests, or some of those in Swift with TESTFLAGS="--filter Torch"
	swift build --build-tests $(BUILDFLAGS)
	@status=0; if [ -z "$(TESTFLAGS)" ]; then $(MAKE) test-peers || status=1; fi; \
	    mkdir -p .build; log=.build/test.log; \
	    if OMP_WAIT_POLICY=passive swift test --skip-build $(BUILDFLAGS) $(TESTFLAGS) 2>&1 | tee $$log; \
	    then exit $$status; fi; \
	    echo; echo 'Failures:'; grep -E '^✘|error:' $$log | cut -c 1-300; exit 1

# The programs of others that Swan must work with, and hostile ones: browsers, ffmpeg, SDKs, raw sockets; and
# jobs of several processes, which are killed, stopped and cut off.
.PHONY: test-peers
test-peers: setup-peers ## Test the server and live video with browsers, ffmpeg, SDKs and hostile clients
	swift build --build-tests $(BUILDFLAGS)
	.deps/python/bin/python -B Tests/tools/run $(PEERFLAGS) Tests/serve Tests/live \
	    Tests/distributed Tests/packaging

.PHONY: setup-peers
setup-peers:
	@scripts/bootstrap --test-tools

# A separate package, because ThreadSanitizer must instrument all code that runs. A reported race fails the
# run.
.PHONY: tsan
tsan: ## Run the tests of a stream's threads under ThreadSanitizer
	swift test --package-path Tests/threads --scratch-path .build-tsan --sanitize=thread

# Findings stay in .build/fuzz/findings, each with the command that reproduces it.
.PHONY: fuzz
fuzz: $(BUILT) ## Fuzz the release build with damaged models: make fuzz CASES=1000 SEED=7
	swift build -c release --product fuzz-seeds $(BUILDFLAGS)
	rm -rf .build/fuzz/seeds && mkdir -p .build/fuzz
	.build/release/fuzz-seeds .build/fuzz/seeds
	Tests/fuzz/mutate.py --swan $(SWAN) --seeds .build/fuzz/seeds --cases $(CASES) --seed $(SEED) \
	    --findings .build/fuzz/findings

.PHONY: fuzz-media
fuzz-media: setup ## Fuzz the media reader for SECONDS=60
	swift build --product fuzz-seeds $(BUILDFLAGS)
	@Tests/fuzz/media $(SECONDS)

.PHONY: test-soak
test-soak: setup-peers ## Watch the server for MINUTES=5 and CYCLES=1000 sessions; failing jobs, killed trainings
	swift build --product swan $(BUILDFLAGS)
	swift build --product ranks-probe $(BUILDFLAGS)
	.deps/python/bin/python -B Tests/distributed/soak.py --cycles 100
	.deps/python/bin/python -B Tests/distributed/killed.py --kills 20
	.deps/python/bin/python -B Tests/serve/soak.py --minutes $(MINUTES) --cycles $(CYCLES)

# The library as another package sees it: no flags but where libtorch is, nothing but the product.
.PHONY: example
example: setup ## Build and run Examples/StreamFrames, a package that depends on Swan
	swift build --package-path Examples/StreamFrames --scratch-path .build-example \
	    -Xlinker -rpath=$$(pkg-config --variable=prefix swan-libtorch)/lib
	@mkdir -p out && rm -f out/example.mp4
	env -u LD_LIBRARY_PATH .build-example/debug/StreamFrames .deps/media/carphone_pristine.mp4 \
	    out/example.mp4 "a pencil sketch"

.PHONY: man
man: $(BUILT) ## Write a manual page for each command to .build/man
	scripts/manual $(SWAN) .build/man

.PHONY: check
check: ## Check formatting, lint and everything else that needs no build
	@scripts/check

.PHONY: format
format: ## Format all Swift code in place
	git ls-files -z -co --exclude-standard --deduplicate '*.swift' | \
	    xargs -0 swift format format --in-place --parallel --configuration .swift-format

.PHONY: clean
clean: ## Remove build products; keep the libraries installed by setup
	rm -rf .build .build-package out

.PHONY: distclean
distclean: clean ## Also remove this clone's links to the shared cache
	rm -rf .deps
