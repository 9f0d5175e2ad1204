"""Which revision serves, and which workloads stay: decided from what was observed. Pure."""
