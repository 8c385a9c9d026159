# The images: `docker buildx bake` builds all three for every platform, `docker buildx bake device-plugin` one;
# `docker buildx bake local` all three for this machine's docker. `make release-check` holds the versions together.

variable "DEVICE_PLUGIN_VERSION" { default = "0.1.0" }
variable "FEATURE_DISCOVERY_VERSION" { default = "0.1.0" }
variable "METRICS_EXPORTER_VERSION" { default = "0.1.0" }

variable "REGISTRY" { default = "ghcr.io/furiosa-ai" }
# Null: what the Dockerfile says, which `make base-image` renews.
variable "PYTHON_IMAGE" { default = null }
variable "RUNTIME_IMAGE" { default = "scratch" }

# Where pip gets packages from; empty: as the base image has it.
variable "PIP_INDEX_URL" { default = null }

# What is built, for the labels of the images.
variable "REVISION" { default = "" }
variable "CREATED" { default = "" }
variable "SOURCE" { default = "" }

group "default" { targets = ["device-plugin", "feature-discovery", "metrics-exporter"] }
group "local" { targets = ["device-plugin-local", "feature-discovery-local", "metrics-exporter-local"] }

target "_image" {
  context    = "."
  dockerfile = "deployments/images/Dockerfile"
  target     = "image"
  platforms  = ["linux/amd64", "linux/arm64"]
  attest     = ["type=sbom", "type=provenance,mode=max"]
  args = {
    PYTHON_IMAGE  = PYTHON_IMAGE
    RUNTIME_IMAGE = RUNTIME_IMAGE
    PIP_INDEX_URL = PIP_INDEX_URL
    REVISION      = REVISION
    CREATED       = CREATED
    SOURCE        = SOURCE
  }
}

# Docker's own store takes one platform, and no attestations.
target "_local" {
  platforms = []
  attest    = ["type=sbom,disabled=true", "type=provenance,disabled=true"]
  output    = ["type=docker"]
}

target "device-plugin" {
  inherits = ["_image"]
  args     = { SERVICE = "device-plugin", VERSION = DEVICE_PLUGIN_VERSION }
  tags     = ["${REGISTRY}/k8s-device-plugin:${DEVICE_PLUGIN_VERSION}"]
}

target "feature-discovery" {
  inherits = ["_image"]
  args     = { SERVICE = "feature-discovery", VERSION = FEATURE_DISCOVERY_VERSION }
  tags     = ["${REGISTRY}/npu-feature-discovery:${FEATURE_DISCOVERY_VERSION}"]
}

target "metrics-exporter" {
  inherits = ["_image"]
  args     = { SERVICE = "metrics-exporter", VERSION = METRICS_EXPORTER_VERSION }
  tags     = ["${REGISTRY}/npu-metrics-exporter:${METRICS_EXPORTER_VERSION}"]
}

target "device-plugin-local" { inherits = ["device-plugin", "_local"] }
target "feature-discovery-local" { inherits = ["feature-discovery", "_local"] }
target "metrics-exporter-local" { inherits = ["metrics-exporter", "_local"] }
