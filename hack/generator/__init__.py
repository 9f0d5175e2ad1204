"""What `hack/generate` writes: the CRDs, what is generated of the chart, and the install manifest made of it."""
