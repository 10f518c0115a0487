# Tests: unit, integration, faults, fuzzing.
##@ Test
.PHONY: test test-unit test-integration faults crash-matrix coverage torture torture-raft torture-handover fuzz fuzz-targets soak soak-proof

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

# Libraries for LD_PRELOAD: badio and slowdisk have a program's writes, syncs and renames fail or wait, badmalloc its
# allocations fail, leak makes it leak.
PRELOADS := $(addprefix $(BUILD)/faults/,badio.so badmalloc.so slowdisk.so leak.so)
$(BUILD)/faults/badio.so: tests/fault/badio.c
$(BUILD)/faults/badmalloc.so: tests/fault/badmalloc.c
$(BUILD)/faults/slowdisk.so: tests/raft/slowdisk.c
$(BUILD)/faults/leak.so: tests/soak/leak.c
$(PRELOADS): $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) $(if $(DEV),-Werror) -O2 -g -fPIC -shared -o $@ $(filter %.c,$^) -ldl

test: all faults $(UNIT_TESTS) ## unit and integration tests; the last line counts them
	@$(if $(STRESS),tests/deps stress-ng)
	@BUILD=$(abspath $(BUILD)) SANITIZE='$(SANITIZE)' TESTS='$(TESTS)' STRESS='$(STRESS)' tests/run all

test-unit: $(UNIT_TESTS) ## the unit tests alone
	@$(if $(STRESS),tests/deps stress-ng)
	@BUILD=$(abspath $(BUILD)) SANITIZE='$(SANITIZE)' STRESS='$(STRESS)' tests/run unit

test-integration: all faults ## the integration tests alone (TESTS=PATTERN picks some)
	@$(if $(STRESS),tests/deps stress-ng)
	@BUILD=$(abspath $(BUILD)) SANITIZE='$(SANITIZE)' TESTS='$(TESTS)' STRESS='$(STRESS)' tests/run integration

faults: $(FAULT_BINARIES) $(filter-out %/leak.so,$(PRELOADS)) ## what the fault tests run: programs with kill points, bad disks

crash-matrix: all faults ## kill each program at each of its steps but those of a hand-over, start it again, print a table
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

torture-raft: all faults ## mode raft under a seed's faults, judged by what clients saw (RUNS=, SEED=)
	@BUILD=$(abspath $(BUILD)) RUNS='$(RUNS)' SEED='$(SEED)' SECONDS='$(SECONDS)' MEMBERS='$(MEMBERS)' FAULTS='$(FAULTS)' \
		SUBJECT='$(SUBJECT)' READS='$(READS)' tests/raft/torture

torture-handover: all ## how long mode raft takes no writes when its leader is stopped (HOW=kill: killed), HANDOVERS=200 times
	@BUILD=$(abspath $(BUILD)) HANDOVERS='$(HANDOVERS)' HOW='$(HOW)' LIMIT='$(LIMIT)' tests/fault/handovers.py

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

soak: all ## mixed load with kills, seeds and reloads for MINUTES=30: nothing may grow (SOAK_DIR= for chart and table)
	@BUILD=$(abspath $(BUILD)) MODE='$(MODE)' SEED='$(SEED)' tests/soak/run $(or $(MINUTES),30) $(SOAK_DIR)

soak-proof: all $(BUILD)/faults/leak.so ## soaks with a leak of memory, of descriptors, of the file's pages: each must be found
	@BUILD=$(abspath $(BUILD)) SEED='$(SEED)' tests/soak/proof $(MINUTES)
