"""MLflow's model registry, asked over its REST API: which version an address names, and where its files are."""
