"""`python -m image_similarity`: the same as the command `image-similarity`."""

from __future__ import annotations

from image_similarity.cli.main import main

if __name__ == "__main__":
    main()
