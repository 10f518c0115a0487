# Figures, beside other systems in the same run.
##@ Measure
.PHONY: bench

BENCH_TOOLS := $(addprefix $(BUILD)/bench/,lag load measure)
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(BUILD)/obj/tests/bench/client.o
	@mkdir -p $(@D)
	$(call quiet,LINK)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^

bench: all $(BENCH_TOOLS) ## measure beside Redis, etcd, nginx and others (BENCH=AREA, SCALE=, ROUNDS=)
	@tests/bench/deps
	@BUILD=$(abspath $(BUILD)) BENCH='$(BENCH)' SCALE='$(SCALE)' ROUNDS='$(ROUNDS)' tests/bench/run
