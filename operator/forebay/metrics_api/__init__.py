"""The custom-metrics API (custom.metrics.k8s.io): how busy instances are, for HorizontalPodAutoscalers."""
