"""The pilot: tells the gateway's Envoy, in its own pod, where each ModelDeployment's requests go."""
