# What a change must pass besides its tests.
##@ Contribute
.PHONY: lint lint-includes lint-code-map lint-prose deps-lint compile-commands

lint: lint-includes lint-code-map ## formatting, clang-tidy, cppcheck, shellcheck, headers alone, include rules
	@tests/lint

lint-includes: ## who includes what, and each header alone
	@tests/includes

lint-code-map: ## docs/code-map.md names every source file; files and functions named in the documentation exist
	@tests/code-map

lint-prose: ## words and sentences that readers stumble over, in code and documentation
	@tests/prose

deps-lint: ## install what lint runs, from Debian
	@tests/deps-lint

compile-commands: ## write compile_commands.json, for editors and clangd
	@$(MAKE) --no-print-directory -B -n V=1 all faults $(UNIT_TESTS) | mk/compile-commands >compile_commands.json.new
	@mv compile_commands.json.new compile_commands.json && echo compile_commands.json
