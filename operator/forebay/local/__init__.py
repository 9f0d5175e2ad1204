"""Local mode: the plan of a ModelDeployment as processes on this machine."""
