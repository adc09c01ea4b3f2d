"""Why two pictures came out as similar, as a picture that a reader can check."""
