"""The content of serving-images/ for the test cluster, built from what this machine has: no daemon, no registry."""
