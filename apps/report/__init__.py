"""What quantising cost: a bundle beside its checkpoint, subnetwork by subnetwork (omni-edge report)."""
