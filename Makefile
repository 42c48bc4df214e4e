# All tasks of this project. `make demo` and `make test` need a Rust toolchain, a C compiler and make; `make test` also
# needs bash, perl, GNU coreutils and util-linux. It runs as root, or as a user who may create user namespaces. The other
# targets say what they need.

CARGO  ?= cargo
PREFIX ?= /usr/local
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions
TARGET ?= $(shell rustc --print host-tuple)
# A static binary starts faster, and runs in an empty container. STATIC=0 on systems without a static libc.
STATIC ?= 1
STATIC_FLAGS := -C target-feature=+crt-static -C relocation-model=static
# No path of this machine gets into the programs, so they are the same wherever they are built (make reproducible).
REMAP_FLAGS := --remap-path-prefix=$(CURDIR)=/monitoring-token \
	--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo \
	--remap-path-prefix=$(shell rustc --print sysroot)=/rust
TARGET_VARIABLE := CARGO_TARGET_$(shell echo '$(TARGET)' | tr 'a-z-' 'A-Z_')_RUSTFLAGS
# The functions of a run are placed next to each other, and share pages: the code of a run without exchange takes 12
# page faults instead of 34. `make layout` rewrites the order.
LAYOUT := $(CURDIR)/scripts/layout.ld
RELEASE_ENV := MONITORING_TOKEN_LAYOUT=$(LAYOUT) \
	$(TARGET_VARIABLE)="$(strip $(REMAP_FLAGS) $(if $(filter 1,$(STATIC)),$(STATIC_FLAGS)))"
RELEASE := target/$(TARGET)/release

.PHONY: help build demo test check interop stress fuzz bench guard layout pages deb rpm image reproducible deny install clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

# Two builds, so that no library features that only the sandbox needs get into the shipped program.
build: ## Build the static release binaries
	$(RELEASE_ENV) $(CARGO) build --release --locked --target $(TARGET)
	$(RELEASE_ENV) $(CARGO) build --release --locked --target $(TARGET) --package monitoring-sandbox

demo: ## Run a probe against the sandbox
	$(CARGO) build --locked --package monitoring-token --package monitoring-sandbox
	scripts/demo.sh target/debug

# Some tests inspect other processes and mount files over others. That takes root, or a user namespace with root.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo unshare --map-root-user)

test: ## Run all tests
	$(CARGO) build --locked --package monitoring-token --package monitoring-sandbox
	$(AS_ROOT) $(CARGO) test --locked --lib --test promises
	$(CARGO) test --locked --package monitoring-sandbox

# The fuzz targets need a nightly compiler to run, but must always compile.
check: ## Formatting, lints, tests
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target -- -D warnings
	$(MAKE) test

interop: ## Test against real peers (needs Go and root; installs them into .peers)
	scripts/peers.sh
	$(CARGO) test --locked --test interop
	tests/deploy.sh

stress: ## Run the supervision tests ten times under load, then a thousand runs at once
	tests/stress.sh

fuzz: ## Fuzz each parser of foreign bytes for a while (needs a nightly compiler)
	fuzz/run.sh

deny: ## Check advisories, licenses, sources and duplicate versions of dependencies (needs cargo-deny)
	$(CARGO) deny --workspace --locked check

deb: ## Build the Debian package, and install it into an empty root (needs Go; root or user namespaces)
	packaging/test-deb.sh "$$(packaging/build-packages.sh deb)"

rpm: ## Build the rpm, and install it into an empty root (needs Go, rpm; root or user namespaces)
	packaging/test-rpm.sh "$$(packaging/build-packages.sh rpm)"

reproducible: ## Build twice, in different folders, and compare (takes two full builds)
	packaging/test-reproducible.sh

image: ## Build the container images without a registry, and try them (needs root)
	packaging/test-image.sh full

bench: build ## Measure what a run costs, against the original, or a floor program where that cannot be installed
	scripts/original.sh
	$(RELEASE_ENV) $(CARGO) build --release --locked --target $(TARGET) --package bench-programs
	RELEASE=$(CURDIR)/$(RELEASE) $(CARGO) bench --locked --profile dev --bench whole_process

guard: build ## Count the instructions of a run against the committed figures (needs valgrind)
	@command -v valgrind >/dev/null || { echo 'make guard: valgrind is missing; install it (Debian: apt-get install valgrind)' >&2; exit 1; }
	RELEASE=$(CURDIR)/$(RELEASE) $(CARGO) bench --locked --profile dev --bench instructions

layout: ## Rewrite the order of the functions in the program (needs valgrind)
	rm -rf target/profiles && mkdir -p target/profiles
	$(RELEASE_ENV) $(CARGO) rustc --release --locked --target $(TARGET) --bin monitoring-token -- -C strip=none
	-PROFILES=$(CURDIR)/target/profiles RELEASE=$(CURDIR)/$(RELEASE) $(CARGO) bench --locked --profile dev --bench instructions
	cd target/profiles && $(CURDIR)/scripts/layout.sh cache-hit no-exchange exchange,-http exchange,-https > $(LAYOUT).new
	mv $(LAYOUT).new $(LAYOUT)

pages: ## Write the man pages and completions into target/pages
	$(CARGO) run --quiet --locked --package xtask -- pages

install: build pages ## Install the programs, man pages and completions below PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(ZSH_COMPLETIONS) \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 $(RELEASE)/monitoring-token $(RELEASE)/monitoring-sandbox $(DESTDIR)$(PREFIX)/bin
	install -m 644 target/pages/man1/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	for name in monitoring-token monitoring-sandbox; do \
		install -m 644 target/pages/completions/$$name.bash \
			$(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$name || exit; \
	done
	install -m 644 target/pages/completions/_monitoring-* $(DESTDIR)$(ZSH_COMPLETIONS)
	install -m 644 target/pages/completions/*.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d

clean: ## Remove what was built, and the installed peers
	$(CARGO) clean
	rm -rf .peers
