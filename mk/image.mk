# The container image, and the end-to-end suite that runs it in a cluster.
##@ Kubernetes
.PHONY: image image-name image-debug manifests e2e-client e2e sbom

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

image-name: ## print IMAGE
	@echo $(IMAGE)

# Of the overlay's objects, those that name the default image name IMAGE instead.
manifests: ## write OVERLAY's objects with the image IMAGE into one file, $(BUILD)/install.yaml (kubectl or kustomize)
	@mkdir -p $(BUILD)
	@$(if $(shell command -v kubectl),kubectl kustomize,kustomize build) $(OVERLAY) >$(BUILD)/install.yaml.new
	@sed 's|image: localhost/seedpod:$(VERSION)$$|image: $(IMAGE)|' $(BUILD)/install.yaml.new >$(BUILD)/install.yaml
	@rm $(BUILD)/install.yaml.new && echo $(BUILD)/install.yaml

image-debug: ## build an image with gdb and the symbols of the programs in IMAGE, as IMAGE-debug
	$(IMAGE_BUILD) -f Containerfile --target debug -t $(IMAGE)-debug --build-arg VERSION=$(VERSION) .

e2e-client: ## build the image with curl that the end-to-end suite runs as its client
	$(IMAGE_BUILD) -t localhost/seedpod-e2e-client:1 -f tests/e2e/client/Containerfile tests/e2e/client

e2e: ## the end-to-end suite against the cluster that KUBECONFIG names (CASES=smoke for the short part)
	@IMAGE='$(IMAGE)' STORAGE_CLASS='$(STORAGE_CLASS)' tests/e2e/run $(CASES)

sbom: all ## list what the image would hold, made of this machine's packages, as $(BUILD)/sbom.cdx.json (CycloneDX)
	@packaging/sbom $(VERSION) $(BINARIES) >$(BUILD)/sbom.cdx.json.new
	@mv $(BUILD)/sbom.cdx.json.new $(BUILD)/sbom.cdx.json && echo $(BUILD)/sbom.cdx.json
