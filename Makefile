# Everything from a clean clone: `make demo` and `make test` install what they need and are the only commands to know.

# Where rustup and Debian put things that a login shell may not have in its path yet.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

TARGET := $(or $(CARGO_TARGET_DIR),target)
# The kernel tests load programs and make network namespaces: their runner becomes root. Compiling does not.
ARCH := $(shell uname -m | tr a-z A-Z)
AS_ROOT := CARGO_TARGET_$(ARCH)_UNKNOWN_LINUX_GNU_RUNNER='$(CURDIR)/scripts/as-root'

.PHONY: help deps build test test-kernels torture demo bench bench-deploy check install clean

help: ## Show this list (default)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '  %-14s %s\n' "$$target" "$$text"; done

deps: ## Install what is missing: clang, libbpf and kernel headers, iproute2, ping, bpftool, git
	@scripts/deps

build: deps ## Build ouro in release mode
	cargo build --locked --release

test: deps ## Build and run all tests, also those with real packets
	@scripts/deps --corpus || echo 'the objects of libbpf-tools and xdp-tools are not there: the test that loads them ends early'
	@if cargo nextest --version >/dev/null 2>&1; then \
		set -x; $(AS_ROOT) cargo nextest run --locked --release --workspace; \
	else \
		set -x; $(AS_ROOT) cargo test --locked --release --workspace; \
	fi

torture: deps ## Deploys struck at every system call, random edits by the thousand, faults by the hundred; STEPS, FAULTS, SEED, EVERY
	OURO_TORTURE_STEP=$(or $(EVERY),1) $(AS_ROOT) cargo test --locked --release --test torture -- --nocapture
	OURO_FAULTS=$(or $(FAULTS),100) OURO_FAULTS_SEED=$(or $(SEED),$$$$) cargo test --locked --release --test faults -- --nocapture
	OURO_STRESS_STEPS=$(or $(STEPS),3000) OURO_STRESS_SEED=$(or $(SEED),$$$$) cargo test --locked --release --test stress -- --nocapture

test-kernels: deps ## Run the tests of deploying under Debian's kernels 5.10 to the newest, in virtual machines
	@scripts/deps --kernels
	@scripts/test-kernels $(KERNELS)

demo: build ## Build, deploy and watch a firewall between two network namespaces
	@OURO='$(abspath $(TARGET))/release/ouro' scripts/demo

bench: ## Compare with ninja and bare clang: clean builds, null builds, edits, 10,000 programs
	@scripts/deps --bench
	cargo bench --locked --bench build

bench-deploy: deps ## Compare deploys with libbpf and bpftool, and count the packets that switches lose
	$(AS_ROOT) cargo bench --locked --bench deploy

check: ## Formatting, lints and the links of the documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

install: build ## Install ouro into cargo's bin folder
	cargo install --locked --path .

clean: ## Remove what was built
	cargo clean
