# seedpod. `make help` lists the targets.
#
# Knobs, all on the command line (make test SANITIZE=thread):
#   BUILD=DIR        where everything built goes          (build; build-<sanitizers> with SANITIZE)
#   SANITIZE=LIST    address,undefined or thread
#   DEV=1            warnings are errors
#   V=1              show the commands
#   CC, CFLAGS, LDFLAGS, PREFIX (/usr/local), DESTDIR     as everywhere
#   PODS=N           how many pods `make up` starts       (3)
#   MODE=static|raft who leads them, in `make up` and `make soak`   (static)
#   TESTS=PATTERN    which integration tests run          (all)
#   STRESS=N         so many workers of stress-ng keep the processors busy beside the tests   (none)
#   MINUTES=N        how long `make torture` runs         (30); SEED=N repeats its choices
#   BENCH='AREA …'   what `make bench` measures           (all: seeding followers compression writes reads lag catchup
#                    small growth raft failover; on demand: large)
#   SCALE=N          its size: 1 is the targets' own      (1; less writes no results into docs/bench)
#   ROUNDS=N         its rounds                           (5)
#   SECONDS=N        how long each fuzz target runs       (30); of faults in each run of torture-raft (2.5)
#   FUZZ='NAME …'    which fuzz targets                   (all of tests/fuzz)
#   RUNS=N SEED=N    how many runs of torture-raft, and the first one's seed   (20; the time)
#   MEMBERS=N        its members; 0: three and five in turn (3)     FAULTS=LIST  which of its faults  (all)
#   SUBJECT=etcd     … with etcd in seedpod's place       READS=local  … with reads that promise less, and must fail
#   IMAGE=REF        what `make image` makes, `make manifests` names, `make e2e` runs   (localhost/seedpod:VERSION)
#   OVERLAY=DIR      what `make manifests` renders        (manifests/base)
#   IMAGE_ARGS=…     more for the image's build, such as --build-arg DEBIAN_MIRROR=URL   (this machine's own mirror)
#   CONTAINER_TOOL   builds images                        (podman, buildah or docker, whichever is there)
#   STORAGE_CLASS    of the volumes in `make e2e`         (the cluster's default)
#   CASES=…          what of it: smoke, full or names     (full)

comma := ,
BUILD ?= build$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
PREFIX ?= /usr/local
PODS ?= 3
MODE ?= static
VERSION := $(shell sed -n 's/^.define SEEDPOD_VERSION "\(.*\)"/\1/p' lib/base/version.h)

CC ?= gcc
CFLAGS ?= -O2 -g
PKGS := gnutls libcurl libarchive inih lmdb libmicrohttpd jansson libxxhash uuid libzstd raft libuv
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
HARDEN := -fstack-protector-strong -fPIE $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
# What nobody calls is left out, and so are the tables for unwinding, which C does without and gdb finds in -g.
SMALL := -ffunction-sections -fdata-sections $(if $(SANITIZE),,-fno-unwind-tables -fno-asynchronous-unwind-tables)
# Asked once, when first needed: `make deps demo` has installed them by then.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
LIBS = $(eval LIBS := $(shell pkg-config --libs $(PKGS)) -lm)$(LIBS)
CHECK_LIBS = $(eval CHECK_LIBS := $(shell pkg-config --libs check))$(CHECK_LIBS)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(WARNINGS) $(HARDEN) $(SMALL) $(if $(DEV),-Werror) \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer) $(PKG_CFLAGS) -pthread $(CFLAGS)
# The relocations of tables of pointers take 12 KiB less where they are packed (glibc from 2.36 on, which Debian 12 has).
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now -Wl,-z,pack-relative-relocs -Wl,--as-needed -Wl,--gc-sections -pthread \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)

PROGRAMS := seedpod-init seedpod-server seedpod-sidecar
BINARIES := $(PROGRAMS:%=$(BUILD)/%)

# Every .c below a folder belongs to it; main.c is kept out of the folder's archive, so that tests can link the rest.
sources = $(sort $(shell find $(1) -name '*.c'))
parts = $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out %/main.c,$(call sources,$(1))))
ARCHIVES := $(foreach a,server init sidecar conf lib,$(BUILD)/lib$(a).a)
TEST_HELPERS := $(patsubst %.c,$(BUILD)/obj/%.o,$(call sources,tests/lib))
UNIT_SOURCES := $(call sources,tests/unit)
UNIT_TESTS := $(patsubst %.c,$(BUILD)/tests/%,$(notdir $(UNIT_SOURCES)))

