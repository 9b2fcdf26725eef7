# A short front for CMake: `make help` lists what there is. Build folders are build/PRESET (CMakePresets.json).

PREFIX ?= /usr/local
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)

# What a compiler newer than ours warns of shall not keep anybody from building; `make check` is strict.
OPTIONS = -DPOISE_WERROR=OFF

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL = native
.PHONY: native wasip2 wasip1 setup demo check soak bench install install-wasip2 install-wasip1 clean help

native: cmake-is-there ## the native library: build/release/libpoise.a and libpoise.so (this is what `make` alone does)
	cmake --preset release -DCMAKE_INSTALL_PREFIX:PATH="$(PREFIX)" >/dev/null
	+cmake --build --preset release -j $(JOBS)

wasip2 wasip1: cmake-is-there wasi-cc-works ## the libraries for a WASI 0.2 component, a WASI 0.1 module: build/wasip2/libpoise*.a, build/wasip1/libpoise*.a
	cmake --preset $@ $(OPTIONS) -DCMAKE_INSTALL_PREFIX:PATH="$(PREFIX)" >/dev/null
	+cmake --build --preset $@ -j $(JOBS) --target poise_libraries

setup: ## installs what building and testing need and this machine lacks
	tools/setup

demo: setup ## one program, natively and as a component, talked to from outside: prints both transcripts
	cmake --preset native $(OPTIONS) >/dev/null
	+cmake --build --preset native -j $(JOBS) --target examples
	cmake --preset wasip2 $(OPTIONS) >/dev/null
	+cmake --build --preset wasip2 -j $(JOBS) --target poise examples
	tools/demo build/native/examples/everything build/wasip2/examples/everything.wasm

check: ## every test (about 20 minutes); tools/check --list names the parts, tools/check PART... runs some
	tools/setup --tests --bench
	tools/check

soak: setup ## mio's tests 50 times in a row on each backend and host, 10 times on jco (about 6 minutes; it says how long). ROUNDS=5 does fewer
	cmake --preset native $(OPTIONS) >/dev/null
	+cmake --build --preset native -j $(JOBS) --target mio
	cmake --preset wasip2 $(OPTIONS) >/dev/null
	+cmake --build --preset wasip2 -j $(JOBS) --target mio
	tests/mio.py --native build/native --wasip2 build/wasip2 --soak $(ROUNDS)

bench: ## poise beside epoll, libev, libevent, libuv, mio and poll(2), natively and in components (an hour and a half; it says how long). TABLES=chain,echo runs some
	tools/setup --bench
	cmake --preset release >/dev/null
	+cmake --build --preset release -j $(JOBS) --target bench
	cmake --preset wasip2 $(OPTIONS) >/dev/null
	+cmake --build --preset wasip2 -j $(JOBS) --target bench
	bench/mio/build
	bench/run.py $(if $(TABLES),--tables $(TABLES))
	$(if $(TABLES),,bench/size.py)

install: native ## libraries, headers, .pc files, CMake package and man pages into PREFIX (DESTDIR is honoured)
	DESTDIR="$(DESTDIR)" cmake --install build/release

install-wasip2: wasip2 ## the libraries for components, their headers and CMake package into PREFIX (install-wasip1: for modules)
install-wasip1: wasip1
install-wasip2 install-wasip1:
	DESTDIR="$(DESTDIR)" cmake --install build/$(@:install-%=%)

clean: ## removes build/ (what tools/setup installed stays)
	rm -rf build

help: ## prints this
	@sed -n 's/^\([a-z0-9 -]*\):[^#]*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r target text; do \
		printf '%-19s %s\n' "make $$target" "$$text"; done

.PHONY: cmake-is-there wasi-cc-works
cmake-is-there:
	@command -v cmake >/dev/null || { echo 'make: there is no cmake here: run tools/setup, which installs what is missing' >&2; exit 1; }
wasi-cc-works:
	@tools/wasi-cc --no-poise -E -x c /dev/null >/dev/null
