"""What makes a lead repeatable: manifests and their replay, relinking, merging, import, hash lists, decisions."""
