"""Pure functions from a ModelDeployment to workloads, Kubernetes manifests and Envoy config. No I/O, no clock."""
