# seedpod. `make help` lists the targets; long recipes are in mk/*.mk and in the scripts that they call.
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
#   HANDOVERS=N      how often torture-handover has the leader go   (200); HOW=kill: by SIGKILL; LIMIT=SECONDS explains longer pauses (1)
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
# Functions that nothing calls are left out. Unwind tables stay, so that a core file from production has a backtrace.
SMALL := -ffunction-sections -fdata-sections
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
.PHONY: all

##@ Build
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
# In no archive: it would be taken into every test that writes a file.
$(BUILD)/tests/test_power_cut: $(BUILD)/obj/tests/fault/power_cut.o
$(UNIT_TESTS): $(BUILD)/libtests.a $(ARCHIVES)
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(BUILD)/libtests.a $(ARCHIVES) -Wl,--end-group $(LIBS) $(CHECK_LIBS)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

.PHONY: deps docs clean help
deps: ## install what is missing from Debian (as root, or through sudo)
	@tests/deps

docs: $(BUILD)/tests/write_schema ## write again what follows from the schema: sample, table, man page
	@conf/write-docs $(BUILD)/tests/write_schema

clean: ## remove what was built
	rm -rf build build-*

help: ## this list
	@echo 'seedpod $(VERSION)'
	@awk -F ':.*## ' '/^##@ / { printf "\n%s:\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Knobs are described at the top of the Makefile.'

##@ Try it on this machine
.PHONY: demo up down
demo: all ## the whole story on this machine: seed, sync, read, write, scale, tune, kill
	@BUILD=$(abspath $(BUILD)) tests/local/demo

up: all ## start PODS=3 pods as processes (MODE=raft: they elect their leader) and leave them running
	@BUILD=$(abspath $(BUILD)) tests/local/up $(PODS) $(MODE)

down: ## end what `make up` started
	@BUILD=$(abspath $(BUILD)) tests/local/down

include mk/test.mk mk/measure.mk mk/image.mk mk/install.mk mk/contribute.mk
