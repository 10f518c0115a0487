# Installation on a machine: PREFIX and DESTDIR as everywhere.
##@ Install
.PHONY: install install-debug uninstall dist version

# Where gdb looks for debug files by build id, whatever PREFIX is.
DEBUG_DIR ?= /usr/lib/debug
share := $(DESTDIR)$(PREFIX)/share

# What is installed carries no symbols; `make install-debug` adds them beside it.
$(BUILD)/stripped/%: $(BUILD)/%
	$(call quiet,STRIP)packaging/split-debug $< $@ $(BUILD)/debug

install: $(PROGRAMS:%=$(BUILD)/stripped/%) ## programs, man pages and the sample configuration (PREFIX, DESTDIR)
	install -d $(DESTDIR)$(PREFIX)/bin $(share)/man/man1 $(share)/man/man5 $(share)/doc/seedpod
	install -m 755 $^ $(DESTDIR)$(PREFIX)/bin
	install -m 644 docs/man/*.1 $(share)/man/man1
	install -m 644 docs/man/*.5 $(share)/man/man5
	install -m 644 conf/seedpod.ini LICENSE README.md $(share)/doc/seedpod

install-debug: install ## the same, and the programs' symbols for gdb (DEBUG_DIR=/usr/lib/debug)
	install -d $(DESTDIR)$(DEBUG_DIR)
	cp -R $(BUILD)/debug/.build-id $(DESTDIR)$(DEBUG_DIR)

uninstall: ## remove what `make install` and `make install-debug` put there
	rm -f $(PROGRAMS:%=$(DESTDIR)$(PREFIX)/bin/%)
	rm -f $(patsubst docs/man/%,$(share)/man/man1/%,$(wildcard docs/man/*.1))
	rm -f $(patsubst docs/man/%,$(share)/man/man5/%,$(wildcard docs/man/*.5))
	rm -rf $(share)/doc/seedpod
	[ ! -d $(BUILD)/debug/.build-id ] || (cd $(BUILD)/debug && find .build-id -name '*.debug') | \
		sed 's|^|$(DESTDIR)$(DEBUG_DIR)/|' | xargs -r rm -f

version: ## print the version
	@echo $(VERSION)

# The committed tree alone: git archive takes its time stamps from the commit, and gzip -n adds none.
dist: ## archive the committed sources as dist/seedpod-VERSION.tar.gz, with checksums
	@rm -rf dist && mkdir dist
	@git archive --format=tar --prefix=seedpod-$(VERSION)/ HEAD | gzip -9n >dist/seedpod-$(VERSION).tar.gz
	@cd dist && sha256sum seedpod-$(VERSION).tar.gz >SHA256SUMS && cat SHA256SUMS
