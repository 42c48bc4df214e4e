# Everything that is done with this project. `make demo` and `make test` need a Rust toolchain, a C
# compiler, make and perl (for the vendored OpenSSL that josekit is compiled against). `make test` also needs
# bash, GNU coreutils, util-linux, and root; what the others need, they say.

CARGO  ?= cargo
PREFIX ?= /usr/local
TARGET ?= $(shell rustc --print host-tuple)
# A static binary starts faster, and runs in an empty container. STATIC=0 where there is no static libc.
STATIC ?= 1
STATIC_FLAGS := -C target-feature=+crt-static -C relocation-model=static
TARGET_VARIABLE := CARGO_TARGET_$(shell echo '$(TARGET)' | tr 'a-z-' 'A-Z_')_RUSTFLAGS
ifeq ($(STATIC),1)
RELEASE_ENV := $(TARGET_VARIABLE)="$(STATIC_FLAGS)"
endif
RELEASE := target/$(TARGET)/release

.PHONY: help build demo test check interop stress fuzz bench guard deb image install clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-9s %s\n", $$1, $$2 }'

# Two builds: what the sandbox needs of a library must not get into the program that ships.
build: ## Build the static release binaries
	$(RELEASE_ENV) $(CARGO) build --release --locked --target $(TARGET)
	$(RELEASE_ENV) $(CARGO) build --release --locked --target $(TARGET) --package monitoring-sandbox

demo: ## Run the main job on the embedded sandbox
	$(CARGO) build --locked
	$(CARGO) build --locked --package monitoring-sandbox
	scripts/demo.sh target/debug

# Some tests look into other processes and mount files over others: who is not root gets a namespace for that.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo unshare --map-root-user)

test: ## Run all tests
	$(CARGO) build --locked --package monitoring-sandbox
	$(AS_ROOT) $(CARGO) test --locked --lib --test promises
	$(CARGO) test --locked --package monitoring-sandbox

# The fuzz targets need a nightly compiler to run, but must not rot.
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

deb: ## Build the Debian package, and install it into an empty root
	packaging/test-deb.sh "$$(packaging/build-deb.sh)"

image: ## Build the container image without a registry, and try it (needs root)
	packaging/test-image.sh full

bench: build ## Measure what a run costs, against the original, or a floor program where that cannot be installed
	scripts/original.sh
	$(RELEASE_ENV) $(CARGO) build --release --locked --target $(TARGET) --package bench-programs
	$(RELEASE_ENV) $(CARGO) bench --locked --target $(TARGET) --bench whole_process

guard: build ## Count the instructions of a run against the committed figures (needs valgrind)
	@command -v valgrind >/dev/null || { echo 'make guard: valgrind is missing; install it (Debian: apt-get install valgrind)' >&2; exit 1; }
	$(RELEASE_ENV) $(CARGO) bench --locked --target $(TARGET) --bench instructions

install: build ## Install the release binaries below PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(RELEASE)/monitoring-token $(RELEASE)/monitoring-sandbox $(DESTDIR)$(PREFIX)/bin

clean: ## Remove what was built, and the installed peers
	$(CARGO) clean
	rm -rf .peers
