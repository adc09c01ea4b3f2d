"""A pair of pictures to reasons: perceptual hashes, matched points."""
