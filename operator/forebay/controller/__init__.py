"""The operator: kopf's handlers wake a ModelDeployment's task, and the task makes the cluster as the object says."""