quiet = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$@';)

.DEFAULT_GOAL := all
.SECONDARY: # objects are kept
.PHONY: all bench clean coverage crash-matrix demo deps docs down e2e e2e-client faults help image install lint lint-includes sbom test test-integration test-unit torture torture-raft uninstall up

all: $(BINARIES) ## build the three programs

$(BUILD)/seedpod-%: $(BUILD)/obj/%/main.o $(BUILD)/lib%.a $(BUILD)/libconf.a $(BUILD)/liblib.a
	$(call quiet,LINK)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

define archive
$(BUILD)/lib$(1).a: $(call parts,$(1))
	$$(call quiet,AR)rm -f $$@ && ar qcs $$@ $$^
endef
$(foreach a,server init sidecar conf lib,$(eval $(call archive,$(a))))

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Everything is built again when the flags change.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' >$@
.PHONY: FORCE

# What several tests share (tests/lib).
$(BUILD)/libtests.a: $(TEST_HELPERS)
	$(call quiet,AR)rm -f $@ && ar rcs $@ $^

# A unit test is one Check program; of the archives it takes only the objects that it calls.
define unit_test
$(BUILD)/tests/$(notdir $(1:.c=)): $(BUILD)/obj/$(1:.c=.o)
endef
$(foreach t,$(UNIT_SOURCES),$(eval $(call unit_test,$(t))))
$(UNIT_TESTS): $(BUILD)/libtests.a $(ARCHIVES)
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(BUILD)/libtests.a $(ARCHIVES) -Wl,--end-group $(LIBS) $(CHECK_LIBS)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

# The programs with the points of lib/base/fault.h, at which the fault tests kill them: the files that have points are compiled
# a second time and linked before the archives, which then supply the others.
FAULT_SOURCES := $(sort $(shell grep -rl --include='*.c' FAULT_POINT server init sidecar conf lib)) \
	tests/fault/fault_point.c
fault_objects = $(patsubst %.c,$(BUILD)/obj/faults/%.o,$(filter $(1)/% conf/% lib/% tests/%,$(FAULT_SOURCES)))
FAULT_BINARIES := $(PROGRAMS:%=$(BUILD)/faults/%)
$(BUILD)/obj/faults/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(ALL_CFLAGS) -DSEEDPOD_FAULT_POINTS -MMD -MP -c -o $@ $<
define fault_program
$(BUILD)/faults/seedpod-$(1): $(call fault_objects,$(1)) $(BUILD)/obj/$(1)/main.o $(foreach a,$(1) conf lib,$(BUILD)/lib$(a).a)
	@mkdir -p $$(@D)
	$$(call quiet,LINK)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$^ $$(LIBS)
endef
$(foreach a,server init sidecar,$(eval $(call fault_program,$(a))))

# Libraries that are put before a program (LD_PRELOAD): one has its writes, syncs and renames fail as a file tells it, the
# other has it wait for the disk.
$(BUILD)/faults/badio.so: tests/fault/badio.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) $(if $(DEV),-Werror) -O2 -g -fPIC -shared -o $@ $< -ldl

$(BUILD)/faults/badmalloc.so: tests/fault/badmalloc.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) $(if $(DEV),-Werror) -O2 -g -fPIC -shared -o $@ $<
$(BUILD)/faults/slowdisk.so: tests/raft/slowdisk.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) $(if $(DEV),-Werror) -O2 -g -fPIC -shared -o $@ $< -ldl

faults: $(FAULT_BINARIES) $(patsubst %,$(BUILD)/faults/%.so,badio badmalloc slowdisk) ## what the fault tests run: programs with kill points, bad disks

crash-matrix: all faults ## kill each program at each of its steps, start it again, and print a table of what was found
	@BUILD=$(abspath $(BUILD)) CRASH_MATRIX=all tests/fault/test_crash_matrix.py
	@BUILD=$(abspath $(BUILD)) CRASH_MATRIX=all tests/fault/test_crash_matrix_raft.py

coverage: ## run the tests in a build that counts, and say which lines of lib conf server init sidecar they reach
	@tests/deps gcovr
	@$(MAKE) --no-print-directory BUILD=build-coverage CFLAGS='-O1 -g --coverage -fprofile-update=atomic' all faults \
		$(UNIT_TESTS:$(BUILD)/%=build-coverage/%)
	@find build-coverage -name '*.gcda' -delete
	@BUILD=$(abspath build-coverage) SEEDPOD_TEST_SLOW=2 SEEDPOD_TEST_COUNTING=1 TESTS='$(TESTS)' tests/run all || true
	@tests/coverage build-coverage

