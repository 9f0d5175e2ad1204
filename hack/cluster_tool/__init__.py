"""A Kubernetes cluster on this machine: in kind where a Docker engine answers, else as processes built from source."""
