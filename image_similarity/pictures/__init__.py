"""From a folder to upright RGB pictures: walk, read once and hash, decode, prepare; evidence is only ever read."""
