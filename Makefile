# Two commands are enough on a new machine: `make demo` and `make test`.

SHELL = bash
.SHELLFLAGS = -o pipefail -c

INPUT = .deps/media/bikes.mp4
PROMPT = thermal camera
OUT = out/demo.mp4
DEMOFLAGS =
# The usual output is made anew; one of another name is not replaced without being asked.
REPLACE = $(if $(filter-out out/demo.mp4,$(OUT)),,-y)
TESTFLAGS =
CASES = 20000
SEED = $(shell date +%Y%m%d)
SECONDS = 60
BUILDFLAGS =

SWAN = .build/release/swan
# Touched after a build, because a build that changes nothing leaves the program's own time alone.
BUILT = .build/swan-release.built
# Directories too: theirs is the time that moves when a file goes away.
SOURCES := Package.swift scripts/bootstrap $(shell find Sources 2>/dev/null)

# libtorch, where the set-up may not write to pkg-config's own path.
export PKG_CONFIG_PATH := $(CURDIR)/.deps/pkgconfig$(if $(PKG_CONFIG_PATH),:$(PKG_CONFIG_PATH))
# The shell reads these, so that a prompt may hold quotes.
export INPUT PROMPT OUT

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables: INPUT, PROMPT, OUT, DEMOFLAGS (demo), TESTFLAGS (test), BUILDFLAGS (all builds)'
	@echo '           CASES, SEED (fuzz), SECONDS (fuzz-media)'

.PHONY: setup
setup: ## Install what is missing: Debian packages, libtorch, sample clips
	@scripts/bootstrap

.PHONY: build
build: $(BUILT) ## Build the release of `swan`

$(BUILT): $(SOURCES) $(if $(wildcard $(SWAN)),,rebuild) | setup
	swift build -c release --product swan $(BUILDFLAGS)
	@touch $@

.PHONY: rebuild
rebuild:

.PHONY: demo
demo: $(BUILT) ## Restyle a video: make demo INPUT=any.mp4 PROMPT="at night" OUT=out/demo.mp4
	@mkdir -p "$$(dirname "$$OUT")"
	$(SWAN) stream "$$INPUT" --prompt "$$PROMPT" -o "$$OUT" $(REPLACE) $(DEMOFLAGS)

.PHONY: sheet
sheet: $(BUILT) ## Draw docs/media/styles.png: three clips in every style of the bundled model
	@mkdir -p docs/media
	$(SWAN) bench tiny-quality --measures styles --bare --max-frames 41 \
	    --sheet docs/media/styles.png -y

# Tests run side by side: the engine's threads must not spin while they wait for each other. What has
# failed is said once more at the end, where it is not lost among what has passed.
.PHONY: test
test: setup ## Run all tests; TESTFLAGS="--filter Torch" for some
	swift build --build-tests $(BUILDFLAGS)
	@mkdir -p .build; log=.build/test.log; \
	    if OMP_WAIT_POLICY=passive swift test --skip-build $(BUILDFLAGS) $(TESTFLAGS) 2>&1 | tee $$log; \
	    then exit 0; fi; \
	    echo; echo 'What failed:'; grep -E '^✘|error:' $$log | cut -c 1-300; exit 1

# A package of its own, since ThreadSanitizer must see all of the code that runs. A race that it reports
# fails the run.
.PHONY: tsan
tsan: ## Run the tests of the stream's threads under ThreadSanitizer
	swift test --package-path Tests/threads --scratch-path .build-tsan --sanitize=thread

# What is found stays in .build/fuzz/findings, each with the command to repeat it.
.PHONY: fuzz
fuzz: $(BUILT) ## Run the release on damaged and hostile models: make fuzz CASES=1000 SEED=7
	swift build -c release --product fuzz-seeds $(BUILDFLAGS)
	rm -rf .build/fuzz/seeds && mkdir -p .build/fuzz
	.build/release/fuzz-seeds .build/fuzz/seeds
	Tests/fuzz/mutate.py --swan $(SWAN) --seeds .build/fuzz/seeds --cases $(CASES) --seed $(SEED) \
	    --findings .build/fuzz/findings

.PHONY: fuzz-media
fuzz-media: setup ## Run the video reader on damaged media for SECONDS=60
	swift build --product fuzz-seeds $(BUILDFLAGS)
	@Tests/fuzz/media $(SECONDS)

# The library as another package sees it: no flags of its own, nothing but the product.
.PHONY: example
example: setup ## Build Examples/StreamFrames, a package that depends on Swan
	swift build --package-path Examples/StreamFrames --scratch-path .build-example

.PHONY: check
check: ## Formatting, lint and everything else that is checked without a build
	@scripts/check

.PHONY: format
format: ## Format all Swift code in place
	git ls-files -z -co --exclude-standard --deduplicate '*.swift' | \
	    xargs -0 swift format format --in-place --parallel --configuration .swift-format

.PHONY: clean
clean: ## Remove what was built here; the libraries of the set-up stay
	rm -rf .build out

.PHONY: distclean
distclean: clean ## Remove also this clone's links to the set-up (the shared cache stays)
	rm -rf .deps
