"""What a load would do to a ModelDeployment: its queues and its scaling decisions, on a virtual clock."""