torture: all faults ## faults of all kinds under load for MINUTES=30, against a model (SEED=N repeats, PODS=4)
	@BUILD=$(abspath $(BUILD)) MINUTES='$(MINUTES)' SEED='$(SEED)' PODS='$(if $(filter command%,$(origin PODS)),$(PODS))' tests/fault/torture.py

deps: ## install what is missing from Debian (as root, or through sudo)
	@tests/deps

test: all faults $(UNIT_TESTS) ## unit and integration tests; the last line counts them
	@$(if $(STRESS),tests/deps stress-ng)
	@BUILD=$(abspath $(BUILD)) SANITIZE='$(SANITIZE)' TESTS='$(TESTS)' STRESS='$(STRESS)' tests/run all

test-unit: $(UNIT_TESTS) ## the unit tests alone
	@$(if $(STRESS),tests/deps stress-ng)
	@BUILD=$(abspath $(BUILD)) SANITIZE='$(SANITIZE)' STRESS='$(STRESS)' tests/run unit

test-integration: all faults ## the integration tests alone (TESTS=PATTERN picks some)
	@$(if $(STRESS),tests/deps stress-ng)
	@BUILD=$(abspath $(BUILD)) SANITIZE='$(SANITIZE)' TESTS='$(TESTS)' STRESS='$(STRESS)' tests/run integration

BENCH_TOOLS := $(addprefix $(BUILD)/bench/,lag load measure)
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(BUILD)/obj/tests/bench/client.o
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^

torture-raft: all faults ## mode raft under a seed's faults, judged by what clients saw (RUNS=, SEED=)
	@BUILD=$(abspath $(BUILD)) RUNS='$(RUNS)' SEED='$(SEED)' SECONDS='$(SECONDS)' MEMBERS='$(MEMBERS)' FAULTS='$(FAULTS)' \
		SUBJECT='$(SUBJECT)' READS='$(READS)' tests/raft/torture

bench: all $(BENCH_TOOLS) ## measure beside Redis, etcd, nginx and others (BENCH=AREA, SCALE=, ROUNDS=)
	@tests/bench/deps
	@BUILD=$(abspath $(BUILD)) BENCH='$(BENCH)' SCALE='$(SCALE)' ROUNDS='$(ROUNDS)' tests/bench/run

# Each is a program of libFuzzer's, which brings main(). A target may define a function of ours anew to stand in for the
# network: of several definitions the first is taken, and that is the target's.
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$(BUILD)/libfuzz.a: $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out tests/fuzz/fuzz_%,$(call sources,tests/fuzz)))
	$(call quiet,AR)rm -f $@ && ar rcs $@ $^
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/libfuzz.a $(BUILD)/libtests.a $(ARCHIVES)
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer -Wl,-z,muldefs -o $@ $< \
		-Wl,--start-group $(BUILD)/libfuzz.a $(BUILD)/libtests.a $(ARCHIVES) -Wl,--end-group $(LIBS) $(CHECK_LIBS)

fuzz-targets: $(FUZZ_TARGETS)

fuzz: ## look for inputs that break a parser, under sanitizers (SECONDS=30 each, FUZZ=NAME)
	@tests/fuzz/deps
	@$(MAKE) --no-print-directory BUILD=build-fuzz CC=clang SANITIZE=fuzzer-no-link,address,undefined \
		CFLAGS='-O1 -g -fno-sanitize-recover=all' fuzz-targets
	@BUILD=$(abspath build-fuzz) SECONDS_EACH='$(SECONDS)' FUZZ='$(FUZZ)' tests/fuzz/run

.PHONY: soak soak-proof
soak: all ## mixed load with kills, seeds and reloads for MINUTES=30: nothing may grow (SOAK_DIR= for chart and table)
	@BUILD=$(abspath $(BUILD)) MODE='$(MODE)' SEED='$(SEED)' tests/soak/run $(or $(MINUTES),30) $(SOAK_DIR)

soak-proof: all $(BUILD)/faults/leak.so ## soaks with a leak of memory, of descriptors, of the file's pages: each must be found
	@BUILD=$(abspath $(BUILD)) SEED='$(SEED)' tests/soak/proof $(MINUTES)
$(BUILD)/faults/leak.so: tests/soak/leak.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) $(if $(DEV),-Werror) -O2 -g -fPIC -shared -o $@ $< -ldl

