"""The node's model cache: a CSI driver that gives pods their models, each file downloaded once for a node."""
