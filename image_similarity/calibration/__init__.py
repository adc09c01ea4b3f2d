"""What a distance means: how often other pairs come as close, and likelihood ratios from a user's own groups."""