demo: all ## the whole story on this machine: seed, sync, read, write, scale, tune, kill
	@BUILD=$(abspath $(BUILD)) tests/local/demo

up: all ## start PODS=3 pods as processes (MODE=raft: they elect their leader) and leave them running
	@BUILD=$(abspath $(BUILD)) tests/local/up $(PODS) $(MODE)

down: ## end what `make up` started
	@BUILD=$(abspath $(BUILD)) tests/local/down

docs: $(BUILD)/tests/write_schema ## write again what follows from the schema: sample, table, man page
	@conf/write-docs $(BUILD)/tests/write_schema

# The machine's own mirror of Debian, where it is not the public one.
DEBIAN_MIRROR := $(shell sed -n 's/^URIs: *//p; s/^deb \(\[.*\] \)\?\([^ ]*debian\)\/\? .*/\2/p' /etc/apt/sources.list \
	/etc/apt/sources.list.d/*.sources 2>/dev/null | grep 'debian/\?$$' | grep -v '//deb.debian.org/' | head -n 1)
IMAGE ?= localhost/seedpod:$(VERSION)
IMAGE_ARGS ?= --network=host $(if $(DEBIAN_MIRROR),--build-arg DEBIAN_MIRROR=$(DEBIAN_MIRROR))
CONTAINER_TOOL ?= $(firstword $(foreach t,podman buildah docker,$(if $(shell command -v $(t)),$(t))) podman)
IMAGE_BUILD = $(CONTAINER_TOOL) $(if $(filter buildah,$(notdir $(CONTAINER_TOOL))),bud,build) $(IMAGE_ARGS)
CASES ?= full
OVERLAY ?= manifests/base

image: ## build the container image IMAGE
	$(IMAGE_BUILD) -f Containerfile -t $(IMAGE) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null) .

.PHONY: image-name manifests
image-name:
	@echo $(IMAGE)

# Of the overlay's objects, those that name the default image name IMAGE instead.
manifests: ## write OVERLAY's objects with the image IMAGE into one file, $(BUILD)/install.yaml (kubectl or kustomize)
	@mkdir -p $(BUILD)
	@$(if $(shell command -v kubectl),kubectl kustomize,kustomize build) $(OVERLAY) >$(BUILD)/install.yaml.new
	@sed 's|image: localhost/seedpod:$(VERSION)$$|image: $(IMAGE)|' $(BUILD)/install.yaml.new >$(BUILD)/install.yaml
	@rm $(BUILD)/install.yaml.new && echo $(BUILD)/install.yaml

e2e-client: ## build the image with curl that the end-to-end suite runs as its client
	$(IMAGE_BUILD) -t localhost/seedpod-e2e-client:1 -f tests/e2e/client/Containerfile tests/e2e/client

e2e: ## the end-to-end suite against the cluster that KUBECONFIG names (CASES=smoke for the short part)
	@IMAGE='$(IMAGE)' STORAGE_CLASS='$(STORAGE_CLASS)' tests/e2e/run $(CASES)

lint: lint-includes ## formatting, clang-tidy, cppcheck, headers alone, include rules
	@tests/lint

lint-includes:
	@tests/includes

sbom: all ## list what the image would hold, made of this machine's packages, as $(BUILD)/sbom.cdx.json (CycloneDX)
	@packaging/sbom $(VERSION) $(BINARIES) >$(BUILD)/sbom.cdx.json.new
	@mv $(BUILD)/sbom.cdx.json.new $(BUILD)/sbom.cdx.json && echo $(BUILD)/sbom.cdx.json

install: all ## programs, man pages and the sample configuration (PREFIX, DESTDIR)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5
	install -d $(DESTDIR)$(PREFIX)/share/doc/seedpod
	install -m 755 $(BINARIES) $(DESTDIR)$(PREFIX)/bin
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 docs/man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 644 conf/seedpod.ini LICENSE README.md $(DESTDIR)$(PREFIX)/share/doc/seedpod

uninstall:
	rm -f $(PROGRAMS:%=$(DESTDIR)$(PREFIX)/bin/%)
	rm -f $(patsubst docs/man/%,$(DESTDIR)$(PREFIX)/share/man/man1/%,$(wildcard docs/man/*.1))
	rm -f $(patsubst docs/man/%,$(DESTDIR)$(PREFIX)/share/man/man5/%,$(wildcard docs/man/*.5))
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/seedpod

clean: ## remove what was built
	rm -rf build build-*

help: ## this list
	@echo 'seedpod $(VERSION). Targets:'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile
	@echo 'Knobs are described at the top of the Makefile.'
